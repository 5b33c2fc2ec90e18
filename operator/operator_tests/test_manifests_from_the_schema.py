"""Every field of both resources with values that fit, lie at a bound, do not fit, or are gone.

Admission would refuse most of them; the operator must bear them all the same, since a CRD may be
older or newer than it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import pytest
import yaml

from operator_tests.apiserver import ROOT
from operator_tests.samples import World
from weft_operator.decide.conditions import condition
from weft_operator.jsontypes import Object

Path = tuple[str | int, ...]

REMOVED: Final = object()
LONG: Final = 70_000
FILES: Final = {"pipeline": "weft.dev_syntheticpipelines.yaml", "pool": "weft.dev_agentpools.yaml"}


def leaves(schema: Mapping[str, Any], at: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Fields and what the CRD says of each, containers included."""
    if at:
        yield at, schema
    for name, below in (schema.get("properties") or {}).items():
        yield from leaves(below, (*at, name))
    if isinstance(items := schema.get("items"), Mapping):
        yield from leaves(items, (*at, 0))
    if isinstance(more := schema.get("additionalProperties"), Mapping):
        yield from leaves(more, (*at, "some-key"))


def values(schema: Mapping[str, Any]) -> Iterator[Any]:
    yield from (REMOVED, None, schema.get("default"), *schema.get("enum", ()))
    kind = schema.get("type")
    if kind == "string":
        least, most = schema.get("minLength", 0), min(schema.get("maxLength", 200), LONG)
        yield from (
            "",
            "x" * least,
            "x" * most,
            "x" * (most + 1),
            "{{ 1/0 }} ${x} ü\n\0",
            7,
            [],
            {},
        )
    elif kind in ("integer", "number"):
        least, most = schema.get("minimum", 0), schema.get("maximum", 2**31 - 1)
        yield from (least, most, least - 1, most + 1, 10**30, 0.5, "7", "x", True, [])
    elif kind == "boolean":
        yield from (True, False, "yes", 1)
    elif kind == "array":
        yield from ([], [None], [{}], ["x"] * 200, {}, "x")
    else:
        yield from ({}, {"unknown": {"deep": [1, None]}}, [], "x", 1)


def changed(spec: Object, path: Path, value: Any) -> Object | None:
    """The spec with that value at the path, made where it is not; None where nothing changes."""
    new = copy.deepcopy(spec)
    at: Any = new
    for key, then in pairwise(path):
        empty: Any = [] if isinstance(then, int) else {}
        if isinstance(key, int):
            if not at:
                at.append(empty)
            at = at[key]
        else:
            if not isinstance(at.get(key), type(empty)):
                at[key] = empty
            at = at[key]
    last = path[-1]
    if value is REMOVED:
        if isinstance(last, int) or last not in at:
            return None
        del at[last]
    elif isinstance(last, int):
        at[:] = [value]
    else:
        at[last] = value
    return None if new == spec else new


def served() -> World:
    """A pipeline that runs."""
    world = World()
    world.step()
    world.run_pods()
    world.settle()
    return world


@pytest.mark.parametrize("kind", FILES)
def test_no_manifest_stops_the_operator_and_the_good_one_mends_all(kind: str) -> None:
    text = (ROOT / "crds" / FILES[kind]).read_text()
    crd = yaml.load(text, Loader=yaml.CSafeLoader)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    tried = stalled = 0
    for path, about in leaves(schema):
        world = served()
        target = world.pipeline if kind == "pipeline" else world.pools[0]
        good = target["spec"]
        for value in values(about):
            bad = changed(good, path, value)
            if bad is None:
                continue
            where = f"{'.'.join(map(str, path))} = {str(value)[:80]!r}"
            tried += 1
            target["spec"] = bad
            for _ in range(3):
                try:
                    world.step()
                except Exception as error:
                    raise AssertionError(f"{where}: {error!r}") from error
            for obj in (world.pipeline, *world.pools):
                for each in obj["status"]["conditions"]:
                    assert each["message"], f"{where}: {each['type']} does not explain itself"
            stalled += condition(world.pipeline["status"], "Stalled")["status"] == "True"
        target["spec"] = good
        for _ in range(8):
            world.step()
            world.run_pods()
        for obj in (world.pipeline, *world.pools):
            ready = condition(obj["status"], "Ready")
            assert ready["status"] == "True", f"after {path}: {ready['message']}"
    assert tried > 500
    assert stalled > 200
    print(f"{kind}: {tried} manifests, {stalled} of them stalled the pipeline")
