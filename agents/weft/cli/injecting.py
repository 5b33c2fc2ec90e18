"""Handing rows to a running pipeline, a batch after the other."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from urllib.parse import urlencode

import msgspec

from weft.cli.control import ask_now, find
from weft.cli.refused import Refused
from weft.data.storage import absolute
from weft.runtime.injection import Taken

BATCH_BYTES = 1 << 20
BATCH_ROWS = 1000
MOST_SHOWN = 5
_LINE = re.compile(r"line (\d+): ")


def inject(
    files: tuple[str, ...],
    pipeline: str | None,
    output: str | None,
    priority: int | None,
    deadline: str | None = None,
) -> int:
    """The whole command. Raises `Refused`; what was kept until then is said first."""
    run = find(pipeline, None if output is None else absolute(output), command="inject")
    wishes = {"priority": priority, "deadline": deadline}
    asked = urlencode({name: wish for name, wish in wishes.items() if wish is not None})
    path = f"/v1/rows?{asked}"
    accepted, known = 0, list[str]()
    try:
        for name in files:
            for before, batch in _batches(name):
                try:
                    answer = ask_now(run, "POST", path, batch, command="inject")
                except Refused as refused:
                    raise _located(refused, name, before) from None
                taken = msgspec.json.decode(answer, type=Taken)
                accepted += taken.accepted
                known += taken.known
    finally:
        print(f"{accepted:,} rows are kept and will be made by {run.pipeline}")
        if known:
            more = ", …" if len(known) > MOST_SHOWN else ""
            shown = f"{', '.join(known[:MOST_SHOWN])}{more}"
            print(f"known already, so not taken again: {len(known):,} ({shown})")
    return 0


def _located(refused: Refused, name: str, before: int) -> Refused:
    """The same with the file, and with its own line numbers: `rows.jsonl:1017: not JSON`."""

    def placed(line: str) -> str:
        found = _LINE.match(line)
        return f"{name}:{int(found[1]) + before}: {line[found.end() :]}" if found else line

    return Refused(map(placed, refused.lines), code=refused.code)


def _batches(name: str) -> Iterator[tuple[int, bytes]]:
    """The file in pieces of whole lines, each with the number of lines before it. Raises
    `Refused`."""
    before = 0
    try:
        with sys.stdin.buffer if name == "-" else open(name, "rb") as stream:
            batch: list[bytes] = []
            size = 0
            for line in stream:
                batch.append(line if line.endswith(b"\n") else line + b"\n")
                size += len(line)
                if size >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
                    yield before, b"".join(batch)
                    before += len(batch)
                    batch, size = [], 0
            if batch:
                yield before, b"".join(batch)
    except OSError as error:
        raise Refused(f"inject: {name}: cannot be read: {error.strerror}") from None
