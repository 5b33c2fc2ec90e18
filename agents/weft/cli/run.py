"""`weft run`."""

from __future__ import annotations

import click

from weft.cli.options import paths, pipeline_name


@click.command
@paths
@pipeline_name
@click.option("--output", metavar="URI", help="Write there instead of to spec.output.uri.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Take only the source's first N rows."
)
@click.option(
    "--engine",
    type=click.Choice(["simulator", "openai", "vllm"]),
    help="Put this engine in place of those in the manifests.",
)
@click.option(
    "--base-url",
    metavar="URL",
    help="For --engine openai: the endpoint, up to its version part. Default: OpenAI's own.",
)
@click.option("--model", metavar="NAME", help="For --engine openai and vllm.")
@click.option(
    "--api-key-env",
    metavar="VARIABLE",
    help="For --engine openai: the environment variable that holds the API key. "
    "Default: OPENAI_API_KEY for OpenAI's own address, else none.",
)
@click.option(
    "--vllm-arg",
    "vllm_args",
    multiple=True,
    metavar="NAME=VALUE",
    help="For --engine vllm: an argument of vLLM's, such as max_model_len=8192. May be repeated.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Make a sample in this process and tell what all rows will take.",
)
@click.option(
    "--sample",
    type=click.IntRange(min=1, max=10_000),
    metavar="N",
    help="For --dry-run: rows to make. Default: 20.",
)
@click.option(
    "--rows", type=click.IntRange(min=1), metavar="N", help="For --dry-run: estimate for N rows."
)
@click.option("--plain", is_flag=True, help="Plain lines, as where there is no terminal.")
@click.option(
    "--json", "as_json", is_flag=True, help="A status (JSON) per line; the last is the final one."
)
def command(
    paths: tuple[str, ...],
    pipeline: str | None,
    output: str | None,
    limit: int | None,
    engine: str | None,
    base_url: str | None,
    model: str | None,
    api_key_env: str | None,
    vllm_args: tuple[str, ...],
    dry_run: bool,
    sample: int | None,
    rows: int | None,
    plain: bool,
    as_json: bool,
) -> int:
    """Run a pipeline on this machine: manifests in, dataset out.

    PATH… are the manifests that a cluster takes, as files or folders. Rows that the output already
    has are not made again, so the same command goes on with an interrupted run. Ctrl-C drains
    (nothing new is begun, what is under way ends); a second Ctrl-C stops at once. Neither loses or
    doubles a row.

    \b
    weft run examples/support
    weft run examples/support --limit 20 --output /tmp/try
    weft run examples/support --dry-run --rows 1000000
    weft run examples/support --engine openai --model gpt-5-mini
    weft run examples/support --engine openai --base-url http://127.0.0.1:8000/v1 \\
        --model Qwen/Qwen3-8B
    weft run examples/support --json | tail -1 | jq .rows

    Exit code: 0 when every row has ended, 1 when the run failed, 2 for bad input, 3 when a budget
    is spent, 130 after Ctrl-C.
    """
    from weft.cli import engines
    from weft.cli.prepare import Wishes
    from weft.cli.refused import Refused
    from weft.cli.running import run

    if engine is None and (base_url or model or api_key_env or vllm_args):
        raise Refused(
            "run: --base-url, --model, --api-key-env and --vllm-arg belong to --engine; add it"
        )
    flags = None
    if engine is not None:
        args = engines.vllm_args(vllm_args)
        flags = engines.Flags(engine, base_url, model, api_key_env, args)
    if not dry_run and (sample or rows):
        raise Refused("run: --sample and --rows belong to --dry-run; add it")
    if dry_run:
        from weft.cli.checks import read
        from weft.cli.prepare import ready
        from weft.cli.sampling import SAMPLE
        from weft.cli.sampling import dry_run as sampled

        wishes = Wishes(output, limit, flags)
        sampled(ready(read(paths, pipeline), wishes), sample or SAMPLE, rows)
        return 0
    view = "json" if as_json else "plain" if plain else "live"
    return run(paths, pipeline, Wishes(output, limit, flags), view=view)
