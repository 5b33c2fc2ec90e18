"""`weft writer`: what a writer's pod runs."""

from __future__ import annotations

import click


@click.command
def command() -> None:
    """Run one writer of the output.

    Pods run this; the operator sets their environment (docs/architecture.md, "On a cluster").
    """
    from weft.runtime import pod

    pod.writer()
