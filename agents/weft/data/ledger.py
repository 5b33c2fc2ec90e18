"""Commits as compare-and-set: an application's number goes from old to new, or not.

This is all that the guarantees stand on. Delta refuses a commit when the application's number was
written after the snapshot that the commit stands on. *Hazard:* from a fresh snapshot it accepts any
number, also one that it has; so the snapshot is compared first, and then written from. And an
error does not say that the commit failed: its effect is looked up before anything else is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.transaction import AddAction

from weft.data.columns import TABLE_SCHEMA
from weft.data.patience import patiently

_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=True)


class Ledger:
    """The table's log as one process sees it."""

    def __init__(
        self, table: DeltaTable, storage_options: Mapping[str, str], *, patience: float
    ) -> None:
        self.table = table
        self.patience = patience
        self._storage_options = storage_options

    def number(self, application: str) -> int:
        """The application's number as of the last look; 0 where it has none."""
        return self.table.transaction_version(application) or 0

    def refresh(self) -> None:
        """Look at the table as it is now. Raises `OutputError`."""
        patiently(
            self.table.update_incremental,
            what="the table's log cannot be read",
            seconds=self.patience,
            storage_options=self._storage_options,
        )

    def advance(
        self,
        application: str,
        *,
        old: int,
        new: int,
        actions: Sequence[AddAction] = (),
        noted: Mapping[str, str] | None = None,
    ) -> int:
        """Commit the actions and the number `new`, if the number is still `old`. `noted` goes into
        the commit's metadata.

        Returns the number that is in the table then: `new` when this commit is in it, else what
        another commit has put there. Raises `OutputError` when the store fails for too long;
        whether the commit is in (or will be) is unknown then."""

        def step() -> int:
            problem: Exception | None = None
            if self.number(application) == old:
                try:
                    self.write(application, new, actions, noted)
                except Exception as error:
                    problem = error
                self.table.update_incremental()
            now = self.number(application)
            if now == old:
                raise problem or OSError("the commit was accepted and is not in the table")
            return now

        return patiently(
            step,
            what="the commit is not accepted",
            seconds=self.patience,
            storage_options=self._storage_options,
        )

    def write(
        self,
        application: str,
        number: int,
        actions: Sequence[AddAction],
        noted: Mapping[str, str] | None = None,
    ) -> None:
        """One try. May raise although the commit is in the table."""
        self.table.create_write_transaction(
            list(actions),
            mode="append",
            schema=TABLE_SCHEMA,
            partition_by=["status"],
            commit_properties=CommitProperties(
                custom_metadata=dict(noted or {}),
                app_transactions=[Transaction(application, number)],
            ),
            post_commithook_properties=_HOOKS,
        )
