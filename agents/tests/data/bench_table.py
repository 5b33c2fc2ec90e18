"""What a row costs the writer: `python agents/tests/data/bench_table.py`.

Prints CPU microseconds a row for a dialogue of 8 messages of 1 KB and 8 segments: decoding and
conversion to Arrow, Parquet by compression, a whole commit; and what 500 commits cost as they grow.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
from finished_rows import finished

from weft.data import columns
from weft.data.chain import Link
from weft.data.table import OutputTable

ROWS = 2000


def best(action: Callable[[], object], rows: int, rounds: int = 7) -> float:
    """CPU microseconds a row of the best round."""
    lowest = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        action()
        lowest = min(lowest, time.process_time() - start)
    return lowest / rows * 1e6


def main() -> None:
    rows = [finished(number, turns=8, length=1000, hops=8) for number in range(ROWS)]
    size = sum(len(row.body) + sum(map(len, row.segments)) for row in rows) / ROWS
    print(f"{ROWS} rows of {size:.0f} encoded bytes")
    pieces = list(columns.chunks(rows))
    moment = columns.now()
    cost = best(lambda: [columns.to_batch(piece, moment, Link(0, ""))[0] for piece in pieces], ROWS)
    print(f"{'conversion to Arrow':32}{cost:8.1f} µs/row")
    batches = [columns.to_batch(piece, moment, Link(0, ""))[0] for piece in pieces]
    for name, level in (("none", None), ("snappy", None), ("lz4", None), ("zstd", 1), ("zstd", 3)):

        def write(name: str = name, level: int | None = level) -> io.BytesIO:
            stream = io.BytesIO()
            with pq.ParquetWriter(
                stream,
                columns.FILE_SCHEMA,
                compression=name,
                compression_level=level,
                use_dictionary=False,
                write_statistics=["row"],
            ) as writer:
                for piece in batches:
                    writer.write_batch(piece)
            return stream

        cost = best(write, ROWS, 4)
        label = f"Parquet {name} {level or ''}"
        print(f"{label:32}{cost:8.1f} µs/row {write().tell() / ROWS:8.0f} bytes/row")

    folder = tempfile.mkdtemp()
    try:
        table = OutputTable.open(folder, {}, pipeline="bench")
        table.claim(0)
        lowest, number = float("inf"), 0
        for _ in range(6):
            for row in rows:
                row.row, number = number, number + 1
            start = time.process_time()
            table.commit(0, rows)
            lowest = min(lowest, time.process_time() - start)
        print(f"{'whole commit of ' + str(ROWS):32}{lowest / ROWS * 1e6:8.1f} µs/row")
        times = []
        for count in range(500):
            start = time.perf_counter()
            rows[0].row = number + count
            table.commit(0, rows[:1])
            times.append(time.perf_counter() - start)
        for low in (0, 200, 450):
            part = sorted(times[low : low + 50])
            print(
                f"commits {low:3}-{low + 49:<20} median {part[25] * 1e3:5.1f} ms, "
                f"longest {part[-1] * 1e3:5.1f} ms"
            )
        start = time.perf_counter()
        claim = table.claim(0)
        print(
            f"claim reads {len(claim.rows)} rows of {table.version} versions back in "
            f"{time.perf_counter() - start:.2f} s"
        )
        table.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
