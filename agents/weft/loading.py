"""From a manifest's `agent: package.module:Class` to the class, and from `config` to its value."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from weft.agent import Agent, AgentConfig
from weft_api.errors import did_you_mean


class LoadError(Exception):
    """A name in a manifest that does not lead to what it should. One line, saying what to do."""


def load_object(path: str, *, what: str) -> Any:
    """The object that `package.module:name` names. Raises `LoadError`."""
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise LoadError(f"`{path}` does not name {what}; write package.module:name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise LoadError(
                f"`{path}`: there is no module `{missing}` in this environment; "
                "install the package (or put its folder on PYTHONPATH), or correct the name"
            ) from None
        raise LoadError(
            f"`{path}`: module `{module_name}` needs `{missing}`, which is not installed"
        ) from None
    except Exception as error:
        raise LoadError(
            f"`{path}`: importing `{module_name}` failed: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from None
    try:
        return getattr(module, name)
    except AttributeError:
        public = [each for each in vars(module) if not each.startswith("_")]
        raise LoadError(
            f"`{path}`: module `{module_name}` has no `{name}`; {did_you_mean(name, public)}"
        ) from None


def agent_class(path: str) -> type[Agent]:
    """The agent class that `package.module:Class` names. Raises `LoadError`."""
    found = load_object(path, what="an agent class")
    if not isinstance(found, type):
        raise LoadError(f"`{path}` is a {type(found).__name__}, not a class; name an agent's class")
    if not issubclass(found, Agent):
        raise LoadError(f"`{path}` is not an Agent; derive the class from weft.Agent")
    if found is Agent or found.handle is Agent.handle:
        raise LoadError(f"`{path}` has no `handle`; write `async def handle(self, row, ctx)`")
    if not inspect.iscoroutinefunction(inspect.unwrap(found.handle)):
        raise LoadError(
            f"`{path}`: its `handle` is not async; write `async def handle(self, row, ctx)`"
        )
    if not issubclass(found.Config, AgentConfig):
        raise LoadError(f"`{path}`: its Config is not an AgentConfig; derive it from that")
    return found


def config_faults(cls: type[Agent], config: dict[str, Any], where: str) -> list[str]:
    """What is wrong with an agent's `config`, one line each; `where` is the way to the field."""
    try:
        cls.Config.model_validate(config, by_name=False)
    except ValidationError as error:
        return [_line(cls, fault, where) for fault in error.errors(include_url=False)]
    return []


def check_config(cls: type[Agent], config: dict[str, Any], where: str) -> AgentConfig:
    """The typed config. Raises `LoadError` with a line for each fault."""
    if faults := config_faults(cls, config, where):
        raise LoadError("\n".join(faults))
    return cls.Config.model_validate(config, by_name=False)


def _line(cls: type[Agent], fault: Any, where: str) -> str:
    path = where + "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _settings(cls.Config, fault["loc"][:-1])
        hint = did_you_mean(str(fault["loc"][-1]), known, otherwise="it takes none")
        return f"{path}: {cls.__name__} has no such setting; {hint}"
    if fault["type"] == "missing":
        return f"{path}: {cls.__name__} needs this setting; add it"
    problem = fault["msg"].removeprefix("Value error, ")
    given = "" if isinstance(fault["input"], dict) else f" (it is {fault['input']!r:.80})"
    return f"{path}: {problem[:1].lower()}{problem[1:]}{given}"


def _settings(config: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The names that a manifest may write at `path` below an agent's config."""
    model = config
    for part in path:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                model = next(iter(_models(field.annotation)), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(kind: Any) -> list[type[BaseModel]]:
    """The models within a type such as `list[Check] | None`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for inner in get_args(kind) for model in _models(inner)]
