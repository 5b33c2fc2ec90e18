"""Tokens and time used over the whole life of an output, kept beside it. No I/O here."""

from __future__ import annotations

import msgspec

MOST_PROCESSES = 256
"""Processes remembered one by one. A head that starts again meets those of before, whose counters
go on from where they were."""


class _Process(msgspec.Struct, array_like=True):
    model: str
    prompt: int
    completion: int


class Usage(msgspec.Struct):
    """By model. `seconds`: that rows have flowed, up to the start of this head's life."""

    seconds: float = 0.0
    gone: dict[str, tuple[int, int]] = {}
    """Model -> prompt and completion tokens of processes that are not remembered any more."""
    processes: dict[str, _Process] = {}
    """The process's own number -> what it has counted since its start; the newest last."""

    def take(self, process: str, model: str, prompt: int, completion: int) -> None:
        """What a process says of itself. Counters only rise."""
        known = self.processes.get(process)
        if known is None:
            self.processes[process] = _Process(model, prompt, completion)
            if len(self.processes) > MOST_PROCESSES:
                self._forget(next(iter(self.processes)))
        else:
            known.prompt = max(known.prompt, prompt)
            known.completion = max(known.completion, completion)

    def tokens(self) -> dict[str, tuple[int, int]]:
        """Model -> prompt and completion tokens; agents that ask no model have the model ""."""
        totals = dict(self.gone)
        for each in self.processes.values():
            prompt, completion = totals.get(each.model, (0, 0))
            totals[each.model] = (prompt + each.prompt, completion + each.completion)
        return totals

    def _forget(self, process: str) -> None:
        each = self.processes.pop(process)
        prompt, completion = self.gone.get(each.model, (0, 0))
        self.gone[each.model] = (prompt + each.prompt, completion + each.completion)


encode_usage = msgspec.json.Encoder().encode
decode_usage = msgspec.json.Decoder(Usage).decode
"""Raises `msgspec.MsgspecError` for anything else."""
