"""`weft head`: what a head's pod runs."""

from __future__ import annotations

import click


@click.command
def command() -> None:
    """Run the head of a pipeline: its directory, its source and the control API.

    Pods run this; the operator sets their environment (docs/architecture.md, "On a cluster").
    """
    from weft.runtime import pod

    pod.head()
