"""Which state folder the machine's one cluster belongs to, and by which code it was made.

Bridge, addresses and rules exist once per machine. A second cluster with folders of its own would
fight the first; and code that has changed since must not take a running cluster for its own work.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from . import builds
from .settings import HERE, ClusterError, pods_may_leave, state_folder

# Away from all state folders, and gone after a restart of the machine, as the cluster is.
_RECORD = Path("/run/weft-cluster.json")
LOCK = Path("/run/weft-cluster.lock")

# The files whose text decides how the cluster runs.
_DECIDING = (
    "archive.py",
    "certificates.py",
    "cgroups.py",
    "controlplane.py",
    "kuberay.py",
    "network.py",
    "nodes.py",
    "pause.c",
    "settings.py",
    "tinyimages.py",
)


def fingerprint() -> str:
    digest = hashlib.sha256(repr(pods_may_leave()).encode())
    for name in _DECIDING:
        digest.update((HERE / name).read_bytes())
    for name in builds.FOR_UP:
        digest.update(builds.key(builds.component(name)).encode())
    return digest.hexdigest()


def _record() -> dict[str, str]:
    try:
        content: dict[str, str] = json.loads(_RECORD.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content


def refuse_other() -> None:
    """Stop if the machine's cluster lives in another state folder than the one in use."""
    other = _record().get("state", str(state_folder()))
    if other != str(state_folder()):
        raise ClusterError(
            f"this machine's cluster belongs to {other}; take it away first: "
            f"WEFT_CLUSTER_STATE={other} e2e/cluster/down"
        )


def made_by_this_code() -> bool:
    return _record().get("fingerprint") == fingerprint()


def claim() -> None:
    content = {"state": str(state_folder()), "fingerprint": fingerprint()}
    _RECORD.write_text(json.dumps(content))


def release() -> None:
    _RECORD.unlink(missing_ok=True)
