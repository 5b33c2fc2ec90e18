"""One row at one agent: decode, handle, ask the flow where next, encode, record the segment."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from weft.agent import Agent
from weft.branch import Branch
from weft.context import Context, Setting
from weft.engines.base import Engine, EngineDead, EngineError, Urgency
from weft.flow.graph import DIVIDE, FlowError, Graph
from weft.governance.make import check_rules, gate_of
from weft.loading import agent_class, check_config
from weft.prompts.render import PromptError, Prompts
from weft.protocol.message import DEAD, ENDS, REJECT, Message
from weft.row import Row, decode_row, encode_row
from weft.segment import Segment, encode_segment
from weft.tools.make import make_tools
from weft_api.flow import BRANCH
from weft_api.plan import Plan

if TYPE_CHECKING:
    from weft.data.accepted import AcceptedRows
    from weft.governance.gate import Gate, Ruling
    from weft.tools.mcp import Sessions

BACKOFF = (0.5, 30.0)
"""Seconds before the second attempt, doubling to the second figure."""
TRANSIENT_ATTEMPTS = 10
"""An attempt that failed for a passing outside cause (an endpoint that is away) counts for a tenth
of `maxAttempts`: the row outlasts some minutes of it."""

_ABSENT = object()

log = logging.getLogger("weft.agent")


class Passed(msgspec.Struct):
    """The hop is done: where the row goes, its new body, and the record."""

    to: str
    body: bytes
    segment: bytes
    reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ways: list[tuple[str, bytes]] = []
    """Of a row that is divided: step and body of each branch; `to` is where they come together."""


class Again(msgspec.Struct):
    """The attempt failed and another one is due after `delay` seconds."""

    delay: float
    reason: str
    prompt_tokens: int = 0
    """What the failed attempt has used all the same."""
    completion_tokens: int = 0


class Identity(msgspec.Struct, frozen=True):
    """Who does the work, for the row's provenance."""

    pool: str
    instance: str
    revision: str
    image: str


class Hops:
    """Runs rows through one agent by one plan. Made anew for each generation of the plan."""

    def __init__(self, plan: Plan, identity: Identity, agent: Agent, engine: Engine) -> None:
        pool = plan.pool(identity.pool)
        self.plan = plan
        self.generation = plan.generation
        self.agent = agent
        self._identity = identity
        self._step = pool.step
        self._graph = Graph(plan.flow)
        prompts = Prompts(plan.prompts)
        self._tools = make_tools(plan.tools, prompts)
        self._sessions = _sessions(plan, agent)
        self._unjoined = self._sessions is not None
        self._gate: Gate | None = gate_of(plan, pool)
        if self._gate is not None:
            self._tools = self._gate.guarded(self._tools)
        self._max_attempts = plan.delivery.max_attempts
        self._max_hops = plan.flow.max_hops
        self._rejects_late = plan.flow.on_late == "Reject"
        self._accepted: AcceptedRows | None = None
        self._setting = Setting(
            self._step,
            pool.name,
            plan.seed,
            engine,
            prompts,
            self._tools,
            log,
            self._accepted_rows,
        )

    def _accepted_rows(self) -> AcceptedRows:
        """What the output holds; Delta is not imported by agents that do not ask."""
        if self._accepted is None:
            from weft.data.accepted import AcceptedRows
            from weft.data.storage import from_environment

            self._accepted = AcceptedRows(self.plan.output.uri, from_environment())
        return self._accepted

    @staticmethod
    def check(plan: Plan) -> None:
        """Raises the error of the first condition, prompt, tool or rule that does not compile."""
        Graph(plan.flow)
        make_tools(plan.tools, Prompts(plan.prompts))
        check_rules(plan.governance)

    async def close(self) -> None:
        """Let go of the tools; no row is in hand any more."""
        for tool in self._tools.values():
            await tool.close()
        if self._sessions is not None:
            await self._sessions.close()
        if self._gate is not None:
            self._gate.close()

    async def handle(self, message: Message, branches: Sequence[Message] = ()) -> Passed | Again:
        """Give the row to the agent once. `branches`: those of a joined row. Raises `EngineDead`
        only: not the row's fault."""
        if self._unjoined and (outcome := await self._join_servers(message)):
            return outcome
        started, clock = time.time(), time.perf_counter()
        row = decode_row(message.body)
        before = dict(row.data)
        branch = message.branch.index if message.branch is not None else 0
        ctx = Context(
            self._setting,
            message.row,
            row.id,
            message.hop,
            message.attempts + 1,
            branch,
            [_branch(each) for each in branches] if branches else (),
            Urgency.of(message.priority, message.deadline),
        )
        reason = ""
        ways: list[tuple[str, bytes]] = []
        ruling: Ruling | None = None
        try:
            returned = await self.agent.handle(row, ctx)
            ctx.locate(row)
            if self._gate is not None:
                ruling = await self._gate.check(message.body, row, ctx.tool_traces, ctx.notes)
            if ruling is not None and ruling.end:
                to, body, reason = ruling.end, message.body, ruling.reason
            else:
                to = self._graph.next_step(self._step, row, returned)
                body = encode_row(row)
        except EngineDead:
            raise
        except Exception as error:
            verdict = self._failed(error, message)
            if isinstance(verdict, Again):
                for call in ctx.model_calls:
                    verdict.prompt_tokens += call.prompt_tokens
                    verdict.completion_tokens += call.completion_tokens
                return verdict
            to, body, reason = DEAD, message.body, verdict
        else:
            if reason:
                pass  # A rule has ended the row.
            elif to == REJECT:
                reason = str(row.get("reason") or "")
            elif to not in ENDS and message.hop + 1 >= self._max_hops:
                to = DEAD
                reason = (
                    f"step {self._step}: flow.maxHops {self._max_hops} reached and the row would "
                    "go on; break the loop in the flow, or raise maxHops"
                )
            elif to == DIVIDE:
                to, ways = self._divided(row)
        models, tools, notes = ctx.model_calls, ctx.tool_traces, ctx.notes
        if ruling is not None:
            tools, notes = ruling.records(tools, notes)
        segment = Segment(
            self._step,
            self._identity.pool,
            self._identity.instance,
            self._identity.revision,
            self._identity.image,
            message.epoch,
            message.fork,
            message.hop,
            started,
            time.perf_counter() - clock,
            models,
            tools,
            notes,
            [] if ruling is not None and ruling.end else _written(before, row.data),
            self.generation,
            ruling.verdicts if ruling is not None else [],
            branch,
        )
        passed = Passed(to, body, self._encoded(segment), reason, ways=ways)
        for call in models:
            passed.prompt_tokens += call.prompt_tokens
            passed.completion_tokens += call.completion_tokens
        return passed

    def _divided(self, row: Row) -> tuple[str, list[tuple[str, bytes]]]:
        """The join, and step and body of each branch."""
        fan = self._graph.fan_out(self._step)
        ways = []
        for index, step in enumerate(fan.ways, 1):
            branch = Row(
                row.id, row.source, {**row.data, BRANCH: index}, row.messages, row.tools, row.origin
            )
            ways.append((step, encode_row(branch)))
        return fan.join, ways

    async def _join_servers(self, message: Message) -> Passed | Again | None:
        """Learn the tools of the plan's MCP servers: before the first row, and before the next one
        where a server did not answer. Gives the verdict on an attempt that this has failed."""
        assert self._sessions is not None
        try:
            tools = await self._sessions.join(self._tools)
        except EngineError as error:
            verdict = self._failed(error, message)
            return verdict if isinstance(verdict, Again) else self.dead(message, verdict)
        if not self._unjoined:
            return None  # Another row has waited for the same.
        self._tools = tools if self._gate is None else self._gate.guarded(tools)
        self._setting = self._setting._replace(tools=self._tools)
        self._unjoined = False
        return None

    def timed_out(self, message: Message) -> Passed | Again:
        """The verdict on an attempt that took longer than `delivery.handlerTimeout`."""
        seconds = self.plan.delivery.handler_timeout_seconds
        verdict = self._failed(
            TimeoutError(f"not done after {seconds:g} s (delivery.handlerTimeout)"), message
        )
        return verdict if isinstance(verdict, Again) else self.dead(message, verdict)

    def late(self, message: Message) -> Passed | None:
        """The end of a row whose deadline has passed, where such rows are not to go on."""
        if not (message.deadline and self._rejects_late):
            return None
        late = time.time() - message.deadline
        if late <= 0:
            return None
        reason = (
            f"step {self._step}: late: the deadline had passed {late:.3f} s before "
            "(source.deadline)"
        )
        return self._ended(message, REJECT, reason)

    def dead(self, message: Message, reason: str) -> Passed:
        """The row ends here as a dead letter, unchanged."""
        return self._ended(message, DEAD, reason)

    def _ended(self, message: Message, to: str, reason: str) -> Passed:
        """The row ends before the agent has seen it."""
        segment = Segment(
            self._step,
            self._identity.pool,
            self._identity.instance,
            self._identity.revision,
            self._identity.image,
            message.epoch,
            message.fork,
            message.hop,
            time.time(),
            0.0,
            plan=self.generation,
            branch=message.branch.index if message.branch is not None else 0,
        )
        return Passed(to, message.body, encode_segment(segment), reason)

    def _failed(self, error: Exception, message: Message) -> Again | str:
        """Another attempt, or the reason why the row is dead."""
        attempt = message.attempts + 1
        told = " ".join(str(error).split())[:2000]
        if self._gate is not None and (cleaned := self._gate.clean(told)) != told:
            # Nor may it stand in the log: the traceback quotes it as well.
            told, withheld = cleaned, True
        else:
            withheld = False
        transient = isinstance(error, EngineError) and error.transient
        hopeless = isinstance(error, FlowError | PromptError) or (
            isinstance(error, EngineError) and not transient
        )
        allowed = self._max_attempts * (TRANSIENT_ATTEMPTS if transient else 1)
        if isinstance(error, EngineError | FlowError | PromptError):
            reason = f"step {self._step}: {told}"
        else:
            reason = f"step {self._step}: {type(error).__name__}: {told}"
            log.warning(
                "row %d, attempt %d of %d: %s",
                message.row,
                attempt,
                allowed,
                reason,
                exc_info=attempt == 1 and not withheld,
            )
        if hopeless or attempt >= allowed:
            return f"{reason} (attempt {attempt} of {attempt if hopeless else allowed})"
        first, longest = BACKOFF
        return Again(min(first * 2 ** (attempt - 1), longest), reason)

    def _encoded(self, segment: Segment) -> bytes:
        try:
            return encode_segment(segment)
        except (TypeError, msgspec.MsgspecError) as error:
            segment.notes = {"unrecordable": f"{type(error).__name__}: {error}"}
            return encode_segment(segment)


def _written(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of the fields that were set; no value is compared, since it may be large."""
    return [name for name, value in after.items() if before.get(name, _ABSENT) is not value]


def _branch(message: Message) -> Branch:
    assert message.branch is not None
    index, end = message.branch.index, message.branch.end
    return Branch(index, decode_row(message.body), end, message.reason if end else "")


def _sessions(plan: Plan, agent: Agent) -> Sessions | None:
    """Of the plan's MCP servers; the SDK is not imported where there is none."""
    if not agent.uses_tools or not any(tool.mcp for tool in plan.tools):
        return None
    from weft.tools.mcp import Sessions

    return Sessions(plan.tools)


def make_agent(plan: Plan, pool_name: str) -> Agent:
    """The pool's agent with its checked config. Raises `LoadError`."""
    pool = plan.pool(pool_name)
    cls = agent_class(pool.agent)
    config: Any = check_config(cls, pool.config, f"AgentPool {pool.name}: spec.config")
    return cls(config)
