"""Weft: synthetic-data pipelines as decentralised LLM agents.

What stands in `__all__` is the public face; agents are written with it and nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.agent import Agent, AgentConfig
    from weft.branch import Branch
    from weft.context import Context
    from weft.engines.base import EngineError
    from weft.llm import LLM, StructuredError
    from weft.prompts.render import PromptError
    from weft.row import ChatMessage, Row, ToolCall
    from weft.tools.base import ToolCallContext, ToolError

__version__ = "0.1.0"

__all__ = [
    "LLM",
    "Agent",
    "AgentConfig",
    "Branch",
    "ChatMessage",
    "Context",
    "EngineError",
    "PromptError",
    "Row",
    "StructuredError",
    "ToolCall",
    "ToolCallContext",
    "ToolError",
    "__version__",
]

# Imported at first use: `import weft.protocol` must not load templates, JSON schema and engines.
_HOMES = {
    "Agent": "weft.agent",
    "AgentConfig": "weft.agent",
    "Branch": "weft.branch",
    "ChatMessage": "weft.row",
    "Context": "weft.context",
    "EngineError": "weft.engines.base",
    "LLM": "weft.llm",
    "PromptError": "weft.prompts.render",
    "Row": "weft.row",
    "StructuredError": "weft.llm",
    "ToolCall": "weft.row",
    "ToolCallContext": "weft.tools.base",
    "ToolError": "weft.tools.base",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'weft' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
