"""`weft agent`: what a agent's pod runs."""

from __future__ import annotations

import click


@click.command
def command() -> None:
    """Run one agent of the pool that WEFT_POOL names.

    Pods run this; the operator sets their environment (docs/architecture.md, "On a cluster").
    """
    from weft.runtime import pod

    pod.agent()
