"""How a change of the manifests reaches rows that are on their way."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weft_api.base import Model


class RolloutSpec(Model):
    """How a new version goes out. Rows that no agent has begun always run by the newest."""

    rows_in_progress: Literal["Keep", "Adopt"] = Field(
        default="Keep",
        description="Rows that an agent has begun: Keep their version to their end, so that each "
        "row is made by one; or Adopt the new one at their next hop.",
        examples=["Keep"],
    )

    @property
    def adopts(self) -> bool:
        return self.rows_in_progress == "Adopt"
