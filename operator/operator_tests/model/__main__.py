"""`python -m operator_tests.model`: the operator under seeded faults."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter

from operator_tests.model.faults import ALL, schedule


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m operator_tests.model", description=__doc__)
    parser.add_argument("--seeds", default="0:1000", metavar="FROM:TO", help="default 0:1000")
    parser.add_argument("--seed", type=int, help="this one only, with its log")
    parser.add_argument("--scenario", default="", choices=sorted(ALL), help="by the seed otherwise")
    options = parser.parse_args()
    first, _, last = options.seeds.partition(":")
    seeds = range(int(first), int(last)) if options.seed is None else [options.seed]
    logging.basicConfig(level=logging.CRITICAL if options.seed is None else logging.DEBUG)
    began = time.monotonic()
    struck: Counter[str] = Counter()
    failed = 0
    for seed in seeds:
        verdict = schedule(seed, options.scenario)
        struck += verdict.struck
        if verdict.wrong:
            failed += 1
            print(f"seed {seed} ({verdict.scenario}): {'; '.join(verdict.wrong)}")
            print(f"  {verdict.command}", flush=True)
    print(f"{len(seeds)} schedules in {time.monotonic() - began:.0f} s, {failed} failed; faults:")
    for what, count in sorted(struck.items()):
        print(f"{count:8} {what}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
