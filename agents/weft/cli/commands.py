"""Which commands there are. Each lives in the module of its name and is imported when asked for."""

from __future__ import annotations

import importlib
import importlib.util

import click

_COMMANDS = {
    "run": "Run a pipeline on this machine.",
    "apply": "Hand changed manifests to a pipeline that runs on this machine.",
    "inject": "Hand rows to a pipeline that runs on this machine.",
    "validate": "Check manifests, agents and source, without running anything.",
    "show": "Show a row as a dialogue, with its path through the agents.",
    "retry": "Put dead rows back, so that the next run makes them again.",
    "audit": "Check that rows are as they were committed; explain one to an auditor.",
    "export": "Write accepted rows as JSONL, Parquet or a Hugging Face folder.",
    "bench": "Measure the runtime on this machine.",
    "version": "Print the version.",
}
_ON_A_CLUSTER = {
    "head": "Directory, source and control API of a pipeline.",
    "agent": "One agent of a pool.",
    "writer": "One writer of the output.",
}
"""What pods run."""
_ELSEWHERE = {"bench": "weft.bench"}
"""Commands that are defined outside of `weft.cli`; shown where that module is installed."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in (*_COMMANDS, *_ON_A_CLUSTER) if _is_there(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(_ELSEWHERE.get(cmd_name, f"weft.cli.{cmd_name}"))
        command = getattr(module, "command", None)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing the commands."""
        for title, commands in (("Commands", _COMMANDS), ("In pods", _ON_A_CLUSTER)):
            with formatter.section(title):
                formatter.write_dl([(n, said) for n, said in commands.items() if _is_there(n)])


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`weft COMMAND --help` has examples. --traceback, anywhere, shows Python's own report "
    "of an error.",
)
def cli() -> None:
    """Synthetic-data pipelines as decentralised LLM agents.

    \b
    weft validate examples/support        # is it right?
    weft run examples/support             # manifests in, dataset out
    weft show examples/support/out        # look at a row
    weft export examples/support/out data.jsonl
    """


def _is_there(name: str) -> bool:
    return name not in _ELSEWHERE or importlib.util.find_spec(_ELSEWHERE[name]) is not None
