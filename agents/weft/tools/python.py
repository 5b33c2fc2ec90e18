"""Python functions as tools: the schema comes from the signature, unless the manifest gives one."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import PydanticUndefined, to_json

from weft.loading import LoadError, load_object
from weft.tools.base import MAX_RESULT, TIMEOUT, Tool, ToolCallContext, ToolError

THREADS = 16
"""Calls of one synchronous function at once. A call past its time-out cannot be ended, so it keeps
its thread; a pool for each function keeps a hanging one from stopping the others."""

_ARGUMENT = re.compile(r"^\s*(?::param\s+)?`?\*{0,2}(\w+)`?\s*(?:\([^)]*\))?\s*:\s*(\S.*)$")
_SECTION = re.compile(r"^\s*(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?)\s*:\s*$")


class PythonTool(Tool):
    """Calls a function with the arguments by name; what it returns becomes JSON, unless it is text.

    A parameter named `call` is not the model's: it gets the `ToolCallContext`, whose `key` is the
    same for every attempt at a call.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        description: str = "",
        parameters: dict[str, Any] | None = None,
        version: str = "",
        timeout: float = TIMEOUT,
        max_result: int = MAX_RESULT,
    ) -> None:
        self._function = function
        self._wants_call = "call" in inspect.signature(function).parameters
        self._arguments = arguments_model(name, function)
        super().__init__(
            name,
            description or summary(function) or name,
            parameters or parameters_of(self._arguments),
            version=version,
            timeout=timeout,
            max_result=max_result,
        )
        self._threads: ThreadPoolExecutor | None = None
        if not inspect.iscoroutinefunction(function):
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"tool-{name}")

    @classmethod
    def load(cls, name: str, path: str, **settings: Any) -> PythonTool:
        """From `package.module:function`. Raises `LoadError`."""
        function = load_object(path, what="a function")
        if not callable(function) or isinstance(function, type):
            raise LoadError(f"`{path}` is a {type(function).__name__}, not a function")
        try:
            return cls(name, function, **settings)
        except ToolError as error:
            raise LoadError(f"`{path}`: {error}") from None

    async def call(self, arguments: dict[str, Any], call: ToolCallContext) -> str:
        try:
            typed = self._arguments.model_validate(arguments)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise ToolError(f"bad arguments at `{where}`: {fault['msg']}") from None
        values = {name: getattr(typed, name) for name in typed.model_fields_set}
        values |= typed.model_extra or {}
        if self._wants_call:
            values["call"] = call
        if self._threads is None:
            result = await self._function(**values)
        else:
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(self._threads, lambda: self._function(**values))
        return result if isinstance(result, str) else to_json(result).decode()

    async def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def arguments_model(name: str, function: Callable[..., Any]) -> type[BaseModel]:
    """A model of the function's parameters, `call` left out. Raises `ToolError`."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, ValueError, TypeError) as error:
        raise ToolError(f"its signature cannot be read: {error}") from None
    told = argument_descriptions(function)
    fields: dict[str, Any] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    for parameter in signature.parameters.values():
        if parameter.name == "call":
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
            continue
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ToolError(f"parameter `{parameter.name}` cannot be given by name; make it plain")
        kind = Any if parameter.annotation is parameter.empty else parameter.annotation
        default = PydanticUndefined if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (kind, default)
    try:
        model: type[BaseModel] = create_model(name, __config__=ConfigDict(extra=extra), **fields)
    except Exception as error:
        problem = str(error).splitlines()[0]
        raise ToolError(f"its parameters have no JSON schema: {problem}") from None
    for parameter_name, field in model.model_fields.items():
        field.description = field.description or told.get(parameter_name)
    model.model_rebuild(force=True)
    return model


def parameters_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of the arguments, without pydantic's titles (tokens for nothing)."""
    schema = model.model_json_schema()
    schema.setdefault("properties", {})
    untitled: dict[str, Any] = _untitled(schema)
    return json.loads(json.dumps(untitled))  # type: ignore[no-any-return]


def _untitled(schema: Any, *, names: bool = False) -> Any:
    """`names`: the keys are names of properties, among which `title` is a name like others."""
    if isinstance(schema, dict):
        return {
            key: _untitled(value, names=not names and key in ("properties", "$defs"))
            for key, value in schema.items()
            if names or key != "title"
        }
    return [_untitled(one) for one in schema] if isinstance(schema, list) else schema


def summary(function: Callable[..., Any]) -> str:
    """The docstring without its sections of arguments, results and errors."""
    kept: list[str] = []
    for line in (inspect.getdoc(function) or "").splitlines():
        if _SECTION.match(line) or line.lstrip().startswith((":param", ":return", ":raise")):
            break
        kept.append(line)
    return " ".join(" ".join(kept).split())


def argument_descriptions(function: Callable[..., Any]) -> dict[str, str]:
    """`{name: text}` from a docstring in Google's or Sphinx' form."""
    told: dict[str, str] = {}
    within, last = False, ""
    for line in (inspect.getdoc(function) or "").splitlines():
        if section := _SECTION.match(line):
            within, last = section[1] in ("Args", "Arguments", "Parameters"), ""
        elif (within or line.lstrip().startswith(":param")) and (found := _ARGUMENT.match(line)):
            last = found[1]
            told[last] = found[2].strip()
        elif within and last and line.strip():
            told[last] += f" {line.strip()}"
        elif not line.strip():
            last = ""
    return told
