"""`weft export`."""

from __future__ import annotations

import click


@click.command
@click.argument("output")
@click.argument("dest")
@click.option(
    "--format",
    "chosen",
    type=click.Choice(["jsonl", "parquet", "huggingface", "preference"]),
    help="Default: told by DEST's suffix (.jsonl, .parquet); a folder for Hugging Face without. "
    "preference: pairs of chosen and rejected answers, as .jsonl or .parquet.",
)
@click.option(
    "--status",
    type=click.Choice(["accepted", "rejected", "dead"]),
    default="accepted",
    show_default=True,
    help="Which rows.",
)
@click.option(
    "--arguments",
    type=click.Choice(["text", "object"]),
    default="text",
    show_default=True,
    help="Of tool calls, in JSONL: JSON as text (OpenAI's form), or objects (what most chat "
    "templates take).",
)
@click.option("--overwrite", is_flag=True, help="Replace DEST where it is there already.")
def command(
    output: str, dest: str, chosen: str | None, status: str, arguments: str, overwrite: bool
) -> None:
    """Write the rows of an output for training: messages and tools in OpenAI's chat form.

    OUTPUT is the folder or address that a run has written to; it may still be running. DEST is a
    file, or for Hugging Face a folder (with a dataset card that says how each column came to be).
    Both may be addresses such as s3://bucket/folder.

    \b
    weft export examples/support/out data.jsonl
    weft export examples/support/out data.parquet --status rejected
    weft export examples/support/out dataset/ --format huggingface
    weft export examples/preference/out pairs.jsonl --format preference
    """
    from weft.cli.exporting import export_to

    objects = arguments == "object"
    export_to(output, dest, chosen, status=status, objects=objects, overwrite=overwrite)
