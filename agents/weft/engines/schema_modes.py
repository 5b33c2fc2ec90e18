"""Which form of asking for a schema an endpoint takes, found out by its refusals. Pure but for the
log.

OpenAI's strict mode takes no `maxLength`, older servers no `json_schema`, some no
`response_format` at all, and a grammar compiler may give up on one schema and not on the next. So
what is refused is asked for again in a weaker form, and what was learned is kept.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

import msgspec

from weft.engines.chat_format import SCHEMA_MODES, SchemaMode, bounds_of

MOST_REMEMBERED = 256
"""Schemas whose form is remembered."""

_REFUSALS = ("response_format", "json_object", "schema", "grammar", "structured")
"""Words of refusals that concern the form."""

log = logging.getLogger(__name__)


class SchemaModes:
    """The forms of one endpoint. `name` is what the log calls it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._usual: SchemaMode = SCHEMA_MODES[0]
        self._known: OrderedDict[bytes, SchemaMode] = OrderedDict()
        self._taken: set[SchemaMode] = set()
        self._told: set[tuple[SchemaMode, SchemaMode]] = set()

    def of(self, schema: dict[str, Any] | None) -> SchemaMode:
        """The form to ask for this schema in."""
        if schema is None or not self._known:
            return self._usual
        return self._known.get(msgspec.json.encode(schema), self._usual)

    def took(self, mode: SchemaMode) -> None:
        """A call with a schema in this form was answered."""
        self._taken.add(mode)

    def refused(self, schema: dict[str, Any], mode: SchemaMode, text: str) -> bool:
        """Whether a call that failed with this text is worth another try, in a weaker form.

        The second schema that is refused in a form that none was taken in speaks for the endpoint:
        the weaker form is then the usual one.
        """
        lower = text.lower()
        bounds = {bound for bound in bounds_of(schema) if bound.lower() in lower}
        if mode == SCHEMA_MODES[-1] or not (bounds or any(word in lower for word in _REFUSALS)):
            return False
        weaker = SCHEMA_MODES[SCHEMA_MODES.index(mode) + 1]
        if weaker == "bare_json_schema" and not bounds:
            weaker = "json_object"
        if (mode, weaker) not in self._told:
            self._told.add((mode, weaker))
            log.warning(
                "%s refused response_format %s (%s); asking by %s from now on",
                self._name, mode, text, weaker,
            )  # fmt: skip
        key = msgspec.json.encode(schema)
        if mode == self._usual and mode not in self._taken and self._known.keys() - {key}:
            self._usual = weaker
        # Of calls made at once some are refused late, in a form that was given up meanwhile.
        self._known[key] = max(weaker, self._known.get(key, weaker), key=SCHEMA_MODES.index)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return True
