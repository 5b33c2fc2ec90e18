"""Addresses and credentials of stores: the one place that knows what each library calls them.

Weft's `storage_options` are names and values as in a pod's environment (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT_URL`, …). A local path is a path without a scheme or with `file://`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

PREFIXES = ("AWS_", "AZURE_", "GOOGLE_")
"""Variables with these prefixes concern stores."""
CONNECT_SECONDS = 5
REQUEST_SECONDS = 30

_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|KEY|SAS|CREDENTIAL", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_XML = re.compile(r"<\?xml.*?<Message>(.*?)</Message>.*", re.DOTALL)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_LINE = 400


class StorageError(Exception):
    """A store or an address that cannot be used. The text is one line for the user."""


def from_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that concern stores, of this process by default."""
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if name.startswith(PREFIXES)}


def scheme_of(uri: str) -> str:
    """`s3`, `gs`, `memory`, …; `file` for local paths."""
    scheme, separator, _ = uri.partition("://")
    return scheme.lower() if separator else "file"


def local_path(uri: str) -> Path | None:
    """The absolute path of a local address; None for all others."""
    if scheme_of(uri) != "file":
        return None
    return Path(os.path.abspath(os.path.expanduser(uri.removeprefix("file://"))))


def absolute(uri: str) -> str:
    """The address independent of the working directory."""
    path = local_path(uri)
    return uri if path is None else str(path)


def delta_options(uri: str, storage_options: Mapping[str, str]) -> dict[str, str]:
    """The options of `deltalake` (names of the Rust crate `object_store`)."""
    if local_path(uri) is not None:
        return {}
    options = {
        "connect_timeout": f"{CONNECT_SECONDS}s",
        "timeout": f"{REQUEST_SECONDS}s",
        **storage_options,
    }
    if scheme_of(uri) in {"s3", "s3a"}:
        # Commits stand on `If-None-Match`; without this some versions ask for a lock table.
        options.setdefault("aws_conditional_put", "etag")
        if options.get("AWS_ENDPOINT_URL", "").startswith("http://"):
            options.setdefault("AWS_ALLOW_HTTP", "true")
        if "AWS_DEFAULT_REGION" in options:
            options.setdefault("AWS_REGION", options["AWS_DEFAULT_REGION"])
    return options


def fsspec_options(uri: str, storage_options: Mapping[str, str]) -> dict[str, Any]:
    """The options of the fsspec file system that serves the address."""
    given = storage_options
    options: dict[str, Any] = {}
    scheme = scheme_of(uri)
    if scheme in {"s3", "s3a"}:
        names = {
            "key": "AWS_ACCESS_KEY_ID",
            "secret": "AWS_SECRET_ACCESS_KEY",
            "token": "AWS_SESSION_TOKEN",
            "endpoint_url": "AWS_ENDPOINT_URL",
        }
        options = {ours: given[name] for ours, name in names.items() if given.get(name)}
        if region := given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION"):
            options["client_kwargs"] = {"region_name": region}
        options["config_kwargs"] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": REQUEST_SECONDS,
            "retries": {"max_attempts": 3},
        }
    elif scheme in {"gs", "gcs"} and given.get("GOOGLE_APPLICATION_CREDENTIALS"):
        options = {"token": given["GOOGLE_APPLICATION_CREDENTIALS"]}
    elif scheme in {"az", "abfs", "abfss"}:
        names = {
            "account_name": "AZURE_STORAGE_ACCOUNT_NAME",
            "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
            "sas_token": "AZURE_STORAGE_SAS_TOKEN",
        }
        options = {ours: given[name] for ours, name in names.items() if given.get(name)}
    return options


def filesystem(
    uri: str, storage_options: Mapping[str, str]
) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system that serves the address, and the path in it.

    Raises `StorageError` for a scheme that nothing here serves."""
    try:
        fs, path = fsspec.core.url_to_fs(absolute(uri), **fsspec_options(uri, storage_options))
    except (ImportError, ValueError) as error:
        problem = one_line(error, storage_options)
        raise StorageError(
            f"{shown(uri)}: cannot be reached: {problem}; use a local path or s3://, gs://, az://"
        ) from None
    # Listings that a long process keeps would hide what others write.
    fs.use_listings_cache = False
    return fs, path


def shown(uri: str) -> str:
    """The address without a user or password that may stand in it."""
    return _USER_INFO.sub("***@", uri)


def one_line(error: BaseException | str, storage_options: Mapping[str, str] | None = None) -> str:
    """The error's text as one line of bounded length, without the secrets among the options."""
    text = str(error) or type(error).__name__
    # The Rust libraries colour their errors, and append what the store answered, as XML.
    text = _COLOUR.sub("", text).replace("↳", "").removeprefix("Kernel error -> ")
    text = _XML.sub(r"\1", text)
    for name, value in (storage_options or {}).items():
        if len(value) >= 4 and _SECRET.search(name):
            text = text.replace(value, "***")
    text = " ".join(shown(text).split())
    return text if len(text) <= _LINE else text[: _LINE - 1] + "…"
