"""What an agent gets with each row: the LLM, prompts, tools, log and records of one hop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from weft.engines.base import ROUTINE, Engine, Urgency
from weft.llm import LLM
from weft.row import ChatMessage, Row
from weft.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from weft.branch import Branch
    from weft.data.accepted import AcceptedRows
    from weft.prompts.render import Prompts
    from weft.segment import ModelCall, ToolTrace
    from weft.tools.base import Tool

MAX_NOTES = 64
"""Notes that one hop may record; they travel and are stored with the row."""


class Setting(NamedTuple):
    """What is the same for all rows that a pool's agent handles by one plan."""

    step: str
    pool: str
    seed: int
    """The plan's."""
    engine: Engine
    prompts: Prompts
    tools: Mapping[str, Tool]
    logger: logging.Logger
    accepted: Callable[[], AcceptedRows] | None = None


class Context:
    """Made for each hop, so it is cheap: what a hop does not use is not built.

    The runtime reads `model_calls`, `tool_traces` and `notes` after the hop, once `locate` has
    filled in which message each record led to.
    """

    __slots__ = (
        "_llm",
        "_setting",
        "_toolbox",
        "_urgency",
        "attempt",
        "branch",
        "branches",
        "hop",
        "notes",
        "row_id",
        "row_key",
    )

    def __init__(
        self,
        setting: Setting,
        row_key: int,
        row_id: str,
        hop: int,
        attempt: int,
        branch: int = 0,
        branches: Sequence[Branch] = (),
        urgency: Urgency = ROUTINE,
    ) -> None:
        self._setting = setting
        self.row_key = row_key
        self.row_id = row_id
        self.hop = hop
        """Hops that the row has made before this one."""
        self.attempt = attempt
        """1 for the first attempt at this hop."""
        self.branch = branch
        """Number, from 1, of the branch that this is; 0 for a whole row."""
        self.branches = branches
        """Where branches come together: all of them, in order; otherwise there are none."""
        self.notes: dict[str, Any] = {}
        self._urgency = urgency
        self._llm: LLM | None = None
        self._toolbox: Toolbox | None = None

    @property
    def step(self) -> str:
        return self._setting.step

    @property
    def pool(self) -> str:
        return self._setting.pool

    @property
    def seed(self) -> int:
        """63 bits from plan seed, row id, branch and hop: the same whichever instance or attempt it
        is."""
        text = f"{self._setting.seed} {self.hop} {self._lane}".encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1

    @property
    def _lane(self) -> str:
        """What tells this row or branch from every other: hops of two branches have one number."""
        return f"{self.row_id}/{self.branch}" if self.branch else self.row_id

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines name the step, row and hop."""
        return _HopLog(
            self._setting.logger, {"step": self.step, "row": self.row_id, "hop": self.hop}
        )

    @property
    def llm(self) -> LLM:
        """The pool's engine; where the pool has none, its calls raise `EngineError`."""
        if self._llm is None:
            self._llm = LLM(self._setting.engine, seed=self.seed, urgency=self._urgency)
        return self._llm

    @property
    def tools(self) -> Toolbox:
        """The pipeline's tools."""
        if self._toolbox is None:
            self._toolbox = Toolbox(
                self._setting.tools,
                row_id=self._lane,
                hop=self.hop,
                log=self.log,
                ask=lambda: self.llm,
            )
        return self._toolbox

    def prompt(self, name: str, row: Row, **extra: Any) -> list[ChatMessage]:
        """The dialogue to ask the model with: prompt `name` as system message, then the row's.

        The next model call is recorded with the prompt's `name@version`. Raises `PromptError`.
        """
        return [ChatMessage("system", self.render(name, row, **extra)), *row.messages]

    def render(self, name: str, row: Row, **extra: Any) -> str:
        """The text of prompt `name` for this row; `extra` are further names the template may use.

        The next model call is recorded with the prompt's `name@version`. Raises `PromptError`.
        """
        text = self._setting.prompts.render(name, row, **extra)
        self.llm.prompt = f"{name}@{self._setting.prompts.version(name)}"
        return text

    async def examples(self, count: int) -> list[dict[str, Any]]:
        """Up to `count` accepted rows as `{"id", "messages": [{"role", "content"}]}`; fewer, or
        none, while the output holds fewer. Their ids go into the row's trace.

        Which rows they are depends on what was committed half a minute ago: a run of the same seed
        may get others.
        """
        if self._setting.accepted is None:
            return []
        found = await self._setting.accepted().sample(count, Random(self.seed))
        self.record("examples", [one["id"] for one in found])
        return found

    @property
    def accepted(self) -> AcceptedRows:
        """All that the output holds. Raises `RuntimeError` outside of a pipeline."""
        if self._setting.accepted is None:
            raise RuntimeError("ctx.accepted: there is no output here")
        return self._setting.accepted()

    def record(self, name: str, value: Any) -> None:
        """Put a note (plain data) into the row's trace under this step. At most 64 names a hop."""
        if name not in self.notes and len(self.notes) >= MAX_NOTES:
            raise ValueError(f"ctx.record: more than {MAX_NOTES} notes in one hop; gather them")
        self.notes[name] = value

    @property
    def model_calls(self) -> list[ModelCall]:
        """Every call of the LLM in this hop, in the order they ended."""
        return [] if self._llm is None else self._llm.calls

    @property
    def tool_traces(self) -> list[ToolTrace]:
        """Every execution of a tool in this hop, in the order they began."""
        return [] if self._toolbox is None else self._toolbox.traces

    def locate(self, row: Row) -> None:
        """Fill in `message` of the records: the index in the dialogue of what came of them."""
        if self._toolbox is None and self._llm is None:
            return
        index = {id(message): at for at, message in enumerate(row.messages)}
        if self._toolbox is not None:
            for trace, answer in zip(self._toolbox.traces, self._toolbox.messages, strict=True):
                trace.message = index.get(id(answer), -1)
        if self._llm is not None:
            for call, reply in zip(self._llm.calls, self._llm.replies, strict=True):
                call.message = index.get(id(reply), -1)


class _HopLog(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        where = self.extra or {}
        return f"[{where.get('step')} row {where.get('row')} hop {where.get('hop')}] {msg}", kwargs
