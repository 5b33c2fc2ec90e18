"""A writer in a process of its own: claims partition 0 and commits what is missing of N rows.

`python writer_process.py URI ROWS BATCH`; prints a line after each commit. Exit code 3 when another
writer has taken over."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from finished_rows import finished

from weft.data.errors import Superseded
from weft.data.storage import from_environment
from weft.data.table import OutputTable


def main(uri: str, rows: int, size: int) -> int:
    table = OutputTable.open(uri, from_environment(), pipeline="support", patience=30)
    try:
        done = table.claim(0).rows
        print("claimed", len(done), flush=True)
        left = [number for number in range(rows) if number not in done]
        for start in range(0, len(left), size):
            batch = [
                finished(number, ("accepted", "rejected", "dead")[number % 3])
                for number in left[start : start + size]
            ]
            print("committed", table.commit(0, batch).version, flush=True)
    except Superseded as error:
        print(error, flush=True)
        return 3
    finally:
        table.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
