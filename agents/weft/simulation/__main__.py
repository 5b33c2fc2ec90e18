"""`python -m weft.simulation`: many seeds, or one with its log."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from weft.simulation.mutants import MUTANTS
from weft.simulation.report import Report
from weft.simulation.schedule import MIXES, Schedule, generate
from weft.simulation.shrink import shrink
from weft.simulation.world import Outcome, simulate

CHUNK = 200


def main(argv: list[str] | None = None) -> int:
    """Exit code 1 when something was broken, 2 when the arguments make no sense."""
    parser = argparse.ArgumentParser(prog="python -m weft.simulation", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=_span, metavar="FROM:TO", help="run these seeds")
    what.add_argument("--seed", type=int, help="run one seed")
    what.add_argument("--schedule", help="run a schedule as --shrink prints it (JSON)")
    parser.add_argument("--mix", choices=sorted(set(MIXES)), help="only faults of this kind")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="with this bug planted")
    parser.add_argument("--jobs", type=int, default=1, help="processes at work (1)")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happened")
    parser.add_argument("--shrink", action="store_true", help="make a failing schedule small")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    options = parser.parse_args(argv)
    command = _command(options.mix, options.mutant)
    if options.seeds is not None:
        report = Report()
        for outcomes in _run_all(options.seeds, options.mix, options.mutant, options.jobs):
            report.extend(outcomes)
        print(report.text(command))
        if options.json:
            options.json.write_text(report.json())
        if options.shrink and report.broken:
            _print_small(report.broken[0], options.mutant)
        return 1 if report.broken else 0
    if options.schedule is not None:
        try:
            schedule = msgspec.json.decode(options.schedule, type=Schedule)
        except msgspec.MsgspecError as error:
            parser.error(f"--schedule: {error}")
    else:
        schedule = generate(options.seed, options.mix)
    outcome = simulate(schedule, _machines(options.mutant), trace=options.trace)
    print(msgspec.json.encode(schedule).decode())
    for line in outcome.log:
        print(line)
    print(f"BROKEN  {outcome.broken}" if outcome.broken else "all held")
    if options.shrink and outcome.broken:
        _print_small(outcome, options.mutant)
    return 1 if outcome.broken else 0


def _print_small(outcome: Outcome, mutant: str | None) -> None:
    small = shrink(outcome, _machines(mutant))
    schedule = msgspec.json.encode(small.schedule).decode()
    print(f"smallest found: {small.broken}")
    print(f"  replay: {_command(None, mutant)} --trace --schedule '{schedule}'")


def _command(mix: str | None, mutant: str | None) -> str:
    command = "python -m weft.simulation"
    if mix:
        command += f" --mix '{mix}'"
    if mutant:
        command += f" --mutant '{mutant}'"
    return command


def _machines(mutant: str | None):  # type: ignore[no-untyped-def]
    from weft.simulation.machines import REAL

    return REAL if mutant is None else MUTANTS[mutant].machines


def _run_all(
    seeds: range, mix: str | None, mutant: str | None, jobs: int
) -> Iterator[list[Outcome]]:
    chunks = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    if jobs <= 1:
        for chunk in chunks:
            yield _run_some(chunk, mix, mutant)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(
            _run_some, chunks, [mix] * len(chunks), [mutant] * len(chunks), chunksize=1
        )


def _run_some(seeds: range, mix: str | None, mutant: str | None) -> list[Outcome]:
    machines = _machines(mutant)
    return [simulate(generate(seed, mix), machines) for seed in seeds]


def _span(text: str) -> range:
    first, _, last = text.partition(":")
    try:
        span = range(int(first), int(last))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FROM:TO, as in 0:20000") from None
    if not span:
        raise argparse.ArgumentTypeError(f"{text!r} names no seed")
    return span


if __name__ == "__main__":
    sys.exit(main())
