"""Handing a changed plan to a running pipeline, and waiting until everyone runs by it."""

from __future__ import annotations

import http.client
import time

import msgspec

from weft.cli.checks import read
from weft.cli.control import NoAnswer, ask, ask_now, find, problem_in
from weft.cli.prepare import Wishes, wanted
from weft.cli.refused import FAILED, Refused
from weft.data.storage import absolute
from weft.runtime.running_here import RunFile
from weft.runtime.status import Status
from weft_api.changes import lasting, rolled
from weft_api.errors import ManifestErrors
from weft_api.load import located
from weft_api.plan import Plan

POLL = 0.05
_TOLD_APART = ("generation", "prompts", "tools", "pools")


def apply(paths: tuple[str, ...], pipeline: str | None, output: str | None, timeout: float) -> int:
    """The whole command. Raises `ManifestErrors` and `Refused`."""
    manifests = read(paths, pipeline)
    name = manifests.pipeline.metadata.name
    run = find(name, None if output is None else absolute(output), command="apply")
    checked = wanted(manifests, Wishes.from_json(run.wishes))
    before = Plan.from_json(ask_now(run, "GET", "/v1/plan", command="apply"))
    after = checked.plan.model_copy(update={"generation": before.generation + 1})
    if after.digest() == before.digest():
        there = f"generation {before.generation}"
        print(f"Nothing has changed: {name} runs by these manifests already ({there})")
        return 0
    if faults := [*lasting(before, after), *rolled(before, after)]:
        raise ManifestErrors(located(faults, manifests.origins))
    began = time.monotonic()
    _hand_over(run, after)
    _wait(run, after.generation, began, timeout)
    seconds = time.monotonic() - began
    print(f"{name} runs by generation {after.generation}; every agent has it after {seconds:.2f} s")
    print(f"changed: {', '.join(changed(before, after))}")
    return 0


def changed(before: Plan, after: Plan) -> list[str]:
    """What differs, as `prompt draft` or `pool drafter: config`; for people."""
    found: list[str] = []
    for kind, old, new in (
        ("prompt", before.prompts, after.prompts),
        ("tool", before.tools, after.tools),
    ):
        was, now = {item.name: item for item in old}, {item.name: item for item in new}
        names = sorted(was.keys() | now.keys())
        found += [f"{kind} {name}" for name in names if was.get(name) != now.get(name)]
    for pool in after.pools:
        was_pool = before.pool(pool.name)
        fields = [field for field in ("config", "concurrency") if _differ(was_pool, pool, field)]
        found += [f"pool {pool.name}: {', '.join(fields)}"] if fields else []
    others = [name for name in Plan.model_fields if name not in _TOLD_APART]
    return found + [name for name in others if _differ(before, after, name)]


def _differ(before: object, after: object, field: str) -> bool:
    return bool(getattr(before, field) != getattr(after, field))


def _hand_over(run: RunFile, plan: Plan) -> None:
    try:
        status, content = ask(run, "PUT", "/v1/plan", plan.to_json().encode())
    except NoAnswer as error:
        raise Refused(
            f"apply: the run does not answer: {error}; whether it has the new version is not "
            "known: apply once more",
            code=FAILED,
        ) from None
    if status >= http.client.BAD_REQUEST:
        lines = problem_in(content).splitlines()
        raise Refused(
            [f"apply: {line}" for line in lines] + ["apply: refused; the old version goes on"]
        )


def _wait(run: RunFile, generation: int, began: float, timeout: float) -> None:
    """Until every process says that it runs by this generation, or a newer one."""
    late: list[str] = ["the head"]
    while late:
        if time.monotonic() - began > timeout:
            raise Refused(
                f"apply: {', '.join(late[:8])} does not run by generation {generation} after "
                f"{timeout:g} s; it takes it up when it can (weft run shows why)",
                code=FAILED,
            )
        time.sleep(POLL)
        try:
            code, content = ask(run, "GET", "/v1/status")
        except NoAnswer:
            continue
        if code == http.client.OK:
            late = behind(msgspec.json.decode(content, type=Status), generation)


def behind(status: Status, generation: int) -> list[str]:
    """The processes that do not run by this generation yet, with what they say about it."""
    if status.plan_generation < generation:
        return ["the head"]
    instances = [each for pool in status.pools for each in pool.instances] + status.writers
    return [
        f"{each.name} ({each.trouble})" if each.trouble else each.name
        for each in instances
        if each.plan < generation
    ]
