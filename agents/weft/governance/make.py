"""From a plan to its gates, and whether they can be made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from weft_api.governance import GovernanceRule
from weft_api.plan import Plan, PoolPlan

if TYPE_CHECKING:
    from weft.governance.gate import Gate
    from weft.governance.source import SourceGate


def gate_of(plan: Plan, pool: PoolPlan) -> Gate | None:
    """The gate of a pool's step; None where no rule holds for it. Raises `LoadError`."""
    if not plan.governance:
        return None
    from weft.governance.gate import Gate  # A plan without rules does not pay for their libraries.

    gate = Gate(plan.governance, pool.step, tokenizer=_tokenizer(pool))
    return None if gate.is_open else gate


def source_gate_of(plan: Plan) -> SourceGate | None:
    """The gate of the plan's source; None where no rule is about it. Raises `LoadError`."""
    if not plan.governance:
        return None
    from weft.governance.source import SourceGate

    gate = SourceGate(plan.governance)
    return None if gate.is_open else gate


def check_rules(rules: Iterable[GovernanceRule]) -> None:
    """Raises the `LoadError` of the first rule that cannot be made, naming it."""
    if not (rules := list(rules)):
        return
    from weft.governance.kinds import text_rules

    for made in text_rules(rules):
        made.close()


def _tokenizer(pool: PoolPlan) -> str | None:
    """That of the pool's own model; None where it is not at hand (an endpoint's)."""
    if pool.engine is None or pool.engine.vllm is None:
        return None
    return str(pool.engine.vllm.args.get("tokenizer") or pool.engine.vllm.model)
