"""What `weft` offers to authors of agents: this list is a promise."""

from __future__ import annotations

import subprocess
import sys

import pytest

import weft

FACE = {
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
}


def test_the_public_face_is_this() -> None:
    assert set(weft.__all__) == FACE
    assert set(dir(weft)) == FACE


@pytest.mark.parametrize("name", sorted(FACE - {"__version__"}))
def test_each_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(weft, name).__doc__


def test_what_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Toolbox'"):
        _ = weft.Toolbox


def test_importing_a_part_does_not_load_the_rest() -> None:
    code = (
        "import sys, weft.protocol.message, weft.agent\n"
        "heavy = {'jinja2', 'jsonschema', 'ray', 'cel', 'openai'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_agent_is_written_with_the_public_face_alone() -> None:
    class Drafter(weft.Agent):
        class Config(weft.AgentConfig):
            prompt: str = "draft"

        async def handle(self, row: weft.Row, ctx: weft.Context) -> str | None:
            row.messages.append(await ctx.llm.chat(ctx.prompt(self.config.prompt, row)))
            return None

    assert Drafter(Drafter.Config()).config.prompt == "draft"
