"""Agents that misbehave in every way that an author can, by the row's column `does`."""

from __future__ import annotations

import asyncio

from weft import Agent, Context, Row


class Bad(Agent):
    """Says in its name what to expect."""

    produces = frozenset({"rounds"})

    async def handle(self, row: Row, ctx: Context) -> str | None:
        does = row["does"]
        row["rounds"] = row.get("rounds", 0) + 1
        if does == "raises":
            raise ValueError("the order\nhas no number")
        if does == "returns an unknown step":
            return "judg"
        if does == "returns no name":
            return 7  # type: ignore[return-value]
        if does == "loops":
            return "bad"
        if does == "leaves what cannot be stored":
            row["rounds"] = object()
        if does == "hangs":
            await asyncio.sleep(3600)
        if does == "asks without an engine":
            await ctx.llm.chat([])
        if does == "asks for a prompt that is not there":
            ctx.prompt("nowhere", row)
        return None
