"""JSON as it is compared and digested."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from weft_operator.jsontypes import canonical

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_SCALARS = st.none() | st.booleans() | st.integers() | _TEXT
_SCALARS |= st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=20
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_VALUES)
@example(1e16)
@example([1e-05, 0.00012, "0.00001"])
def test_digests_on_running_clusters_stay_what_former_releases_have_written(value: Any) -> None:
    """Those wrote them with the standard library; another byte would be drift everywhere."""
    former = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical(value) == former.encode()
