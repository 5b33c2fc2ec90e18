"""`weft validate`."""

from __future__ import annotations

import click

from weft.cli.options import paths, pipeline_name


@click.command
@paths
@pipeline_name
@click.option(
    "--manifests-only",
    is_flag=True,
    help="Do not look at the source or import agents (where neither is at hand, in CI say).",
)
def command(paths: tuple[str, ...], pipeline: str | None, manifests_only: bool) -> None:
    """Check manifests: every fault, one line each, with file and line.

    Also looks at the source (its columns) and imports the agents' classes (the fields that they
    set, their config), so that conditions and prompts which name what no row has are found here.
    Nothing is run or written. Exit code 2 where there are faults; a caution is none.

    \b
    weft validate examples/support
    weft validate pipeline.yaml pools/
    """
    from weft.cli import checks

    if manifests_only:
        plan = checks.read(paths, pipeline).compile()
        click.echo(f"ok: {checks.described(plan)} (source and agents not looked at)")
        return
    checked = checks.check(checks.read(paths, pipeline))
    for caution in checked.cautions:
        click.echo(f"weft: caution: {caution}", err=True)
    rows = "number of rows not known yet" if checked.rows is None else f"{checked.rows:,} rows"
    click.echo(f"ok: {checks.described(checked.plan)}; {rows}")
