"""Each example's kustomization, rendered by the real kubectl and held against our own checks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from weft_api.load import load

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pipeline.yaml"))
CACHE = Path(os.environ.get("WEFT_CACHE") or Path.home() / ".cache" / "weft") / "cluster"
MOST_BYTES = 1 << 20
"""In a ConfigMap."""


def kubectl(*args: str) -> subprocess.CompletedProcess[str]:
    found = [shutil.which("kubectl"), *map(str, (CACHE / "bin").glob("kubectl-*/kubectl"))]
    if not any(found):
        subprocess.run([ROOT / "e2e/cluster/build", "kubectl"], check=True, timeout=1800)
        found = [*map(str, (CACHE / "bin").glob("kubectl-*/kubectl"))]
    command = next(filter(None, found))
    return subprocess.run([command, *args], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_whole_on_a_cluster(example: Path, tmp_path: Path) -> None:
    """Pipeline, pools, data and volume: what the head's pod mounts is there, and the source and
    the output are in what it mounts."""
    folder = tmp_path / "example"
    shutil.copytree(example, folder, ignore=shutil.ignore_patterns("out"))
    if example.name == "gsm8k":  # Its data is downloaded.
        (folder / "data.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    done = kubectl("kustomize", str(folder))
    assert done.returncode == 0, done.stderr
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(done.stdout))
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(done.stdout)
    plan = load([rendered]).compile()
    local = load([folder]).compile()
    assert plan.pools == local.pools

    named = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
    pod = named["SyntheticPipeline", plan.pipeline]["spec"]["ray"]["head"]["podTemplate"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert plan.source.dataset is not None
    assert local.source.dataset is not None
    source = Path(plan.source.dataset.uri)
    kinds = set()
    for mount in pod["containers"][0]["volumeMounts"]:
        volume, at = volumes[mount["name"]], Path(mount["mountPath"])
        if "configMap" in volume:
            data = named["ConfigMap", volume["configMap"]["name"]]["data"]
            assert sum(map(len, data.values())) < MOST_BYTES
            given = Path(local.source.dataset.uri)
            files = [given] if given.is_file() else sorted(given.iterdir())
            assert data == {file.name: file.read_text() for file in files}
            assert source == (at / given.name if given.is_file() else at)
            kinds.add("source")
        else:
            claim = volume["persistentVolumeClaim"]["claimName"]
            assert ("PersistentVolumeClaim", claim) in named
            assert Path(plan.output.uri).parent == at
            kinds.add("output")
    assert kinds == {"source", "output"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_examples_page_says_how_it_is_run(example: Path) -> None:
    page = (example / "README.md").read_text()
    assert f"weft run examples/{example.name}\n" in page.replace(" " * 16 + "#", "\n#")
    assert f"kubectl apply --server-side -k examples/{example.name}\n" in page
    assert f"weft export examples/{example.name}/out " in page
