"""Asks the heads of running pipelines how they stand, regularly and never too many at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from weft_operator.decide.decision import head_pod
from weft_operator.facts import HeadStatus, Key, Pod
from weft_operator.head_client import HeadClient, HeadError
from weft_operator.settings import Settings
from weft_operator.store import Store

log = logging.getLogger(__name__)

_AT_ONCE: Final = 32
_SILENCE: Final = 60.0
"""Seconds between two log lines about the same silent head."""


class Heads:
    """What each head said last. A change is announced by `changed(key)`."""

    def __init__(
        self,
        store: Store,
        client: HeadClient,
        settings: Settings,
        read_token: Callable[[Key], Awaitable[str | None]],
        changed: Callable[[Key], None],
    ) -> None:
        self._store = store
        self._client = client
        self._settings = settings
        self._read_token = read_token
        self._changed = changed
        self._followed: dict[Key, float] = {}
        """When each is due to be asked (monotonic)."""
        self._said: dict[Key, HeadStatus] = {}
        self._asked: set[Key] = set()
        """Whose head has been asked at least once, whether or not it answered."""
        self._tokens: dict[Key, str] = {}
        self._shut_out: set[Key] = set()
        """Whose head has refused the token."""
        self._complained: dict[Key, float] = {}

    def follow(self, key: Key, wanted: bool) -> None:
        if wanted:
            self._followed.setdefault(key, time.monotonic())
        else:
            self._followed.pop(key, None)

    async def ask_now(self, key: Key) -> None:
        await self._ask(key, asyncio.Semaphore())

    def is_shut_out(self, key: Key) -> bool:
        """The head has another token than the Secret."""
        return key in self._shut_out

    def is_unasked(self, key: Key) -> bool:
        """There is a head that has not been asked yet, as after the operator's own start."""
        return key not in self._asked and self.pod_of(key) is not None

    def forget(self, key: Key) -> None:
        self._followed.pop(key, None)
        self._said.pop(key, None)
        self._asked.discard(key)
        self._shut_out.discard(key)
        self._tokens.pop(key, None)
        self._complained.pop(key, None)

    def status_of(self, key: Key) -> HeadStatus | None:
        return self._said.get(key)

    def pod_of(self, key: Key) -> Pod | None:
        """The head's pod, where it can be asked."""
        pod = head_pod(self._store.pods.of(key))
        return pod if pod is not None and pod.ready and pod.address else None

    async def token_of(self, key: Key) -> str | None:
        if key not in self._tokens:
            token = await self._read_token(key)
            if token is None:
                return None
            self._tokens[key] = token
        return self._tokens[key]

    async def run(self) -> None:
        """Until cancelled."""
        limit = asyncio.Semaphore(_AT_ONCE)
        while True:
            started = time.monotonic()
            due = sorted(
                (at, key)
                for key, at in self._followed.items()
                if at <= started and self.pod_of(key) is not None
            )
            # A budget for each second: with many pipelines each is asked less often.
            budget = max(1, int(self._settings.polls_per_second))
            for _, key in due[:budget]:
                self._followed[key] = started + self._settings.poll_seconds
            await asyncio.gather(*(self._ask(key, limit) for _, key in due[:budget]))
            await asyncio.sleep(max(0.0, started + 1.0 - time.monotonic()))

    async def _ask(self, key: Key, limit: asyncio.Semaphore) -> None:
        first = key not in self._asked
        await self._hear(key, limit)
        if first and key in self._asked and key not in self._said:
            self._changed(key)  # that it does not answer is a word, too

    async def _hear(self, key: Key, limit: asyncio.Semaphore) -> None:
        async with limit:
            pod = self.pod_of(key)
            if pod is None:
                return
            self._asked.add(key)
            try:
                token = await self.token_of(key)
                if token is None:
                    return
                said = await self._client.status(pod, token)
            except HeadError as error:
                if error.status in (401, 403):
                    self._tokens.pop(key, None)  # read anew next time: the Secret may be another
                    if key not in self._shut_out:
                        self._shut_out.add(key)
                        self._changed(key)
                self._complain(key, error)
                return
            except Exception as error:  # the API server, for the token
                self._complain(key, error)
                return
        self._shut_out.discard(key)
        before = self._said.get(key)
        self._said[key] = said
        self._complained.pop(key, None)
        if before is None or _moved(before, said):
            self._changed(key)

    def _complain(self, key: Key, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained.get(key, -_SILENCE) >= _SILENCE:
            self._complained[key] = now
            log.warning("%s/%s: %s", *key, error)


def _moved(before: HeadStatus, after: HeadStatus) -> bool:
    """Whether they say different things; the same words at another time are the same."""
    return _words(before) != _words(after)


def _words(said: HeadStatus) -> tuple[object, ...]:
    return (
        said.phase,
        said.message,
        said.plan_generation,
        said.rows,
        said.tokens,
        said.pools,
        said.output,
        said.pod_uid,
    )
