"""MCP servers whose tools dialogues may call: started by each agent, or reached over HTTP."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from weft_api.base import Model, Rule, keyed_by
from weft_api.engine import ApiKeyRef
from weft_api.patterns import HEADER, TOOL, URL, VARIABLE
from weft_api.scalars import Quantity, Span

ToolName = Annotated[str, StringConstraints(pattern=TOOL, min_length=1, max_length=64)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class SecretHeader(Model):
    """A header of every request to the server, with its value by reference only."""

    name: Annotated[str, StringConstraints(pattern=HEADER, min_length=1, max_length=128)] = Field(
        description="Name of the header.", examples=["Authorization"]
    )
    prefix: Annotated[str, StringConstraints(max_length=64)] = Field(
        default="", description="Stands before the secret's value.", examples=["Bearer "]
    )
    secret_ref: ApiKeyRef = Field(
        description="Where the value is. On a laptop it is read from the environment variable "
        "NAME_KEY (SHOP_TOKEN for the example).",
        examples=[{"name": "shop", "key": "token"}],
    )


class SecretVariable(Model):
    """An environment variable of the server's process, with its value by reference only."""

    name: Annotated[str, StringConstraints(pattern=VARIABLE, min_length=1, max_length=128)] = Field(
        description="Name of the variable, as the server reads it.", examples=["SHOP_API_KEY"]
    )
    secret_ref: ApiKeyRef = Field(
        description="Where the value is. On a laptop it is read from the environment variable "
        "NAME_KEY (SHOP_TOKEN for the example).",
        examples=[{"name": "shop", "key": "token"}],
    )


class Mcp(Model):
    """A server of the Model Context Protocol; its tools are offered by their own names."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.command) != has(self.url)",
            "an MCP server has exactly one of command and url",
            "give the command that starts it, or the address that it answers at",
        ),
        Rule(
            "!has(self.headers) || size(self.headers) == 0 || has(self.url)",
            "headers are for a server with a url",
            "give secrets to a command in env",
            "headers",
        ),
        Rule(
            "!has(self.env) || size(self.env) == 0 || has(self.command)",
            "env is for a server with a command",
            "give secrets to a url in headers",
            "env",
        ),
    )

    command: Annotated[list[Word], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Program in the image, and its arguments: each agent process that uses tools "
        "starts one and talks to it over standard input and output.",
        examples=[["python", "-m", "shop.server"]],
    )
    url: Annotated[str, StringConstraints(pattern=URL, min_length=1, max_length=2048)] | None = (
        Field(
            default=None,
            description="Address of a server that is there already (streamable HTTP).",
            examples=["http://shop.tools.svc:8000/mcp"],
        )
    )
    tools: Annotated[list[ToolName], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Only these of the server's tools are offered; default: all.",
        examples=[["lookup_order"]],
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    headers: Annotated[list[SecretHeader], Field(max_length=16)] = Field(
        default_factory=list,
        description="Headers of each request, their values by reference.",
        examples=[
            [
                {
                    "name": "Authorization",
                    "prefix": "Bearer ",
                    "secretRef": {"name": "shop", "key": "token"},
                }
            ]
        ],
        json_schema_extra=keyed_by("name"),
    )
    env: Annotated[list[SecretVariable], Field(max_length=16)] = Field(
        default_factory=list,
        description="Environment variables of the command, their values by reference. It gets "
        "PATH, HOME and the like from the agent, and nothing else.",
        examples=[[{"name": "SHOP_API_KEY", "secretRef": {"name": "shop", "key": "token"}}]],
        json_schema_extra=keyed_by("name"),
    )
    timeout: Span = Field(
        default=Span("30s"), description="Longest that one call may take.", examples=["30s"]
    )
    max_result: Quantity = Field(
        default=Quantity("64Ki"),
        description="Most characters that one answer may have; a longer one is told as an error.",
        examples=["64Ki"],
    )
    concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=8, description="Calls of one agent process at once; others wait.", examples=[8]
    )

    @property
    def secrets(self) -> list[ApiKeyRef]:
        """All that it refers to."""
        return [one.secret_ref for one in self.headers] + [one.secret_ref for one in self.env]
