"""The generated CRDs in a real API server: it takes them, and they refuse what they should."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from weft_api.generate import crds

if TYPE_CHECKING:
    from conftest import ApiServer

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def weft(api_server: ApiServer) -> ApiServer:
    for crd in crds():
        status, answer = api_server.call(
            "POST",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldValidation=Strict",
            crd,
        )
        assert status == 201, answer["message"]
    return api_server


def test_it_takes_the_crds(weft: ApiServer) -> None:
    for crd in crds():
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}"
        for _ in range(50):
            _, seen = weft.call("GET", path)
            conditions = {c["type"]: c for c in seen["status"].get("conditions", [])}
            if conditions.get("Established", {}).get("status") == "True":
                break
            time.sleep(0.1)
        assert conditions["Established"]["status"] == "True"
        assert conditions.get("NonStructuralSchema") is None
