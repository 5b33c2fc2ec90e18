"""The patterns of names, each with what it asks for in words that follow "must".

Three engines read them (pydantic's, the API server's, JSON schema's): classes and groups only.
"""

from __future__ import annotations

LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
TARGET = r"^(\$accept|\$reject|[a-z]([-a-z0-9]*[a-z0-9])?)$"
PYTHON_PATH = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
DATA_KEY = r"^[-._a-zA-Z0-9]+$"
SCOPE = r"^(\$source|[a-z]([-a-z0-9]*[a-z0-9])?)$"
ENTITY = r"^[A-Z][A-Z0-9_]*$"
LANGUAGE = r"^[a-z][a-z]$"
COUNTRY = r"^[A-Z][A-Z]$"
TOOL = r"^[a-zA-Z0-9_-]+$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
URL = r"^https?://[^ ]+$"
HEADER = r"^[A-Za-z0-9-]+$"
RELEASE = r"^[0-9]+\.[0-9]+\.[0-9]+$"
ABSOLUTE = r"^(/|[a-zA-Z][a-zA-Z0-9+.-]*://)"
LABEL_VALUE = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

IN_WORDS = {
    LABEL: "be lower-case letters, digits and -, with a letter first and no - at the end",
    SUBDOMAIN: "be lower-case letters, digits, - and ., with a letter or digit at both ends",
    TARGET: "be a step's name, $accept or $reject",
    PYTHON_PATH: "be a package and a name in it, with a colon between them",
    DATA_KEY: "be letters, digits, -, _ and .",
    SCOPE: "be a step's name or $source",
    ENTITY: "be an entity's name as Presidio writes it: capitals, digits and _",
    LANGUAGE: "be two small letters, as in ISO 639-1",
    COUNTRY: "be two capitals, as in ISO 3166-1",
    TOOL: "be letters, digits, - and _ (as models' interfaces ask)",
    VARIABLE: "be letters, digits and _, with no digit first",
    URL: "begin with http:// or https:// and have no spaces",
    HEADER: "be letters, digits and -",
    RELEASE: "be three numbers with dots between them",
    ABSOLUTE: "be an absolute path or an address such as s3://bucket/folder",
    LABEL_VALUE: "be the value of a node's label: letters, digits, -, _ and .",
    DURATION: "be a number with ms, s, m or h",
    QUANTITY: "be a number, with a suffix such as Mi or Gi where needed",
}
