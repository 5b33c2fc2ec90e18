"""A row on its way: the source's columns, what the agents made of them, and the dialogue.

This is the body of a message. Only the agent that handles a message decodes it, so its encoding is
compact (arrays, not maps) and the codecs below are the only place that knows it.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import asdict

from weft.segment import Verdict


class ToolCall(msgspec.Struct, array_like=True, gc=False):
    """A model's wish to call a tool. `arguments` is a JSON object as text, as models write it."""

    id: str
    name: str
    arguments: str = "{}"


class ChatMessage(msgspec.Struct, array_like=True, gc=False):
    """One message of a dialogue, with the names of the OpenAI chat format."""

    role: str
    """`system`, `user`, `assistant` or `tool`."""
    content: str = ""
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    """For `tool` messages: the call that this answers."""
    name: str | None = None


class Origin(msgspec.Struct, array_like=True, gc=False):
    """What the source's gate has found in a row, where it has found something."""

    digest: str
    """`source_digest` of the columns as the source gave them."""
    checked: float
    """When, in Unix time."""
    verdicts: list[Verdict]


class Row(msgspec.Struct, array_like=True):
    """What an agent gets and changes.

    `source` holds the columns as the source gave them and is never changed; `data` holds what
    agents add (`row["verdict"] = "revise"`). Reading `row["x"]` looks in `data` first, then in
    `source`.
    """

    id: str
    source: dict[str, Any]
    data: dict[str, Any] = {}
    messages: list[ChatMessage] = []
    tools: list[dict[str, Any]] = []
    """Definitions (OpenAI `tools` form) of the tools that this dialogue was offered."""
    origin: Origin | None = None
    """Not for agents: it goes with the row to its writer."""

    def __getitem__(self, name: str) -> Any:
        if name in self.data:
            return self.data[name]
        return self.source[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.data[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self.data or name in self.source

    def get(self, name: str, default: Any = None) -> Any:
        """The value of `name`, or `default` where neither an agent nor the source gave one."""
        return self.data[name] if name in self.data else self.source.get(name, default)

    @property
    def pending_tool_calls(self) -> list[ToolCall]:
        """The calls of the last assistant message that no `tool` message has answered yet."""
        answered: set[str | None] = set()
        for message in reversed(self.messages):
            if message.role == "tool":
                answered.add(message.tool_call_id)
            elif message.role == "assistant":
                return [call for call in message.tool_calls if call.id not in answered]
            else:
                break
        return []

    def view(self, only: Collection[str] | None = None) -> dict[str, Any]:
        """The row as conditions and prompts see it (`row.…`).

        Columns and fields lie side by side, a field hiding a column of its name; `id`, `messages`,
        and `tool_calls` (only while some are unanswered, so that `has(row.tool_calls)` tells) are
        always the row's own. `only` limits the view to these names (those that the row has), so
        that asking for one field does not convert the whole dialogue.
        """
        if only is None:
            only = dict.fromkeys((*self.source, *self.data, *sorted(VIEW_NAMES)))
        seen: dict[str, Any] = {}
        for name in only:
            if name == "id":
                seen[name] = self.id
            elif name == "messages":
                seen[name] = [
                    {**asdict(message), "tool_calls": [asdict(call) for call in message.tool_calls]}
                    for message in self.messages
                ]
            elif name == "tool_calls":
                if calls := self.pending_tool_calls:
                    seen[name] = [asdict(call) for call in calls]
            elif name in self.data:
                seen[name] = self.data[name]
            elif name in self.source:
                seen[name] = self.source[name]
        return seen


VIEW_NAMES = frozenset({"id", "messages", "tool_calls"})
"""What `Row.view` has besides the source's columns and the agents' fields."""

_canonical = msgspec.json.Encoder(order="sorted").encode


def source_digest(columns: dict[str, Any]) -> str:
    """SHA-256 (hex) of a source row's columns as JSON with sorted names and no white space, so that
    whoever has the source can compute it."""
    return sha256(_canonical(columns)).hexdigest()


REJECTED_ANSWERS = "rejected_answers"
"""Field with the answers that were not kept; `weft.builtin.candidates` says what is in it."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Row)

encode_row = _encoder.encode
"""Row -> bytes."""
decode_row = _decoder.decode
"""Bytes -> Row; raises `msgspec.DecodeError` on anything else."""
