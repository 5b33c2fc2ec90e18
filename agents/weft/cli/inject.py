"""`weft inject`."""

from __future__ import annotations

import click

from weft.cli.options import pipeline_name


@click.command
@click.argument(
    "files", nargs=-1, required=True, metavar="ROWS.jsonl…", type=click.Path(allow_dash=True)
)
@pipeline_name
@click.option(
    "--output", metavar="URI", help="Which run, where one pipeline runs into several outputs."
)
@click.option(
    "--priority",
    type=click.IntRange(min=-(10**9) + 1, max=10**9 - 1),
    metavar="N",
    help="Higher goes first. Default: by source.priority.",
)
@click.option(
    "--deadline",
    metavar="TIME",
    help="Within which they are to be made, such as 30s. Default: by source.deadline.",
)
def command(
    files: tuple[str, ...],
    pipeline: str | None,
    output: str | None,
    priority: int | None,
    deadline: str | None,
) -> int:
    """Hand rows to the pipeline that runs on this machine, besides those of its source.

    ROWS.jsonl… hold one JSON object a line, each with an id (in the source's idField, else in
    `id`); - is standard input. A row is answered for when it is kept beside the output: from then
    on it is made, once, whatever dies. A row whose id was there before is not taken again.

    \b
    weft inject more.jsonl --priority 10 --deadline 30s

    Exit code: 0 when every row is kept, 1 when the run does not answer, 2 when rows were refused.
    """
    from weft.cli.injecting import inject

    return inject(files, pipeline, output, priority, deadline)
