"""`weft retry`."""

from __future__ import annotations

import click


@click.command
@click.argument("output")
@click.option(
    "--row", "row_ids", multiple=True, metavar="ID", help="This dead row; may be given often."
)
@click.option("--all", "every", is_flag=True, help="Every dead row.")
@click.option("--dry-run", is_flag=True, help="Only say which rows it would be.")
def command(output: str, row_ids: tuple[str, ...], every: bool, dry_run: bool) -> None:
    """Put dead rows back, so that the next `weft run` makes them again.

    OUTPUT is the folder or address that a run has written to. A row's ID is its id, or its place
    in the source. Rows put back leave the output at once; their new end replaces the old one, which
    stays on record in the row's path (weft show OUTPUT ID --path). Safe while a run goes on, which
    leaves them to the next one; safe to repeat when it was interrupted.

    \b
    weft retry examples/support/out --all --dry-run
    weft retry examples/support/out --row case-0042 --row case-0077
    weft retry s3://bucket/support --all && weft run examples/support
    """
    from weft.cli.retrying import retry

    retry(output, row_ids, every=every, dry_run=dry_run)
