"""The cluster's certificate authority and one client certificate per component."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from .settings import (
    API_SERVICE_ADDRESS,
    API_URL,
    CLUSTER_DOMAIN,
    HOST_ADDRESS,
    NODES,
    config_folder,
    keys_folder,
)
from .shell import run, write

# Long enough for a dev cluster that stays up, short enough that no stray key is good for ever.
_DAYS = "30"


@dataclass(frozen=True)
class Identity:
    """What the API server reads from a certificate: user (CN), group (O), names (SAN)."""

    user: str
    group: str = ""
    names: tuple[str, ...] = ()


_SERVICE = "kubernetes.default.svc"
IDENTITIES = {
    "etcd": Identity("etcd", names=("IP:127.0.0.1",)),
    "apiserver": Identity(
        "kube-apiserver",
        names=(
            f"IP:{HOST_ADDRESS}",
            f"IP:{API_SERVICE_ADDRESS}",
            "IP:127.0.0.1",
            "DNS:localhost",
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            f"DNS:{_SERVICE}",
            f"DNS:{_SERVICE}.{CLUSTER_DOMAIN}",
        ),
    ),
    "apiserver-client": Identity("kube-apiserver-client", "system:masters"),
    "front-proxy": Identity("front-proxy-client"),
    "admin": Identity("weft-admin", "system:masters"),
    "controller-manager": Identity("system:kube-controller-manager"),
    "scheduler": Identity("system:kube-scheduler"),
    "kube-proxy": Identity("system:kube-proxy"),
    "coredns": Identity("coredns"),
    "kuberay-operator": Identity("kuberay-operator"),
    **{
        node.name: Identity(
            f"system:node:{node.name}",
            "system:nodes",
            (f"IP:{node.address}", f"DNS:{node.name}"),
        )
        for node in NODES
    },
}


def certificate(name: str) -> Path:
    return keys_folder() / f"{name}.crt"


def private_key(name: str) -> Path:
    return keys_folder() / f"{name}.key"


def public_key() -> Path:
    """Checks service account tokens, which the API server signs with the private one."""
    return keys_folder() / "service-accounts.pub"


def kubeconfig(name: str) -> Path:
    return config_folder() / f"{name}.kubeconfig"


def make_all() -> None:
    """Make what is missing. Keys never leave the state folder, which only root can enter."""
    keys_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    config_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    if not certificate("ca").exists():
        _make_authority()
    for name, who in IDENTITIES.items():
        if not certificate(name).exists():
            _make(name, who)
        write_kubeconfig(kubeconfig(name), name)
    if not public_key().exists():
        _key("service-accounts")
        run(["openssl", "pkey", "-in", private_key("service-accounts"), "-pubout", "-out",
             public_key()])  # fmt: skip


def _key(name: str) -> None:
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    run(["openssl", "genpkey", *curve, "-out", private_key(name)])
    private_key(name).chmod(0o600)


def _make_authority() -> None:
    _key("ca")
    subject = ["-subj", "/CN=weft-e2e-ca", "-days", _DAYS]
    usage = ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    run(
        ["openssl", "req", "-x509", "-new", "-key", private_key("ca"), *subject, *usage,
         "-out", certificate("ca")]
    )  # fmt: skip


def _make(name: str, who: Identity) -> None:
    _key(name)
    subject = (f"/O={who.group}" if who.group else "") + f"/CN={who.user}"
    request = run(["openssl", "req", "-new", "-key", private_key(name), "-subj", subject])
    extensions = keys_folder() / f"{name}.ext"
    lines = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"]
    if who.names:
        lines.append("subjectAltName=" + ",".join(who.names))
    extensions.write_text("\n".join(lines) + "\n")
    run(
        ["openssl", "x509", "-req", "-CA", certificate("ca"), "-CAkey", private_key("ca"),
         "-CAcreateserial", "-days", _DAYS, "-extfile", extensions, "-out", certificate(name)],
        stdin=request,
    )  # fmt: skip


def write_kubeconfig(path: Path, name: str, server: str = API_URL) -> None:
    """A kubeconfig (JSON is YAML) that carries its keys, so that it can be copied elsewhere."""

    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    cluster = {"server": server, "certificate-authority-data": data(certificate("ca"))}
    user = {
        "client-certificate-data": data(certificate(name)),
        "client-key-data": data(private_key(name)),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "weft", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "weft", "context": {"cluster": "weft", "user": name}}],
        "current-context": "weft",
    }
    write(path, json.dumps(content, indent=2), mode=0o600)
