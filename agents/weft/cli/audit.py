"""`weft audit`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command
@click.argument("output")
@click.argument("row_id", required=False)
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="DIGEST",
    help="A head that was printed earlier and kept elsewhere: it must be in the chain.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the row's page there (with ROW_ID): one file, nothing fetched.",
)
def command(output: str, row_id: str | None, heads: tuple[str, ...], page: Path | None) -> None:
    """Check that the rows are those that were committed, or explain one row to an auditor.

    OUTPUT is the folder or address that a run has written to. Every row has a digest of its
    content and a link to the row before it. What was changed, added or removed since is told row by
    row, and the exit code is 1 then. Someone who rewrites all links as well is found by a head that
    was kept elsewhere: it is printed at the end, and --head takes it. With ROW_ID: who made the
    row, with which models, prompts, tools and rules, and whether it is as committed.

    \b
    weft audit examples/support/out
    weft audit examples/support/out --head 5f0c…
    weft audit examples/support/out case-0042
    weft audit examples/support/out case-0042 --html case-0042.html
    """
    from weft.cli.auditing import audit_output, audit_row

    if row_id is None:
        audit_output(output, heads, page)
    else:
        audit_row(output, row_id, page)
