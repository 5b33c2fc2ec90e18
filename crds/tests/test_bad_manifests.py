"""Each bad manifest gives its lines and nothing else: file, line, field, fault, cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weft_api.errors import ManifestErrors
from weft_api.load import load

if TYPE_CHECKING:
    from conftest import BadManifest


def test_a_bad_manifest_gives_its_faults(
    bad_manifest: BadManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bad_manifest.path.parent)
    with pytest.raises(ManifestErrors) as caught:
        load([bad_manifest.path.name]).compile()
    assert [str(error) for error in caught.value.errors] == bad_manifest.faults


def test_every_fault_says_where_what_and_what_to_do(bad_manifest: BadManifest) -> None:
    with pytest.raises(ManifestErrors) as caught:
        load([bad_manifest.path]).compile()
    for error in caught.value.errors:
        assert error.where
        assert error.problem
        assert error.fix
        assert "\n" not in str(error)
        assert bad_manifest.path.name in str(error)
