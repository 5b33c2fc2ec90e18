"""Lays a podTemplate from a manifest over the one that the operator makes.

Strategic enough a merge: mappings are merged, lists of named things are merged by their key as
`kubectl patch` would, other lists are replaced, and null takes a field away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from weft_operator.jsontypes import Object

# Merge keys of PodSpec's lists, as Kubernetes' own API types state them (patchMergeKey).
_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
# Lists whose entries add up: a toleration in the overlay does not take another away.
_ADDED: Final = frozenset({"tolerations", "envFrom"})


def lay_over(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> Object:
    """`base` with `overlay` over it; neither is changed."""
    result = dict(base)
    for key, value in overlay.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = lay_over(below if isinstance(below, Mapping) else {}, value)
        elif isinstance(value, list) and isinstance(result.get(key), list):
            result[key] = _lists(key, result[key], value)
        else:
            result[key] = value
    return result


def _lists(field: str, base: list[Any], overlay: list[Any]) -> list[Any]:
    if field in _ADDED:
        return [*base, *(item for item in overlay if item not in base)]
    key = _KEYS.get(field)
    if key is None or not all(isinstance(i, Mapping) and key in i for i in [*base, *overlay]):
        return overlay
    merged = {item[key]: item for item in base}
    for item in overlay:
        below = merged.get(item[key])
        merged[item[key]] = lay_over(below, item) if below is not None else item
    return list(merged.values())
