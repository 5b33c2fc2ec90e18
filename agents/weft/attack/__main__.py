"""`python -m weft.attack`: kill and pause the processes of running pipelines, and judge what is in
the table. Exit code 1 when a row was lost, doubled or out of order, or a run hung."""

from __future__ import annotations

import argparse
import sys
import time
from itertools import islice

from weft.attack.campaign import Attack, Round
from weft.attack.report import table
from weft.attack.strikes import strikes

PER_ROUND = 50
ROWS = 6000


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m weft.attack", description=__doc__)
    parser.add_argument("--kills", type=_count, default=200, help="strikes to make (200)")
    parser.add_argument("--seed", type=int, default=1, help="whom they strike, how and when (1)")
    parser.add_argument("--rows", type=_count, default=ROWS, help=f"of a round ({ROWS})")
    parser.add_argument(
        "--per-round", type=_count, default=PER_ROUND, help=f"strikes in a round ({PER_ROUND})"
    )
    options = parser.parse_args(argv)
    command = f"python -m weft.attack --kills {options.kills} --seed {options.seed}"
    if options.rows != ROWS:
        command += f" --rows {options.rows}"
    if options.per_round != PER_ROUND:
        command += f" --per-round {options.per_round}"
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)

    planned = strikes(str(options.seed), options.kills)
    rounds: list[Round] = []
    struck = 0
    while struck < options.kills:
        seed = f"{options.seed}/{len(rounds)}"
        wanted = min(options.per_round, options.kills - struck)
        found = Attack(seed, options.rows, say).run(islice(planned, wanted))
        rounds.append(found)
        struck += len(found.blows)
        say(
            f"round {len(rounds)}: {len(found.blows)} strikes in {found.seconds:.0f} s, "
            f"{len(found.table):,} of {found.rows:,} rows; {struck} of {options.kills} strikes"
            + ("" if not found.faults else "  BROKEN")
        )
        if found.faults:
            for fault in found.faults:
                print(f"  {fault}")
            print(f"  replay: {command}\n  logs and table: {found.evidence}")
            break
        if not found.blows:
            print("  no strike hit: give the round more --rows")
            return 1
    print(table(rounds))
    return 1 if any(found.faults for found in rounds) else 0


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
