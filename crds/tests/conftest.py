"""What several tests need: the table of bad manifests, and a real API server on loopback."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

START_SECONDS = 60.0
BAD_MANIFESTS = Path(__file__).parent / "bad_manifests"


@dataclass(frozen=True)
class BadManifest:
    """One file of the table, with what its comments promise (see the folder's README)."""

    path: Path
    faults: list[str]
    admission: str
    """`refused`, `taken` or `unsent`."""
    words: str

    @classmethod
    def read(cls, path: Path) -> BadManifest:
        comments = [
            line[2:].split(": ", 1)
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith("# ")
        ]
        faults = [text for kind, text in comments if kind == "fault"]
        ((admission, words),) = [pair for pair in comments if pair[0] != "fault"]
        return cls(path, faults, admission, words)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bad_manifest" in metafunc.fixturenames:
        table = [BadManifest.read(path) for path in sorted(BAD_MANIFESTS.glob("*.yaml"))]
        assert len(table) >= 40
        metafunc.parametrize("bad_manifest", table, ids=lambda case: case.path.stem)


@dataclass(frozen=True)
class ApiServer:
    """Talks to the API server as an administrator."""

    address: str
    token: str
    trust: ssl.SSLContext

    def table(self, path: str) -> tuple[int, Any]:
        """What `kubectl get` shows."""
        return self.call("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "json",
        accept: str = "application/json",
    ) -> tuple[int, Any]:
        """Status and decoded body of one call; `kind` is that of a patch."""
        mime = "application/json" if kind == "json" else f"application/{kind}+json"
        request = urllib.request.Request(
            self.address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": mime,
                "Accept": accept,
            },
        )
        try:
            with urllib.request.urlopen(request, context=self.trust, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                return error.code, json.loads(text)
            except ValueError:
                return error.code, {"message": text.decode(errors="replace")}

    def is_ready(self) -> bool:
        try:
            return self.call("GET", "/api/v1/namespaces/default")[0] == 200
        except (OSError, ValueError):
            return False


def kube_apiserver() -> Path:
    """The program; built first unless it is there (`e2e/test` has done so)."""
    build = Path(__file__).parents[2] / "e2e" / "cluster" / "build"
    done = subprocess.run([build, "kubernetes"], check=True, timeout=3000, stdout=subprocess.PIPE)
    return Path(done.stdout.decode().split()[-1]) / "kube-apiserver"


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    binary = kube_apiserver()
    folder = tmp_path_factory.mktemp("apiserver")
    client, peer, secure = _free_ports(3)
    token = os.urandom(16).hex()
    (folder / "tokens").write_text(f'{token},admin,admin,"system:masters"\n')
    key = folder / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    store = f"http://127.0.0.1:{client}"
    commands = [
        [
            "etcd",
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        ],
        [
            str(binary),
            f"--etcd-servers={store}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={secure}",
            f"--cert-dir={folder}/certificates",
            f"--token-auth-file={folder}/tokens",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://weft.test",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
        ],
    ]
    processes = []
    try:
        for command in commands:
            log = (folder / f"{Path(command[0]).name}.log").open("wb")
            processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
        yield _wait(folder, processes, secure, token)
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(
    folder: Path, processes: list[subprocess.Popen[bytes]], port: int, token: str
) -> ApiServer:
    certificate = folder / "certificates/apiserver.crt"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for process in processes:
            assert process.poll() is None, _tail(folder)
        if certificate.exists():
            trust = ssl.create_default_context(cafile=str(certificate))
            server = ApiServer(f"https://127.0.0.1:{port}", token, trust)
            if server.is_ready():
                return server
        time.sleep(0.2)
    raise AssertionError(f"no API server after {START_SECONDS:.0f} s\n{_tail(folder)}")


def _tail(folder: Path) -> str:
    logs = folder.glob("*.log")
    return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-2000:]}" for log in logs)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
