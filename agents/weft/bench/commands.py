"""`weft bench …`: one command per benchmark, and `all`."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from weft.bench.figures import Result

BENCHES = (
    "messages",
    "governance",
    "hops",
    "slots",
    "peers",
    "memory",
    "rest",
    "recovery",
    "bounds",
    "guarantee",
)
SHORT = BENCHES[:-2]
"""Those of `all`; a million rows take ten minutes by themselves."""


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--json",
            "target",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write the figures there as well.",
        ),
        click.option("--quick", is_flag=True, help="Seconds each: shows that it works, no more."),
    ):
        function = option(function)
    return function


@click.group
def command() -> None:
    """Measure the runtime on this machine, each figure beside its limit or a baseline.

    Absolute figures mean little while the machine does other work; the load is printed beside them.

    \b
    weft bench hops --quick
    weft bench all --json figures.json
    """


@command.command
@_options
def hops(target: Path | None, quick: bool) -> None:
    """Hops a second and CPU per hop, with agents that take no time.

    Beside it: the protocol in one process without transport, Ray actor calls in batches, and a
    central loop over Ray actor calls.
    """
    _run(["hops"], target, quick)


@command.command
@_options
def slots(target: Path | None, quick: bool) -> None:
    """How busy a simulated LLM's slots are, beside Ray Data's map_batches with gather."""
    _run(["slots"], target, quick)


@command.command
@_options
def peers(target: Path | None, quick: bool) -> None:
    """The openai engine against a fake endpoint, beside a bare asyncio pool and batches."""
    _run(["peers"], target, quick)


@command.command
@_options
def memory(target: Path | None, quick: bool) -> None:
    """Memory over many rows, and of an idle agent above Ray's own worker."""
    _run(["memory"], target, quick)


@command.command
@_options
def rest(target: Path | None, quick: bool) -> None:
    """CPU of a run whose agents all wait, by process."""
    _run(["rest"], target, quick)


@command.command
@_options
def recovery(target: Path | None, quick: bool) -> None:
    """How soon rows go on when an agent or the head is killed."""
    _run(["recovery"], target, quick)


@command.command
@_options
@click.option("--rows", type=click.IntRange(min=10_000), default=1_000_000, show_default=True)
def bounds(target: Path | None, quick: bool, rows: int) -> None:
    """Memory, descriptors and queues over many rows, and with a consumer that is slow."""
    _run(["bounds"], target, quick, **({} if quick else {"rows": rows}))


@command.command
@_options
def guarantee(target: Path | None, quick: bool) -> None:
    """What it costs that nothing is lost or doubled: hops a second with and without."""
    _run(["guarantee"], target, quick)


@command.command
@_options
def governance(target: Path | None, quick: bool) -> None:
    """CPU of the rules for each kB of new text, and rows a second with and without."""
    _run(["governance"], target, quick)


@command.command
@_options
@click.option(
    "--svg",
    "picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw the curves there as well.",
)
def messages(target: Path | None, quick: bool, picture: Path | None) -> None:
    """Bytes of a message per hop against the turns, beside messages that carry their history."""
    _run(["messages"], target, quick)
    if picture is not None:
        from weft.bench.messages import TURNS, sizes_of, svg
        from weft.cli.refused import Refused

        try:
            picture.write_text(svg(asyncio.run(sizes_of(TURNS))), encoding="utf-8")
        except OSError as error:
            raise Refused(f"--svg {picture}: {error.strerror}; choose another file") from None


@command.command(name="all")
@_options
def everything(target: Path | None, quick: bool) -> None:
    """All of them but bounds and guarantee, one after the other."""
    _run(SHORT, target, quick)


def _run(names: Sequence[str], target: Path | None, quick: bool, **settings: int) -> None:
    from rich.console import Console

    from weft.bench.report import show, write
    from weft.cli.quiet import quiet_stderr
    from weft.cli.refused import FAILED, Refused
    from weft.runtime.local import RunFailed

    console = Console(highlight=False)
    results: list[Result] = []
    if target is not None and not target.parent.is_dir():
        raise Refused(f"--json {target}: there is no folder {target.parent}; make it first")
    for name in names:
        measure = importlib.import_module(f"weft.bench.{name}").measure
        try:
            with quiet_stderr():
                result: Result = measure(console, quick=quick, **settings)
        except RunFailed as error:
            raise Refused(f"bench {name}: {error}", code=FAILED) from None
        show(console, result)
        results.append(result)
        if target is not None:
            try:
                write(target, results)
            except OSError as error:
                raise Refused(f"--json {target}: {error.strerror}; choose another file") from None
    missed = [f"{result.bench}: {figure.name}" for result in results for figure in result.missed]
    if missed:
        console.print(f"\n{len(missed)} limits missed: {'; '.join(missed)}")
