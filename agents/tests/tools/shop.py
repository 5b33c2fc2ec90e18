"""Functions that the tests use as tools."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from weft import ToolCallContext, ToolError

seen: list[str] = []


class Address(BaseModel):
    """Where to."""

    street: str
    city: str = "Graz"


def lookup(order: str, detail: Literal["short", "long"] = "short") -> dict[str, Any]:
    """Looks an order up.

    It is the shop's own system.

    Args:
        order: The order's number,
            as printed on the invoice.
        detail (str): How much to tell.

    Returns:
        What is known.
    """
    return {"order": order, "detail": detail, "title": "Größe"}


async def ship(order: str, to: Address, count: Annotated[int, Field(ge=1)] = 1) -> str:
    """Ships.

    :param order: The order's number.
    """
    return f"{order} x{count} to {to.street}, {to.city}"


def pay(amount: int, call: ToolCallContext) -> str:
    """Pays once."""
    seen.append(call.key)
    return call.key


def refuse(order: str) -> str:
    """Never works."""
    raise ToolError(f"there is no order {order}")


def broken() -> None:
    """Breaks."""
    raise ZeroDivisionError("division by zero")


def slow_sync() -> str:
    """Takes its time in a thread."""
    time.sleep(0.4)
    return "done"


async def slow() -> str:
    """Takes its time."""
    await asyncio.sleep(30)
    return "done"


def huge() -> str:
    """Tells too much."""
    return "x" * 1_000_000


def anything(**options: Any) -> Any:
    """Takes what it is given."""
    return options


def positional(a: int, /) -> int:
    return a


def unreadable(lock: asyncio.Lock) -> None:
    """Has a parameter without a JSON schema."""


NOT_A_FUNCTION = 5
