"""Three chained calls a row, as in the peers' comparison: each asks about the last reply."""

from __future__ import annotations

from typing import ClassVar

from weft import Agent, Context, Row


class Link(Agent):
    """One call; its reply goes into the row under the step's name."""

    produces: ClassVar[frozenset[str]] = frozenset({"first", "second", "third"})

    async def handle(self, row: Row, ctx: Context) -> str | None:
        before = row.get("second") or row.get("first") or row["text"]
        reply = await ctx.llm.chat(f"{ctx.step}: {before}", max_tokens=60)
        row[ctx.step] = reply.content
        return None
