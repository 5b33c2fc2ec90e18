"""Small words for the tests of the real cluster."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from e2e.cluster import gpus, settings, tinyimages

BUSYBOX = tinyimages.BUSYBOX
PRODUCT = (f"{gpus.RESOURCE}.product", gpus.PRODUCT)


def state() -> Path:
    return settings.state_folder()


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """One of the commands beside the package, as a person calls it."""
    program = settings.HERE / words[0]
    done = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}:\n{done.stderr}"
    return done


def tool(name: str, *words: str, check: bool = True, stdin: str | None = None) -> str:
    env = {**os.environ, "KUBECONFIG": str(settings.admin_kubeconfig())}
    program = state() / "bin" / name
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, check=check, env=env, input=stdin
    )
    return done.stdout


def kubectl(*words: str, check: bool = True, stdin: str | None = None) -> str:
    return tool("kubectl", *words, check=check, stdin=stdin)


def apply(namespace: str, *objects: dict[str, Any]) -> None:
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("-n", namespace, "apply", "-f", "-", stdin=content)


def get(namespace: str | None, *words: str) -> dict[str, Any]:
    where = ["-n", namespace] if namespace else []
    answer: dict[str, Any] = json.loads(kubectl(*where, "get", *words, "-o", "json"))
    return answer


def execute(namespace: str, target: str, *words: str) -> str:
    return kubectl("-n", namespace, "exec", target, "--", *words)


def try_execute(namespace: str, target: str, *words: str) -> str:
    return kubectl("-n", namespace, "exec", target, "--", *words, check=False)


def wait_ready(namespace: str, target: str, seconds: int = 60) -> None:
    until(f"{target} exists", lambda: bool(kubectl("-n", namespace, "get", target, check=False)))
    wait = ["wait", "--for=condition=Ready", target, f"--timeout={seconds}s"]
    kubectl("-n", namespace, *wait)


def until(what: str, probe: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.3)


def pod(
    name: str,
    node: dict[str, str] | None = None,
    *,
    gpus: int = 0,
    serve: str = "",
    image: str = BUSYBOX,
) -> dict[str, Any]:
    """A pod that sleeps, or answers over HTTP, or (another image) runs what the image runs."""
    container: dict[str, Any] = {"name": "main", "image": image, "imagePullPolicy": "Never"}
    if serve:
        script = (
            f"mkdir /www; echo {serve} >/www/index.html; echo started; httpd -f -p 8080 -h /www"
        )
        container["command"] = ["sh", "-c", script]
        container["readinessProbe"] = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    elif image == BUSYBOX:
        container["command"] = ["sleep", "3600"]
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    spec = {
        "containers": [container],
        "nodeSelector": node or {},
        "terminationGracePeriodSeconds": 1,
        "restartPolicy": "Always" if serve else "Never",
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
