"""What only a reader of data and code can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Known:
    """Facts that make the checks complete. Whatever is not known is not checked."""

    columns: frozenset[str] | None = None
    """The source's columns."""
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By pool: the fields that its agents may set in a row."""
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By pool: its config with the agent's own defaults filled in."""
