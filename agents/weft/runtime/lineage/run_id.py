"""Which run a head works on: the same one until it has come to an end, whichever head began it."""

from __future__ import annotations

import msgspec
from openlineage.client.uuid import generate_new_uuid

from weft.data.beside import Beside
from weft.data.errors import OutputError
from weft.runtime.lineage.events import Written

FILE = "lineage.json"


class KnownRun(msgspec.Struct, frozen=True):
    """What is kept of a run beside its output."""

    id: str
    before: Written
    """What the output held when it began."""
    ended: bool = False


def take_up(files: Beside, now: Written) -> tuple[KnownRun, bool]:
    """The run that goes on; or a new one, and True. Where the store fails or holds nonsense, it is
    a new one, too: who is told of runs must not keep them from going on."""
    try:
        kept = files.read(FILE)
        known = None if kept is None else msgspec.json.decode(kept, type=KnownRun)
    except (OutputError, msgspec.MsgspecError):
        known = None
    if known is not None and not known.ended:
        return known, False
    return KnownRun(str(generate_new_uuid()), now), True


def keep(files: Beside, run: KnownRun) -> None:
    """Raises `OutputError`."""
    files.write(FILE, msgspec.json.encode(run))
