"""One cluster and one installed operator for all scenarios; a namespace for each."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from e2e.scenarios import installation
from e2e.scenarios.evidence import collect
from e2e.scenarios.installation import Images
from e2e.scenarios.kube import Kube
from e2e.scenarios.space import Space
from e2e.scenarios.waiting import PATIENCE

HERE = Path(__file__).parent
FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600 * PATIENCE))
    # What the audit log tells is about all the others.
    items.sort(key=lambda item: item.path.name == "test_rights.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def kube() -> Kube:
    return installation.cluster_up()


@pytest.fixture(scope="session")
def images(kube: Kube) -> Images:
    return Images.build()


@pytest.fixture(scope="session")
def weft(kube: Kube, images: Images) -> Kube:
    """The cluster with Weft installed."""
    installation.install(kube, images)
    return kube


@pytest.fixture
def labels() -> dict[str, str]:
    """Further labels of the scenario's namespace."""
    return {}


@pytest.fixture
def space(
    weft: Kube, labels: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Space]:
    """A namespace with a volume. What happened in it is kept when the scenario fails."""
    name = f"e2e-{re.sub(r'[^a-z0-9]+', '-', request.node.name.removeprefix('test_'))[:40]}"
    name = name.rstrip("-")
    space = Space(weft.within(name), tmp_path / "volume")
    # What an interrupted run has left.
    weft.delete("namespace", name)
    weft.run("delete", "persistentvolume", "-l", f"weft.dev/e2e={name}")
    weft.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"weft.dev/e2e": "true", **labels}},
        }
    )
    try:
        # Pods of another user have to get to the volume through folders that pytest keeps shut.
        for folder in [tmp_path, *tmp_path.parents]:
            if folder.owner() == Path.home().owner() and folder.stat().st_mode & 0o005 != 0o005:
                folder.chmod(folder.stat().st_mode | 0o055)
        space.make_volume()
        space.make_claim()
        yield space
    finally:
        if request.node.stash.get(FAILED, False):
            kept = Path(os.environ.get("WEFT_E2E_EVIDENCE", tmp_path / "evidence"))
            collect(space, kept / request.node.name)
            print(f"what happened is in {kept / request.node.name}")
        weft.delete("namespace", name, "--wait=false")
        weft.run("delete", "persistentvolume", "-l", f"weft.dev/e2e={name}", "--wait=false")
