"""The plans that a pipeline has run by, kept beside its output.

A head that starts again finds here what was handed to the one before it, and a run that goes on
another day numbers its plan after those of the runs before: a generation names one plan for the
whole life of the output.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import ValidationError

from weft.data.beside import Beside
from weft_api.plan import Plan

log = logging.getLogger(__name__)

_FOLDER = "plans"
_REFUSED = "plans-refused"


class StoredPlans:
    """Calls block; they raise `OutputError` when the store fails for too long."""

    def __init__(self, uri: str, storage_options: Mapping[str, str]) -> None:
        """`uri`: the output's."""
        self._files = Beside(uri, storage_options)

    def save(self, plan: Plan) -> None:
        """Keep the plan; durable when this returns."""
        self._files.write(_name(plan.generation), plan.to_json().encode())

    def refuse(self, plan: Plan, why: str) -> None:
        """Note that those who were to run by the plan cannot; a head that finds it mounted when it
        starts has nobody to ask."""
        self._files.write(f"{_REFUSED}/{plan.digest()}", why.encode())

    def refusal(self, plan: Plan) -> str:
        """Why a plan of this content was refused, or ""."""
        return (self._files.read(f"{_REFUSED}/{plan.digest()}") or b"").decode()

    def newest(self, *, uid: str, most: int) -> list[Plan]:
        """At most `most` plans of the pipeline with this uid, the newest first.

        Plans that another version of Weft wrote, and this one cannot read, are passed over."""
        found: list[Plan] = []
        for name in reversed(self._files.names(_FOLDER)):
            if len(found) == most:
                break
            try:
                plan = Plan.from_json(self._files.read(f"{_FOLDER}/{name}") or b"")
            except ValidationError:
                log.warning("%s/%s is no plan of this version of Weft; passed over", _FOLDER, name)
                continue
            if plan.uid == uid:
                found.append(plan)
        return found


def next_generation(plan: Plan, stored: list[Plan]) -> int:
    """The number for a plan that a run begins with: that of the newest stored one where nothing has
    changed, else one more. `stored`: the newest first."""
    if not stored:
        return plan.generation
    newest = stored[0]
    return newest.generation if newest.digest() == plan.digest() else newest.generation + 1


def _name(generation: int) -> str:
    return f"{_FOLDER}/{generation:010}.json"
