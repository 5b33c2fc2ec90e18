"""Fixtures around a real API server of the tests' own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator

import pytest

from operator_tests import apiserver
from operator_tests.apiserver import ApiServer
from weft_operator.api import Api


@pytest.fixture(scope="session")
def crds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """With our CRDs and KubeRay's."""
    with apiserver.api_server(tmp_path_factory.mktemp("api-server")) as server:
        apiserver.install_crds(server)
        yield server


@pytest.fixture
async def api(crds: ApiServer) -> AsyncIterator[Api]:
    async with apiserver.connect(crds) as client:
        yield client


@pytest.fixture
def namespace(crds: ApiServer, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    name = "t" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:10]
    apiserver.make_namespace(crds, name)
    return name
