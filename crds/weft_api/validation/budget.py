"""Budgets: whatever has to be paid for has a price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weft_api.errors import ManifestError
from weft_api.limits import SIMULATOR, model_of
from weft_api.pipeline import SyntheticPipeline
from weft_api.pool import AgentPool


def budget_faults(
    pipeline: SyntheticPipeline, pools: Sequence[AgentPool]
) -> Iterator[ManifestError]:
    budget = pipeline.spec.budget
    if budget is None or budget.cost is None:
        return
    models = {model_of(pool.spec.engine): pool for pool in pools}
    for model, pool in sorted(models.items()):
        if model not in ("", SIMULATOR) and budget.price(model) is None:
            yield pipeline.fault(
                ("spec", "budget", "prices"),
                f'there is no price for the model "{model}" of pool "{pool.metadata.name}", '
                "so the cost cannot be told",
                "add it, with prompt and completion per million tokens",
            )
