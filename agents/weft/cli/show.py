"""`weft show`."""

from __future__ import annotations

import click


@click.command
@click.argument("output")
@click.argument("row_id", required=False)
@click.option(
    "--status",
    type=click.Choice(["accepted", "rejected", "dead"]),
    help="Only rows of this status. Default without a ROW_ID: accepted, where there are any.",
)
@click.option(
    "--path", "whole_path", is_flag=True, help="All of the path: prompts, sampling, tools, notes."
)
@click.option("--json", "as_json", is_flag=True, help="The stored row, as one line of JSON.")
def command(
    output: str, row_id: str | None, status: str | None, whole_path: bool, as_json: bool
) -> None:
    """Show a row as a dialogue, and its path through the agents.

    OUTPUT is the folder or address that a run has written to. ROW_ID is the row's id, or its place
    in the source; without it, the first row is shown.

    \b
    weft show examples/support/out
    weft show examples/support/out case-0042 --path
    weft show examples/support/out --status dead
    weft show examples/support/out case-0042 --json | jq .messages
    """
    from weft.cli.showing import show

    show(output, row_id, status, whole_path=whole_path, as_json=as_json)
