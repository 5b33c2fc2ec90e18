"""What an agent author writes: a class with one async method, and its config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from weft.context import Context
    from weft.row import Row


class AgentConfig(BaseModel):
    """The `config` of an AgentPool, as the agent's author types it. Unknown fields are refused.

    Manifests write the fields in camelCase, as they do all fields: `max_tokens` here is `maxTokens`
    there.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )

    def cautions(self) -> list[str]:
        """What is allowed but may not do what is meant: lines `setting: problem; what to do`, told
        by `weft validate` and `weft run`."""
        return []


class Agent:
    """Handles rows, one call of `handle` each; many calls run concurrently in one process.

    Subclass it, name the class in a manifest (`agent: my_package.agents:Drafter`), and put the
    package into the image. State that must survive belongs in the row, not in `self`: a row's next
    hop may come to another instance, and an instance may die at any time.
    """

    Config: ClassVar[type[AgentConfig]] = AgentConfig
    produces: ClassVar[frozenset[str]] = frozenset()
    """Fields that `handle` may set in the row; conditions may name these (checked when the manifest
    is). Add the config's part in `fields_of` where names depend on it."""

    uses_tools: ClassVar[bool] = True
    """False spares an agent that never touches `ctx.tools` the sessions with MCP servers."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def fields_of(cls, config: Any) -> frozenset[str]:
        """The fields that an agent with this config may set. The default: `produces`."""
        return cls.produces

    async def start(self) -> None:
        """Called once before the first row."""

    async def handle(self, row: Row, ctx: Context) -> str | None:
        """Change the row in place. Return None to let the manifest's flow decide where it goes, or
        the name of a step (or `$accept`, `$reject`) that the flow allows from here. Raising sends
        the row through its remaining attempts, then to the dead letters with the error's text."""
        raise NotImplementedError

    async def close(self) -> None:
        """Called once after the last row."""
