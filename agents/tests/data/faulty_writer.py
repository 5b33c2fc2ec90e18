"""A writer in a process of its own, on a store that lies: commits that fail, that land and are
reported as failed, that land later; and a twin that wakes with an old claim.

`python faulty_writer.py URI PARTITION PARTITIONS COMMITS`: commits COMMITS batches of three rows of
its partition, whatever the store says. Prints how often each fault struck, as JSON."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from deltalake import CommitProperties, DeltaTable, Transaction
from finished_rows import batch

from weft.data.columns import TABLE_SCHEMA
from weft.data.errors import OutputError, Superseded
from weft.data.storage import delta_options, from_environment
from weft.data.table import OutputTable

ROWS = 3


class Store:
    """Between a writer and its table's log."""

    def __init__(self, uri: str, seed: int) -> None:
        self.uri = uri
        self.chance = random.Random(seed)
        self.struck: Counter[str] = Counter()
        self.late: list[threading.Timer] = []

    def lie(self, table: OutputTable) -> None:
        write = table.ledger.write

        def faulty(application: str, number: int, actions: Any, noted: Any = None) -> None:
            drawn = self.chance.random()
            if drawn < 0.06:
                self.struck["failed before it landed"] += 1
                raise OSError("503 Slow Down")
            if drawn < 0.12:
                self._later(table.version, application, number, list(actions), noted)
                self.struck["lands later, if it can"] += 1
                raise OSError("timed out")
            write(application, number, actions, noted)
            if drawn < 0.2:
                self.struck["landed, and reported as failed"] += 1
                raise OSError("the connection was reset")

        table.ledger.write = faulty  # type: ignore[method-assign]

    def _later(
        self, version: int, application: str, number: int, actions: list[Any], noted: Any
    ) -> None:
        """The request is applied as it was made: to the version of its time, or not at all."""

        def land() -> None:
            try:
                options = delta_options(self.uri, from_environment())
                table = DeltaTable(self.uri, version=version, storage_options=options)
                table.create_write_transaction(
                    actions,
                    mode="append",
                    schema=TABLE_SCHEMA,
                    partition_by=["status"],
                    commit_properties=CommitProperties(
                        app_transactions=[Transaction(application, number)],
                        custom_metadata=dict(noted or {}),
                        max_commit_retries=self.chance.choice((0, 15)),
                    ),
                )
                self.struck["landed late"] += 1
            except Exception:
                self.struck["came too late"] += 1

        self.late.append(threading.Timer(self.chance.uniform(0.0, 0.3), land))
        self.late[-1].start()


def main(uri: str, partition: int, partitions: int, commits: int) -> None:
    store = Store(uri, partition)

    def opened() -> OutputTable:
        # So little patience that commits are given up now and then: the next ones find out.
        table = OutputTable.open(
            uri, from_environment(), pipeline="support", partitions=partitions, patience=0.5
        )
        store.lie(table)
        return table

    def claimed() -> tuple[OutputTable, list[int]]:
        """A new writer, and the rows that it has to commit."""
        while True:
            table = opened()
            try:
                done = table.claim(partition).rows
            except OutputError:
                continue
            return table, [row for row in wanted if row not in done]

    wanted = range(partition, commits * ROWS * partitions, partitions)
    table, left = claimed()
    while left:
        try:
            table.commit(partition, batch(left[:ROWS]))
            left = left[ROWS:]
        except OutputError:
            store.struck["given up"] += 1
            continue
        if store.chance.random() < 0.05:
            # Another takes over; this one wakes and goes on as if nothing had happened.
            zombie, (table, left) = table, claimed()
            try:
                zombie.commit(partition, batch(left[:1] or [wanted[0]]))
                raise AssertionError("a zombie has committed")
            except Superseded:
                store.struck["zombie refused"] += 1
            except OutputError:
                store.struck["zombie could not reach the store"] += 1
    for timer in store.late:
        timer.join()
    print(json.dumps(store.struck), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
