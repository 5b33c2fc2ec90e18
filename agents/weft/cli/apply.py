"""`weft apply`."""

from __future__ import annotations

import click

from weft.cli.options import paths, pipeline_name


@click.command
@paths
@pipeline_name
@click.option(
    "--output", metavar="URI", help="Which run, where one pipeline runs into several outputs."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until every agent runs by the new version.",
)
def command(
    paths: tuple[str, ...], pipeline: str | None, output: str | None, timeout: float
) -> int:
    """Hand changed manifests to the pipeline that runs on this machine.

    Prompts, tools, conditions, the pools' config and concurrency, delivery and budgets change
    without a restart. A version with a fault is refused and the old one goes on; so is one that
    changes what a running pipeline cannot change (source, output, engine, image, …). What --limit,
    --engine and --output of `weft run` asked for still holds.

    \b
    weft run examples/support            # in one terminal
    weft apply examples/support          # in another, after a prompt was edited

    Exit code: 0 when every agent runs by the new version, 1 when that took too long, 2 when the
    version was refused.
    """
    from weft.cli.applying import apply

    return apply(paths, pipeline, output, timeout)
