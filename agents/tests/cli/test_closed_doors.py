"""Every port that a run listens at, tried without its token; and where its secrets turn up."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import msgspec
import psutil
import pytest
from deltalake import DeltaTable

from weft.attack.processes import Command
from weft.runtime.running_here import runs
from weft.transport.handshake import PROTOCOL_VERSION

KEY = "sk-marker-4f1c9a77e2"
PIPELINE = """\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: doors}}
spec:
  source: {{generate: {{rows: 4000}}}}
  output: {{uri: out, commitInterval: 300ms}}
  delivery: {{inFlightRows: 40}}
  flow:
    entry: draft
    steps: [{{name: draft, next: [{{to: $accept}}]}}]
  prompts: [{{name: draft, text: "Write about {{{{ row.index }}}}."}}]
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: draft}}
spec:
  pipelineRef: {{name: doors}}
  agent: weft.builtin:ChatAgent
  concurrency: 16
  engine:
    openai: {{baseURL: "{url}", model: fake, apiKeySecretRef: {{name: doors, key: api-key}}}}
"""
GRPC = (
    # Reading the cluster's state, and changing it.
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.ActorInfoGcsService/GetAllActorInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.RuntimeEnvService/GetOrCreateRuntimeEnv",
    "/ray.rpc.ReporterService/GetTraceback",
    "/ray.rpc.ObjectManagerService/Pull",
)
REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    folder = tmp_path_factory.mktemp("doors")
    short = Path("/tmp") / f"wd-{os.getpid()}"
    short.symlink_to(folder)
    server = subprocess.Popen(
        [sys.executable, "-m", "weft.engines.fake_endpoint", "--api-key", KEY, "--mean", "0.1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    (folder / "pipeline.yaml").write_text(PIPELINE.format(url=server.stdout.readline().strip()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOORS_API_KEY", KEY)
        command = Command(short)
    try:
        deadline = time.monotonic() + 90
        while not list((folder / "out").glob("status=accepted/*.parquet")):
            assert command.ended() is None, command.errors.read_text()
            assert time.monotonic() < deadline, "no row within 90 s"
            time.sleep(0.2)
        yield command
    finally:
        command.kill_all()
        server.kill()
        server.communicate()
        short.unlink()


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_every_port_refuses_who_has_no_token_or_is_on_loopback_only(run: Command) -> None:
    found = {}
    for pid in run.alive():
        try:
            process = psutil.Process(pid)
            name = " ".join(process.cmdline())[:60]
            for one in process.net_connections("tcp"):
                if one.status == psutil.CONN_LISTEN:
                    found[one.laddr.port] = (one.laddr.ip, name)
        except psutil.NoSuchProcess:
            continue
    assert len(found) > 8, found
    verdicts = {port: verdict(port) for port in found}
    for port, (address, name) in sorted(found.items()):
        print(f"{address}:{port}  {verdicts[port]:<40} {name}")
    opened = [(found[port], said) for port, said in verdicts.items() if said.startswith("OPEN")]
    assert opened == []
    quiet = [
        (address, name)
        for port, (address, name) in found.items()
        if verdicts[port] == "does not answer" and not address.startswith(("127.", "::1"))
    ]
    assert quiet == []


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_no_secret_turns_up_in_anything_that_a_run_leaves_or_says(run: Command) -> None:
    (here,) = [one for one in runs() if one.pid == run.pid]
    secrets = {"the API key": KEY, "the token": here.token}
    said: dict[str, bytes] = {}
    for path in ("/v1/status", "/v1/plan", "/metrics", "/healthz"):
        request = urllib.request.Request(here.address + path)
        request.add_header("Authorization", f"Bearer {here.token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            said[path] = answer.read()
    assert b"draft" in said["/v1/plan"]
    for command in (["show", "out", "--path"], ["show", "out", "--json"], ["validate", "."]):
        code = "from weft.cli import main; main()"
        shown = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=run.folder,
            env={**os.environ, "DOORS_API_KEY": KEY},
            capture_output=True,
            timeout=60,
            check=True,
        )
        said[f"weft {command[0]}"] = shown.stdout + shown.stderr
    rows = DeltaTable(run.folder / "out").to_pyarrow_table().to_pylist()
    assert rows
    said["the rows"] = json.dumps(rows, default=str).encode()
    for file in run.folder.resolve().rglob("*"):
        if file.is_file() and not file.is_symlink():
            said[str(file.relative_to(run.folder.resolve()))] = file.read_bytes()
    for pid in run.alive():
        said[f"the command line of {pid}"] = " ".join(psutil.Process(pid).cmdline()).encode()
    assert len([name for name in said if "/logs/" in name]) > 10
    leaks = [
        f"{what} is in {name}"
        for name, content in said.items()
        for what, secret in secrets.items()
        if secret.encode() in content
    ]
    assert leaks == []


def verdict(port: int) -> str:
    """What the port does for somebody without the token; begins with OPEN where it serves."""
    said = over_http(port) or over_grpc(port) or over_mesh(port)
    return said or "does not answer"


def over_http(port: int) -> str:
    served = []
    for path in ("/v1/status", "/v1/plan", "/api/version", "/api/jobs/", "/"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=3) as answer:
                served.append(f"{path} {answer.status}")
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                return f"HTTP refuses: {error.code}"
            if error.code != 404:
                served.append(f"{path} {error.code}")
        except (OSError, ValueError, http.client.HTTPException):
            return ""
    return f"OPEN: HTTP {served}" if served else "HTTP serves nothing without a token: 404"


def over_grpc(port: int) -> str:
    found = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=2)
        except grpc.FutureTimeoutError:
            return ""
        for method in GRPC:
            try:
                channel.unary_unary(method)(b"", timeout=3)
                return f"OPEN: {method}"
            except grpc.RpcError as error:
                found.append(error.code())
    if REFUSED & set(found):
        return "gRPC refuses: " + str((REFUSED & set(found)).pop()).partition(".")[2]
    kinds = ", ".join(sorted({code.name for code in found}))
    return f"gRPC without these services: {kinds}"


def over_mesh(port: int) -> str:
    """Our own protocol, with a proof under a wrong token."""
    hello = msgspec.msgpack.encode([PROTOCOL_VERSION, b"n" * 16])
    identity = ["directory", 0, 0, "doors"]
    try:
        with socket.create_connection(("127.0.0.1", port), 3) as peer:
            peer.settimeout(5)
            peer.sendall(len(hello).to_bytes(4, "big") + hello)
            if not peer.recv(4096):
                return "closes the connection"
            proof = msgspec.msgpack.encode([identity, b"p" * 32])
            peer.sendall(len(proof).to_bytes(4, "big") + proof)
            answer = peer.recv(4096)
    except ConnectionError:
        return "closes the connection"
    except OSError:
        return ""
    if not answer:
        return "the mesh closes the connection on a wrong proof"
    verdicts = msgspec.msgpack.decode(answer[4:])
    return "OPEN: the mesh" if verdicts == [""] else f"the mesh refuses: {verdicts}"
