"""MCP servers of a run: what each agent would stumble over, found before the run starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping

from weft_api.errors import ManifestError
from weft_api.load import Manifests

_OURS = ("python", "python3")
"""Commands that mean the agent's own Python; see `weft.tools.mcp_server`."""


def unusable(manifests: Manifests, environ: Mapping[str, str]) -> Iterator[ManifestError]:
    """Secrets that are in no variable, and commands that are nowhere. No server is started."""
    pipeline = manifests.pipeline
    for at, tool in enumerate(pipeline.spec.tools):
        if tool.mcp is None:
            continue
        # A server has either of the two, never both.
        field = "headers" if tool.mcp.headers else "env"
        for place, ref in enumerate(tool.mcp.secrets):
            if not environ.get(ref.variable):
                yield pipeline.fault(
                    ("spec", "tools", at, "mcp", field, place, "secretRef"),
                    f"the environment variable {ref.variable} is not set",
                    f"export {ref.variable}=…",
                )
        command = tool.mcp.command
        if command and command[0] not in _OURS and shutil.which(command[0]) is None:
            yield pipeline.fault(
                ("spec", "tools", at, "mcp", "command"),
                f"there is no program `{command[0]:.80}` on the PATH",
                "install it, or write where it is",
            )
