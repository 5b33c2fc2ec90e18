"""What JSON from the API server is to the type checker."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

Object = dict[str, Any]
"""A Kubernetes object, or a part of one, as decoded JSON."""


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_WRITTEN_OTHERWISE: Final = re.compile(rb"e(?<=[0-9]e)-?[0-9]+(?:[,}\]]|$)|0\.0000")


def canonical(value: Any) -> bytes:
    """The same bytes for the same content, whatever the order of the keys; and the same in every
    release, since digests of them stand on the objects that run."""
    text = _ENCODER.encode(value)
    if _WRITTEN_OTHERWISE.search(text) is None:
        return text
    # Numbers as 1e+16 and 1e-05 are the one thing that the standard library writes otherwise.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any, length: int = 16) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()[:length]


def dig(obj: Mapping[str, Any], *path: str) -> Any:
    """The value at a path of keys; None where any part of it is missing."""
    found: Any = obj
    for key in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """The RFC 7386 patch that turns `old` into `new`; empty when they are alike."""
    patch: Object = {}
    for key in old.keys() | new.keys():
        if key not in new:
            patch[key] = None
        elif key not in old:
            patch[key] = new[key]
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            if inner := merge_patch(old[key], new[key]):
                patch[key] = inner
        elif old[key] != new[key]:
            patch[key] = new[key]
    return patch
