"""The `weft` command: one file per command, loaded when it is called.

`weft --help` and `weft validate` answer in a fraction of a second, so Ray, Arrow and the like are
imported by the code behind a command and never by the file that defines it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import click

from weft.cli.commands import cli
from weft.cli.refused import BAD_INPUT, FAILED, Refused
from weft_api.errors import ManifestErrors

__all__ = ["main"]

_WITH_TRACEBACK = "WEFT_TRACEBACK"


def main(args: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process with its exit code.

    0: done; 1: the run failed; 2: bad input; 128 + n: ended by signal n. Errors are one line each,
    `weft: where: problem; fix`, on standard error.
    """
    given = list(sys.argv[1:] if args is None else args)
    traceback = bool(os.environ.get(_WITH_TRACEBACK))
    if "--traceback" in given:
        given.remove("--traceback")
        traceback = True
    sys.exit(_run(given, traceback=traceback))


def _run(args: list[str], *, traceback: bool) -> int:
    try:
        code = cli.main(args, prog_name="weft", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except Exception as error:
        if traceback and not isinstance(error, click.ClickException):
            raise
        return _tell(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _tell(error: Exception) -> int:
    match error:
        case ManifestErrors():
            lines, code = [str(fault) for fault in error.errors], BAD_INPUT
        case Refused():
            lines, code = error.lines, error.code
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message())
            return BAD_INPUT
        case click.ClickException():
            lines, code = [_usage(error)], BAD_INPUT
        case click.Abort():
            return 128 + signal.SIGINT
        case BrokenPipeError():
            # Whoever read our output has seen enough (`weft show … | head`).
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0
        case _:
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
            fix = "this is a fault of weft itself; --traceback shows where"
            lines, code = [f"unexpected {problem}; {fix}"], FAILED
    for line in lines:
        print(f"weft: {line}", file=sys.stderr)
    return code


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "weft"
    problem = " ".join(error.format_message().split()).rstrip(".")
    return f"{command.removeprefix('weft ')}: {problem}; see {command} --help"
