"""vLLM inside the agent's process: continuous batching over all messages in flight.

What embeds it is what vLLM's own server and Ray's serving library use: an `AsyncLLM`, and on it the
serving object of the chat API, called directly and not over HTTP. So chat templates, tool and
reasoning parsers, guided JSON and defaults are vLLM's, for every model that vLLM knows, and a model
answers here as it does behind `vllm serve`. Written against vLLM 0.32.

Hazard: `AsyncLLM` keeps its scheduler and workers in child processes. `close` ends them; a process
that is killed leaves it to them to notice that their parent is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import difflib
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from weft.engines.base import ChatRequest, ChatResult, Engine, EngineDead, EngineError, Urgency
from weft.engines.chat_format import NotACompletion, body_of, result_of
from weft.engines.schema_modes import SchemaModes
from weft_api.engine import VllmEngine

TOOL_PARSERS = (
    ("<tool_call>\n<function=", "qwen3_xml"),
    ("<tool_call>", "hermes"),
    ("[TOOL_CALLS]", "mistral"),
    ("<|python_tag|>", "llama3_json"),
    ("<|tool_calls_section_begin|>", "kimi_k2"),
    ("functools[", "phi4_mini_json"),
)
"""Marks in a chat template, and vLLM's parser for the calls that they mark (vLLM's documentation,
"Tool calling"); the first that is found counts. `args.tool_call_parser` overrides."""


MOST_RANK = 1 << 30
NO_DEADLINE = (1 << 32) - 1
"""Seconds: later than any deadline."""


class Vllm(Engine):
    """One vLLM engine of this process. `seed` seeds what no request seeds.

    `args` are vLLM's own, of its engine and of its server; `served_model_name` among them is what
    provenance then names.
    """

    WATCH_SECONDS = 1.0
    """Between looks whether vLLM still lives. Where its processes die while many calls begin, some
    calls never return (0.32)."""

    def __init__(self, settings: VllmEngine, *, seed: int) -> None:
        self.model = settings.model
        self._settings = settings
        self._seed = seed
        self._client: Any = None
        self._chat: Any = None
        self._request_class: Any = None
        self._parses_tools = False
        self._schema_modes = SchemaModes("vLLM")
        self._orders = False
        """vLLM's scheduler goes by the priority of a request."""
        self._died: asyncio.Future[None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the model; takes from seconds to many minutes. Raises `EngineError`."""
        try:
            import vllm  # noqa: F401
        except ImportError as error:
            raise EngineError(
                f"engine.vllm: vLLM cannot be imported here ({error}); install weft's extra: "
                'pip install "weft[vllm]", or use an image that has it'
            ) from None
        engine_args, frontend_args = self._arguments()
        try:
            await self._load(engine_args, frontend_args)
        except EngineError:
            raise
        except Exception as error:  # vLLM, torch and transformers raise all kinds here.
            await self.close()
            raise EngineError(
                f"engine.vllm: vLLM did not start with model {self._settings.model!r}: "
                f"{_one_line(error)}; its own log above says more"
            ) from error

    async def _load(self, engine_args: Any, frontend_args: Any) -> None:
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        # Building waits for the workers and blocks; the agent's process has its leases to renew.
        loop = asyncio.get_running_loop()
        config = await loop.run_in_executor(
            None, partial(engine_args.create_engine_config, UsageContext.ENGINE_CONTEXT)
        )
        self._client = await loop.run_in_executor(
            None,
            partial(
                AsyncLLM.from_vllm_config,
                config,
                usage_context=UsageContext.ENGINE_CONTEXT,
                enable_log_requests=False,
                disable_log_stats=engine_args.disable_log_stats,
            ),
        )
        if frontend_args.tool_call_parser is None:
            frontend_args.tool_call_parser = self._parser_of_template(frontend_args.chat_template)
        self._parses_tools = frontend_args.tool_call_parser is not None
        self._orders = engine_args.scheduling_policy == "priority"
        frontend_args.enable_auto_tool_choice = self._parses_tools
        state = SimpleNamespace()
        await init_app_state(
            self._client,
            state,
            argparse.Namespace(**(vars(frontend_args) | vars(engine_args))),
            await self._client.get_supported_tasks(),
        )
        self._chat = state.openai_serving_chat
        if self._chat is None:
            raise EngineError(f"engine.vllm.model: {self.model!r} generates no text")
        self._request_class = ChatCompletionRequest
        self._died = loop.create_future()
        self._watcher = loop.create_task(self._watch(self._client, self._died))

    async def _watch(self, client: Any, died: asyncio.Future[None]) -> None:
        while not client.errored:  # noqa: ASYNC110 (vLLM has no event for it)
            await asyncio.sleep(self.WATCH_SECONDS)
        died.set_result(None)

    async def chat(self, request: ChatRequest) -> ChatResult:
        died = self._died
        if self._chat is None or died is None:
            raise EngineError("the vLLM engine has not been started")
        if request.tools and not self._parses_tools:
            raise EngineError(
                f"vLLM cannot tell how {self.model!r} writes tool calls; name the parser in "
                "engine.vllm.args.tool_call_parser (such as hermes, mistral or llama3_json)"
            )
        while True:
            mode = self._schema_modes.of(request.schema)
            try:
                body = body_of(request, self.model, schema_mode=mode)
                result = await self._answer(body, request.urgency, died)
            except EngineError as error:
                if (
                    request.schema is not None
                    and not error.transient
                    and self._schema_modes.refused(request.schema, mode, str(error))
                ):
                    continue
                raise
            if request.schema is not None:
                self._schema_modes.took(mode)
            return result

    async def _answer(
        self, body: bytes, urgency: Urgency, died: asyncio.Future[None]
    ) -> ChatResult:
        try:
            asked = self._request_class.model_validate_json(body)
            if self._orders:
                asked.priority = place_of(urgency)
            answering = asyncio.ensure_future(self._chat.create_chat_completion(asked))
            try:
                await asyncio.wait({answering, died}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # Of no effect on a call that has ended; vLLM frees the place of one that has not.
                answering.cancel()
            if not answering.done():
                raise EngineDead("its processes have ended")
            answer = answering.result()
        except Exception as error:  # A refusal of the request, or the end of the engine.
            if died.done() or self._client.errored:
                raise EngineDead(f"vLLM has died ({_one_line(error)}); see its log above") from None
            raise EngineError(f"vLLM refused the request: {_one_line(error)}") from None
        if failure := getattr(answer, "error", None):
            if died.done() or self._client.errored:
                raise EngineDead(f"vLLM has died ({failure.message}); see its log above")
            raise EngineError(
                f"vLLM refused the request: {failure.message}", transient=failure.code >= 500
            )
        try:
            return result_of(answer.model_dump_json().encode(), self.model)
        except NotACompletion as fault:
            raise EngineError(f"vLLM answered, but {fault}") from None

    async def close(self) -> None:
        client, self._client, self._chat = self._client, None, None
        if self._watcher is not None:
            self._watcher.cancel()
        if client is not None:
            await asyncio.get_running_loop().run_in_executor(None, client.shutdown)

    def _arguments(self) -> tuple[Any, Any]:
        """vLLM's engine and server arguments from `args`, each by vLLM's own name."""
        from vllm.config import StructuredOutputsConfig
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.entrypoints.launchers.cli_args import FrontendArgs
        from vllm.platforms import current_platform

        if (
            self._settings.model.startswith(("/", "./", "../"))
            and not Path(self._settings.model).is_dir()
        ):
            raise EngineError(f"engine.vllm.model: there is no folder {self._settings.model} here")
        engine_names = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
        frontend_names = {field.name for field in dataclasses.fields(FrontendArgs)}
        engine: dict[str, Any] = {
            "seed": self._seed % 2**31,
            "enable_log_requests": False,
            # Requests of one priority are served as without it: first come, first served.
            "scheduling_policy": "priority",
        }
        if current_platform.is_cpu():
            # On a CPU, a seeded prompt that is cut in two ends the engine (0.32: "CPU Generator
            # does not use offset").
            engine["enable_chunked_prefill"] = False
        frontend: dict[str, Any] = {}
        for name, value in self._settings.args.items():
            if name == "model":
                raise EngineError("engine.vllm.args.model: give the model in engine.vllm.model")
            if name in engine_names:
                engine[name] = value
            elif name in frontend_names:
                frontend[name] = value
            else:
                near = difflib.get_close_matches(name, engine_names | frontend_names, n=1)
                raise EngineError(
                    f"engine.vllm.args.{name}: vLLM has no such argument"
                    + (f"; did you mean {near[0]}?" if near else "; see vllm serve --help")
                )
        names = engine.pop("served_model_name", self.model)
        names = [names] if isinstance(names, str) else list(names)
        self.model = names[0]
        try:
            if isinstance(guided := engine.get("structured_outputs_config"), dict):
                # The one of vLLM's groups that it does not make from a dict by itself (0.32).
                engine["structured_outputs_config"] = StructuredOutputsConfig(**guided)
            return (
                AsyncEngineArgs(model=self._settings.model, served_model_name=names, **engine),
                FrontendArgs(**frontend),
            )
        except Exception as error:
            raise EngineError(
                f"engine.vllm: vLLM refused model {self._settings.model!r} or its args: "
                f"{_one_line(error)}"
            ) from None

    def _parser_of_template(self, given: str | None) -> str | None:
        tokenizer = self._client.get_tokenizer()
        template = given or getattr(tokenizer, "chat_template", None) or ""
        text = template if isinstance(template, str) else str(template)
        return next((name for mark, name in TOOL_PARSERS if mark in text), None)


def place_of(urgency: Urgency) -> int:
    """The urgency as vLLM's priority: one signed number of 64 bits, of which the lowest goes first.
    Deadlines count in whole seconds, and priorities up to 2**30 either way."""
    rank = max(-MOST_RANK, min(urgency.rank, MOST_RANK))
    return (rank << 32) | int(min(max(urgency.deadline, 0.0), NO_DEADLINE))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 400 else text[:399] + "…"
