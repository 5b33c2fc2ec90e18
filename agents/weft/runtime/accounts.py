"""What a run has used, as its processes report it: kept beside the output over all its runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from weft.data.beside import Beside
from weft.data.errors import OutputError
from weft.protocol.view import Member
from weft.runtime.limits import Used, cost_of
from weft.runtime.status import Stats
from weft.runtime.usage import Usage, decode_usage, encode_usage
from weft_api.limits import model_of
from weft_api.plan import Plan

FILE = "usage.json"
SAVE_EVERY = 5.0
"""Seconds. A head that dies alone loses nothing (the processes' counters go on); when all dies at
once, what was used since the last saving is forgotten."""

log = logging.getLogger(__name__)


class Accounts:
    """Takes in the processes' counters; says what was used. Failing stores stop nothing."""

    def __init__(self, files: Beside) -> None:
        self._files = files
        self._usage = Usage()
        self._saved = encode_usage(self._usage)
        self._save_at = 0.0
        self._began = 0.0
        self._ended = 0.0
        self._saving: asyncio.Future[None] | None = None

    def load(self) -> None:
        """What earlier runs have used. Blocks; raises `OutputError`."""
        kept = self._files.read(FILE)
        if kept is None:
            return
        try:
            self._usage = decode_usage(kept)
        except msgspec.MsgspecError as error:
            raise OutputError(f"{self._files.uri}/{FILE}: damaged ({error}); remove it") from None

    def begin(self) -> None:
        """Rows flow from now on."""
        self._began = time.monotonic()

    def end(self) -> None:
        """They do not any more."""
        self._ended = self._ended or time.monotonic()

    def note(self, stats: Mapping[int, Stats], members: Mapping[int, Member], plan: Plan) -> None:
        """What the living processes say of themselves."""
        models = {pool.name: model_of(pool.engine) for pool in plan.pools}
        for incarnation, each in stats.items():
            if not each.prompt_tokens and not each.completion_tokens:
                continue
            member = members.get(incarnation)
            model = "" if member is None else models.get(member.pool, "")
            self._usage.take(each.process, model, each.prompt_tokens, each.completion_tokens)

    def tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens, over all models."""
        totals = self._usage.tokens().values()
        return sum(prompt for prompt, _ in totals), sum(completion for _, completion in totals)

    def used(self, plan: Plan) -> Used:
        return Used(sum(self.tokens()), cost_of(plan, self._usage.tokens()), self._seconds())

    def save_soon(self, run: Callable[[Callable[[], Any]], asyncio.Future[Any]]) -> None:
        """Keep it, if something has changed and it is due; `run` calls it in the table's thread."""
        now = time.monotonic()
        if now >= self._save_at and (self._saving is None or self._saving.done()):
            self._save_at = now + SAVE_EVERY
            self._saving = run(self.save)

    def save(self) -> None:
        """Keep it now. Blocks; a store that fails is told of in the log only."""
        content = encode_usage(msgspec.structs.replace(self._usage, seconds=self._seconds()))
        if content == self._saved:
            return
        try:
            self._files.write(FILE, content)
        except OutputError as error:
            log.warning("what was used cannot be kept: %s", error)
        else:
            self._saved = content

    def _seconds(self) -> float:
        now = self._ended or time.monotonic()
        return self._usage.seconds + (now - self._began if self._began else 0.0)


def accounts_of(uri: str, storage_options: Mapping[str, str]) -> Accounts:
    """Of the output at this address; patient for a moment only. Raises `OutputError`."""
    return Accounts(Beside(uri, storage_options, patience=5.0))
