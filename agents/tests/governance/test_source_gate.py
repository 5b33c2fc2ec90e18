"""The rules at the source: what goes on its way, and what is said of what does not."""

from __future__ import annotations

import pytest
from rules_and_plans import pii, rule

from weft.data.source import SourceRow
from weft.governance.source import SourceGate
from weft.protocol.message import DEAD, REJECT
from weft.row import source_digest
from weft.segment import Verdict

SECRET = "jane.doe@example.com"
LICENCES = {"column": "licence", "values": ["MIT", "CC0-1.0"]}


@pytest.mark.parametrize(
    ("columns", "kind"), [({"licence": "GPL-3.0"}, "notAllowed"), ({"text": "x"}, "missing")]
)
def test_a_row_of_a_licence_that_is_not_allowed_leaves_its_digest_only(
    columns: dict[str, str], kind: str
) -> None:
    admitted = SourceGate([rule("licences", source=LICENCES)]).admit(SourceRow(7, "a", columns))
    assert (admitted.end, admitted.reason) == (
        REJECT,
        f"source: governance rule licences: {kind} 1",
    )
    assert (admitted.row.id, admitted.row.source) == ("7", {})
    assert admitted.row.origin is not None
    assert admitted.row.origin.digest == source_digest(columns)
    assert admitted.row.origin.verdicts == [Verdict("licences", "reject", {kind: 1})]


def test_an_allowed_row_goes_on_as_it_is() -> None:
    admitted = SourceGate([rule("licences", source=LICENCES)]).admit(
        SourceRow(7, "a", {"licence": "MIT"})
    )
    assert (admitted.end, admitted.row.source, admitted.row.origin) == (
        "",
        {"licence": "MIT"},
        None,
    )


def test_personal_data_in_the_source_is_redacted_even_in_the_id() -> None:
    gate = SourceGate([rule(**pii("EMAIL_ADDRESS"))])
    columns = {"from": SECRET, "deep": [{"x": f"hello {SECRET}"}]}
    admitted = gate.admit(SourceRow(3, SECRET, columns))
    assert admitted.row.source == {
        "from": "<EMAIL_ADDRESS>",
        "deep": [{"x": "hello <EMAIL_ADDRESS>"}],
    }
    assert admitted.row.id == "3"
    assert admitted.row.origin is not None
    assert admitted.row.origin.digest == source_digest(columns)


def test_an_unusable_rows_error_is_withheld_where_it_quotes_personal_data() -> None:
    gate = SourceGate([rule(**pii("EMAIL_ADDRESS"))])
    row = SourceRow(3, "3", {}, f"a.jsonl:4: id '{SECRET}' is there already")
    gate.admit(row)
    assert SECRET not in row.error


def test_a_rule_that_raises_makes_a_dead_letter_without_the_row() -> None:
    gate = SourceGate([rule("own", blocked={"python": "rules_and_plans:fails"}, steps=["$source"])])
    admitted = gate.admit(SourceRow(3, "x", {"a": SECRET}))
    assert (admitted.end, admitted.row.source) == (DEAD, {})
    assert admitted.reason == "source: governance rule own: raised KeyError"
