"""`python -m weft.attack`: kill and pause the processes of running pipelines, and judge what is in
the table. Exit code 1 when a row was lost, doubled or out of order, or a run hung."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from weft.attack.lanes import campaign
from weft.attack.report import table

PER_ROUND = 100
ROWS_A_STRIKE = 120
LANES = 2


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m weft.attack", description=__doc__)
    parser.add_argument("--kills", type=_count, default=200, help="strikes to make (200)")
    parser.add_argument("--seed", type=int, default=1, help="whom they strike, how and when (1)")
    parser.add_argument(
        "--rows-a-strike",
        type=_count,
        default=ROWS_A_STRIKE,
        help=f"rows of a pipeline for each of its strikes ({ROWS_A_STRIKE}): where they run out, "
        "the rest of the strikes is for another pipeline",
    )
    parser.add_argument(
        "--per-round", type=_count, default=PER_ROUND, help=f"strikes on a pipeline ({PER_ROUND})"
    )
    parser.add_argument(
        "--lanes", type=_count, default=LANES, help=f"pipelines attacked at once ({LANES})"
    )
    options = parser.parse_args(argv)
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Leave nothing running.
    rounds = campaign(
        options.seed,
        options.kills,
        rows_a_strike=options.rows_a_strike,
        per_round=options.per_round,
        lanes=options.lanes,
        say=say,
    )
    broken = [found for found in rounds if found.faults]
    for found in broken:
        for fault in found.faults:
            print(f"  {fault}")
        print(f"  logs and table: {found.evidence}")
    if broken:
        print(f"  replay: python -m weft.attack {' '.join(argv or sys.argv[1:])}")
    print(table(rounds, time.monotonic() - started))
    return 1 if broken else 0


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
