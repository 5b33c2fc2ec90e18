"""A real API server of one's own: kube-apiserver and etcd on loopback, nothing else.

No controller runs in it, so that a test plays KubeRay, the kubelets and the head itself and knows
what happened. The programs are those of `e2e/cluster` (built there, kept in the cache).
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.api_client import ApiClient

from weft_operator.api import Api

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "of-the-tests"


@dataclass(frozen=True)
class ApiServer:
    url: str
    kubeconfig: Path


@contextlib.contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """Runs until left; `folder` takes its data and logs."""
    program = built("kubernetes", "kube-apiserver")
    with contextlib.ExitStack() as stack:
        etcd_port, peer_port, port = free_ports(3)
        etcd_url = f"http://127.0.0.1:{etcd_port}"
        peer_url = f"http://127.0.0.1:{peer_port}"
        spawn(
            stack,
            folder / "etcd.log",
            [
                "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={etcd_url}",
                f"--advertise-client-urls={etcd_url}",
                f"--listen-peer-urls={peer_url}",
                f"--initial-advertise-peer-urls={peer_url}",
                f"--initial-cluster=default={peer_url}",
                "--unsafe-no-fsync",
                "--log-level=error",
            ],
        )
        key = folder / "service-accounts.key"
        subprocess.run(
            ["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True, timeout=60
        )
        tokens = folder / "tokens.csv"
        tokens.write_text(f"{TOKEN},admin,admin,system:masters\n")
        spawn(
            stack,
            folder / "kube-apiserver.log",
            [
                str(program),
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--etcd-servers={etcd_url}",
                f"--cert-dir={folder / 'certificates'}",
                "--authorization-mode=RBAC",
                f"--token-auth-file={tokens}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.96.0.0/24",
                # No controller makes service accounts here, so that nothing may wait for them.
                "--disable-admission-plugins=ServiceAccount",
                "--profiling=false",
            ],
        )
        url = f"https://127.0.0.1:{port}"
        _wait_ready(url, folder / "kube-apiserver.log")
        yield ApiServer(url, _kubeconfig(folder / "kubeconfig", url))


def install_crds(server: ApiServer) -> None:
    """Our CRDs and KubeRay's."""
    files = [*sorted((ROOT / "crds").glob("weft.dev_*.yaml"))]
    files += sorted(built("kuberay", "bases").glob("ray.io_*.yaml"))
    for file in files:
        crd = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
        request(server.url, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "POST", crd)
    for path in ("weft.dev/v1alpha1/agentpools", "ray.io/v1/rayclusters"):
        _wait_served(server.url, f"/apis/{path}")


def connect(server: ApiServer) -> Api:
    settings = Configuration(host=server.url)
    settings.verify_ssl = False
    settings.api_key["BearerToken"] = f"Bearer {TOKEN}"
    return Api(ApiClient(settings))


def make_namespace(server: ApiServer, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    request(server.url, "/api/v1/namespaces", "POST", body)


def built(component: str, program: str) -> Path:
    """Where it lies, with what it needs; built first unless it is there."""
    build = ROOT / "e2e" / "cluster" / "build"
    done = subprocess.run([build, component], check=True, timeout=3000, stdout=subprocess.PIPE)
    return Path(done.stdout.decode().split()[-1]) / program


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def spawn(
    stack: contextlib.ExitStack, log: Path, command: list[str], env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Runs until the stack is left."""
    out = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(command, stdout=out, stderr=out, env=env)

    def end() -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    stack.callback(end)
    return process


def request(url: str, path: str, method: str = "GET", body: object = None) -> bytes:
    """Test set-up only; the operator's own client is what the tests are about."""
    request = urllib.request.Request(
        url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    trust = ssl._create_unverified_context()
    with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
        found: bytes = answer.read()
        return found


def _wait_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if request(url, "/readyz") == b"ok":
                return
        time.sleep(0.2)
    raise AssertionError(f"the API server did not come up:\n{log.read_text()[-3000:]}")


def _wait_served(url: str, path: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            request(url, path)
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} is not served")


def _kubeconfig(file: Path, url: str) -> Path:
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "tests",
                "clusters": [
                    {
                        "name": "tests",
                        "cluster": {"server": url, "insecure-skip-tls-verify": True},
                    }
                ],
                "users": [{"name": "tests", "user": {"token": TOKEN}}],
                "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            }
        )
    )
    return file
