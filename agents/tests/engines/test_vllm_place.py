"""A call's urgency as the one number by which vLLM's scheduler orders."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weft.engines.base import Urgency
from weft.engines.vllm import place_of

URGENCIES = st.builds(
    Urgency.of,
    st.integers(-(10**9), 10**9),
    st.integers(0, 4_000_000_000).map(float),
)


@given(URGENCIES, URGENCIES)
def test_the_numbers_are_ordered_as_the_urgencies_are(one: Urgency, other: Urgency) -> None:
    assert (place_of(one) < place_of(other)) == (one < other)


@given(st.builds(Urgency.of, st.integers(), st.floats(0, allow_infinity=False)))
def test_any_urgency_fits_into_a_signed_number_of_64_bits(urgency: Urgency) -> None:
    assert -(2**63) <= place_of(urgency) < 2**63
