"""From the plan's tools to tools that can be called."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from weft.loading import LoadError
from weft.prompts.render import Prompts
from weft.tools.base import Tool, ToolError
from weft.tools.python import PythonTool
from weft.tools.simulated import SimulatedTool

if TYPE_CHECKING:
    from weft_api.pipeline import Tool as ToolSpec


def make_tools(specs: Iterable[ToolSpec], prompts: Prompts) -> dict[str, Tool]:
    """The plan's tools by name, in the plan's order. Raises `LoadError`, naming the tool.

    Those of MCP servers are not among them: only the servers know them (`mcp.Sessions`)."""
    made: dict[str, Tool] = {}
    for spec in specs:
        if spec.mcp is not None:
            continue
        try:
            made[spec.name] = _tool(spec, prompts)
        except (LoadError, ToolError) as error:
            raise LoadError(f"tools[{spec.name}]: {error}") from None
    return made


def _tool(spec: ToolSpec, prompts: Prompts) -> Tool:
    text = json.dumps(spec.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    version = sha256(text.encode()).hexdigest()[:12]
    if spec.python is not None:
        declared = spec.parameters if spec.parameters.get("properties") else None
        return PythonTool.load(
            spec.name,
            spec.python,
            description=spec.description or "",
            parameters=declared,
            version=version,
        )
    assert spec.simulated is not None  # a rule of the model: one of the three
    prompt = spec.simulated.prompt
    if prompt is not None and prompt not in prompts:
        raise LoadError(f"simulated.prompt: there is no prompt `{prompt}`; define it in prompts")
    return SimulatedTool(
        spec.name,
        spec.description or "",
        spec.parameters,
        prompts=prompts,
        prompt=prompt,
        result=spec.simulated.result,
        version=version,
    )
