"""Bounds that are amounts, which the CRD's rules cannot compare."""

from __future__ import annotations

from collections.abc import Iterator

from weft_api.errors import ManifestError
from weft_api.pipeline import SyntheticPipeline

LEAST_IN_FLIGHT_BYTES = 1 << 20
"""One dialogue of some length must fit, or nothing would ever start."""


def bound_faults(pipeline: SyntheticPipeline) -> Iterator[ManifestError]:
    amount = pipeline.spec.delivery.in_flight_bytes
    if amount.bytes < LEAST_IN_FLIGHT_BYTES:
        yield pipeline.fault(
            ("spec", "delivery", "inFlightBytes"),
            f"{amount} is too little for even one row",
            "write 1Mi or more",
        )
