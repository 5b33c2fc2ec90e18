"""What every tool offers: a definition for the model, and a call."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry

from weft.llm import LLM
from weft.row import Row, ToolCall

TIMEOUT = 30.0
MAX_RESULT = 64 * 1024


class ToolError(Exception):
    """A call that did not work out, told to the model in this text: raise it in tools of your own.

    It is part of the dialogue (the model may try again or apologise), not a failure of the row.
    """


@dataclass(frozen=True, slots=True)
class ToolCallContext:
    """What a tool may know about the call besides its arguments."""

    call: ToolCall
    row: Row
    """The row with its dialogue so far; not to be changed by a tool."""
    row_id: str
    hop: int
    log: logging.Logger | logging.LoggerAdapter[logging.Logger]
    ask: Callable[[], LLM]
    """The pool's LLM; raises `EngineError` where the pool has no engine."""

    @property
    def key(self) -> str:
        """An idempotency key: the same for every attempt at this call, different for all others.

        Calls happen at least once (an agent may die after a call and before its row is handed on),
        so a tool with effects outside hands this key to the service that it calls.
        """
        return f"{self.row_id}/{self.hop}/{self.call.id}"


class Tool(ABC):
    """A tool that models may call. One per agent process; calls run concurrently."""

    def __init__(
        self,
        name: str,
        description: str,
        parameters: dict[str, Any],
        *,
        version: str = "",
        timeout: float | None = TIMEOUT,
        max_result: int = MAX_RESULT,
    ) -> None:
        self.name = name
        self.group = name
        """The manifest's name for it: its own, or its server's."""
        self.version = version
        """Goes into the trace of each call."""
        self.timeout = timeout
        """Seconds that one call may take; None leaves it to the attempt's own limit
        (`delivery.handlerTimeout`)."""
        self.max_result = max_result
        """Characters that one result may have."""
        self.definition: dict[str, Any] = {
            "type": "function",
            "function": {"name": name, "description": description, "parameters": parameters},
        }
        """The OpenAI `tools` form; `parameters` is a JSON schema of an object."""
        try:
            kind = validator_for(parameters, default=Draft202012Validator)
            kind.check_schema(parameters)
        except SchemaError as error:
            raise ToolError(
                f"tools[{name}].parameters is not a JSON schema: {error.message} "
                f"(at {error.json_path}); correct it"
            ) from None
        # An empty registry: a `$ref` to an address must not make us fetch it.
        self.validator: Validator = kind(parameters, registry=Registry())

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        parameters: dict[str, Any] = self.definition["function"]["parameters"]
        return parameters

    @property
    def description(self) -> str:
        """What the model is told that the tool does."""
        return str(self.definition["function"]["description"])

    @abstractmethod
    async def call(self, arguments: dict[str, Any], call: ToolCallContext) -> str:
        """Run once; the arguments match the schema. Gives the text for the model (JSON mostly).

        Whatever it raises is told to the model, save `EngineError`, which fails the attempt.
        """

    async def close(self) -> None:  # noqa: B027  most tools hold nothing
        """Let go of everything; no call is under way any more."""
