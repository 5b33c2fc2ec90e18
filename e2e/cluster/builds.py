"""Components built from their Go modules into the cache, once per version.

``modules/<component>`` pins a component and all that it depends on (go.mod, go.sum); what comes
out is keyed by these two files and the build's flags. To move to another version: edit go.mod,
``go mod tidy``, and the next ``up`` builds it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import locks, packages, toolchain
from .say import say, step
from .settings import HERE, KUBERNETES_VERSION, ClusterError, cache_folder
from .shell import run


@dataclass(frozen=True)
class Component:
    """A module's programs, and the files beside its source that the cluster needs as well."""

    name: str
    programs: tuple[str, ...]
    ldflags: str = ""
    module: str = ""
    files: tuple[str, ...] = ()
    pins: str = ""  # the folder of its go.mod, if another than its name says
    runs_with: Mapping[str, str] = field(default_factory=dict)  # Debian packages, as in `packages`

    @property
    def single(self) -> bool:
        """Whether one program is all that it brings."""
        return len(self.programs) == 1 and not self.files

    @property
    def folder(self) -> Path:
        return HERE / "modules" / (self.pins or self.name)


_VERSION = "k8s.io/component-base/version"

_KUBERNETES = " ".join(
    f"-X {_VERSION}.{key}={value}"
    for key, value in (
        ("gitVersion", f"v{KUBERNETES_VERSION}"),
        ("gitMajor", KUBERNETES_VERSION.split(".")[0]),
        ("gitMinor", KUBERNETES_VERSION.split(".")[1]),
    )
)
_COMMANDS = "k8s.io/kubernetes/cmd"

COMPONENTS = {
    component.name: component
    for component in (
        Component(
            "kubernetes",
            (
                f"{_COMMANDS}/kube-apiserver",
                f"{_COMMANDS}/kube-controller-manager",
                f"{_COMMANDS}/kube-scheduler",
                f"{_COMMANDS}/kubelet",
                f"{_COMMANDS}/kube-proxy",
            ),
            ldflags=_KUBERNETES,
            runs_with=packages.FOR_API_SERVER,
        ),
        # By itself, since kind brings the rest and this takes a minute instead of six.
        Component("kubectl", (f"{_COMMANDS}/kubectl",), ldflags=_KUBERNETES, pins="kubernetes"),
        Component("coredns", ("github.com/coredns/coredns",)),
        Component(
            "kuberay",
            ("github.com/ray-project/kuberay/ray-operator",),
            module="github.com/ray-project/kuberay/ray-operator",
            files=("config/crd/bases", "config/rbac/role.yaml"),
        ),
        Component("helm", ("helm.sh/helm/v3/cmd/helm",)),
        Component("versitygw", ("github.com/versity/versitygw/cmd/versitygw",)),
        Component("kind", ("sigs.k8s.io/kind",)),
        Component("kwok", ("sigs.k8s.io/kwok/cmd/kwok",)),
    )
}
FOR_UP = ("kubernetes", "kubectl", "coredns", "kuberay", "helm")


def component(name: str) -> Component:
    try:
        return COMPONENTS[name]
    except KeyError:
        known = ", ".join(COMPONENTS)
        raise ClusterError(f"no component is called {name!r}; there are {known}") from None


def _flags(wanted: Component) -> list[str]:
    return [
        "-p=2",
        "-trimpath",
        "-buildvcs=false",
        "-mod=readonly",
        f"-ldflags=-s -w {wanted.ldflags}".strip(),
    ]


def key(wanted: Component) -> str:
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((wanted.folder / name).read_bytes())
    digest.update(json.dumps([_flags(wanted), wanted.programs, wanted.files]).encode())
    return digest.hexdigest()[:16]


def built_folder(name: str) -> Path:
    wanted = component(name)
    return cache_folder() / "bin" / f"{name}-{key(wanted)}"


def program(name: str, program_name: str) -> Path:
    """Where a built program lies; ``build`` must have run."""
    path = built_folder(name) / program_name
    if not path.exists():
        raise ClusterError(f"{program_name} is not built yet: e2e/cluster/build {name}")
    return path


def build(name: str) -> Path:
    """Build unless it is there. Two at once wait for each other instead of working twice."""
    wanted = component(name)
    target = built_folder(name)
    packages.ensure(wanted.runs_with)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locks.held(target.parent / f".{name}.lock", f"builds {name}"):
        if not target.exists():
            _build_into(target, wanted)
    return target


def _build_into(target: Path, wanted: Component) -> None:
    log = cache_folder() / "build-logs" / f"{wanted.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    began = time.monotonic()
    # GOFLAGS of the person's own would change the result without changing the key.
    env = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    for stale in target.parent.glob(f".{wanted.name}-*"):  # of a build that was killed
        shutil.rmtree(stale, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{wanted.name}-", dir=target.parent))
    try:
        with step(f"building {wanted.name} (once; log: {log})"):
            # It dies with us: what is stopped, or given up, must not go on beside the next try.
            dies = ["setpriv", "--pdeathsig", "TERM"]
            build = [toolchain.go(), "build", *_flags(wanted), "-o", f"{draft}/", *wanted.programs]
            command = [*dies, "nice", "-n", "19", *build]
            run(command, cwd=wanted.folder, env=env, seconds=3600, log=log)
        _copy_files(draft, wanted, env)
        draft.chmod(0o755)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    say(f"  {wanted.name}: {time.monotonic() - began:.0f} s, {_megabytes(target)} MB in {target}")


def _copy_files(draft: Path, wanted: Component, env: dict[str, str]) -> None:
    if not wanted.files:
        return
    where = [toolchain.go(), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", wanted.module]
    source = Path(run(where, cwd=wanted.folder, env=env).strip())
    for relative in wanted.files:
        origin, copy = source / relative, draft / Path(relative).name
        # The module cache is read-only; copies keep no modes, or the folder could not be removed.
        if origin.is_dir():
            copy.mkdir()
            for file in origin.iterdir():
                shutil.copyfile(file, copy / file.name)
        else:
            shutil.copyfile(origin, copy)


def _megabytes(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) // 1_000_000


def link_tools(folder: Path) -> None:
    """Put kubectl and helm where ``up`` tells a person to find them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tool in (("kubectl", "kubectl"), ("helm", "helm")):
        link = folder / tool
        link.unlink(missing_ok=True)
        os.symlink(program(name, tool), link)
