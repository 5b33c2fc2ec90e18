"""etcd, API server, controller manager, scheduler, kube-proxy and DNS, on the machine itself."""

from __future__ import annotations

import json
from pathlib import Path

from . import builds, certificates, network, processes
from .certificates import certificate, kubeconfig, private_key
from .kubectl import api_ready, kubectl
from .settings import (
    CLUSTER_DOMAIN,
    HOST_ADDRESS,
    NODES,
    POD_CIDR,
    SERVICE_CIDR,
    admin_kubeconfig,
    config_folder,
    logs_folder,
    pods_may_leave,
    state_folder,
)
from .shell import answers, wait_until, write

# Not etcd's usual port, which another etcd on the machine may hold.
_ETCD = "https://127.0.0.1:23790"
_ETCD_PEER = "http://127.0.0.1:23800"

# In the order in which they start; they stop the other way round.
NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "coredns",
)


def audit_log() -> Path:
    """One JSON event per request: who asked what. The RBAC tests read it."""
    return logs_folder() / "audit.log"


def start() -> None:
    certificates.make_all()
    certificates.write_kubeconfig(admin_kubeconfig(), "admin")
    _start_etcd()
    _start_api_server()
    _start_controller_manager()
    _start_scheduler()
    _start_proxy()
    _start_dns()


def _key_pair(name: str) -> tuple[Path, Path]:
    return certificate(name), private_key(name)


def _start_etcd() -> None:
    cert, key = _key_pair("etcd")
    processes.start(
        "etcd",
        [
            "etcd",
            "--name=weft",
            f"--data-dir={state_folder() / 'etcd'}",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            f"--listen-peer-urls={_ETCD_PEER}",
            f"--initial-advertise-peer-urls={_ETCD_PEER}",
            f"--initial-cluster=weft={_ETCD_PEER}",
            "--client-cert-auth",
            f"--trusted-ca-file={certificate('ca')}",
            f"--cert-file={cert}",
            f"--key-file={key}",
            # The data need not outlive the machine, and a sync per write halves the API's speed.
            "--unsafe-no-fsync",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=5m",
            "--quota-backend-bytes=4294967296",
        ],
    )


def _start_api_server() -> None:
    cert, key = _key_pair("apiserver")
    client_cert, client_key = _key_pair("apiserver-client")
    etcd_cert, etcd_key = _key_pair("etcd")
    policy = config_folder() / "audit-policy.json"
    # What was asked and by whom, not what was in it: bodies hold Secrets and a lot of bytes.
    rules = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }
    write(policy, json.dumps(rules))
    processes.start(
        "kube-apiserver",
        [
            builds.program("kubernetes", "kube-apiserver"),
            f"--bind-address={HOST_ADDRESS}",
            f"--advertise-address={HOST_ADDRESS}",
            "--secure-port=6443",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--etcd-servers={_ETCD}",
            f"--etcd-cafile={certificate('ca')}",
            f"--etcd-certfile={etcd_cert}",
            f"--etcd-keyfile={etcd_key}",
            f"--client-ca-file={certificate('ca')}",
            f"--tls-cert-file={cert}",
            f"--tls-private-key-file={key}",
            f"--kubelet-certificate-authority={certificate('ca')}",
            f"--kubelet-client-certificate={client_cert}",
            f"--kubelet-client-key={client_key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
            f"--service-account-key-file={certificates.public_key()}",
            f"--service-account-signing-key-file={private_key('service-accounts')}",
            # Lets a metrics API be served by a pod (APIService); only this one name may speak for
            # others, though the authority is the same for all.
            f"--requestheader-client-ca-file={certificate('ca')}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={certificate('front-proxy')}",
            f"--proxy-client-key-file={private_key('front-proxy')}",
            "--allow-privileged=true",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={audit_log()}",
            "--audit-log-maxsize=500",
            "--audit-log-maxbackup=2",
            "--profiling=false",
        ],
    )
    wait_until(
        "the API server is ready",
        api_ready,
        seconds=120,
        log=processes.log_of("kube-apiserver"),
        alive=lambda: processes.runs("kube-apiserver") and processes.runs("etcd"),
    )


def _start_controller_manager() -> None:
    own = kubeconfig("controller-manager")
    processes.start(
        "kube-controller-manager",
        [
            builds.program("kubernetes", "kube-controller-manager"),
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={private_key('service-accounts')}",
            f"--root-ca-file={certificate('ca')}",
            "--allocate-node-cidrs=false",
            "--profiling=false",
        ],
    )


def _start_scheduler() -> None:
    own = kubeconfig("scheduler")
    processes.start(
        "kube-scheduler",
        [
            builds.program("kubernetes", "kube-scheduler"),
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--profiling=false",
        ],
    )


def _start_proxy() -> None:
    """One for all nodes: they share the machine's network, so its rules hold for each."""
    config = config_folder() / "kube-proxy.json"
    write(
        config,
        json.dumps(
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "nftables",
                "clusterCIDR": POD_CIDR,
                "hostnameOverride": NODES[0].name,
                "bindAddress": HOST_ADDRESS,
                "healthzBindAddress": "127.0.0.1:10256",
                "metricsBindAddress": "127.0.0.1:10249",
                "clientConnection": {"kubeconfig": str(kubeconfig("kube-proxy"))},
                # Leave the machine's connection tracking limits as they are.
                "conntrack": {"maxPerCore": 0, "min": 0},
                # Where bridged packets skip the IP rules, an answer finds its way back only
                # through the machine itself. It costs the pods the sight of who calls them.
                "nftables": {"masqueradeAll": not network.bridge_filters()},
            }
        ),
    )
    proxy = builds.program("kubernetes", "kube-proxy")
    processes.start("kube-proxy", [proxy, f"--config={config}"])


def _start_dns() -> None:
    role: dict[str, object] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "weft-e2e:coredns"},
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["endpoints", "services", "pods", "namespaces"],
                "verbs": ["list", "watch"],
            },
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "verbs": ["list", "watch"],
            },
        ],
    }
    apply([role, cluster_role_binding("weft-e2e:coredns", "weft-e2e:coredns", user="coredns")])
    # A block of its own: within one block `template` always comes before `kubernetes`.
    # NXDOMAIN for what is not ours: a REFUSED makes resolvers try again until they time out.
    nowhere = "template ANY ANY . {\n    rcode NXDOMAIN\n  }"
    outside = "forward . /etc/resolv.conf" if pods_may_leave() else nowhere
    corefile = config_folder() / "Corefile"
    write(
        corefile,
        f"""\
{CLUSTER_DOMAIN}:53 in-addr.arpa:53 {{
  bind {HOST_ADDRESS}
  errors
  ready 127.0.0.1:10255
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
    kubeconfig {kubeconfig("coredns")}
    pods insecure
    ttl 2
  }}
}}

.:53 {{
  bind {HOST_ADDRESS}
  errors
  {outside}
}}
""",
    )
    processes.start("coredns", [builds.program("coredns", "coredns"), "-conf", corefile])


def apply(objects: list[dict[str, object]]) -> None:
    """Server-side apply: client-side keeps a copy of each object in a note limited to 256 KiB."""
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=content)


def cluster_role_binding(name: str, role: str, *, user: str) -> dict[str, object]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def dns_ready() -> bool:
    """Asked by its own health port: `ready` turns to OK once the first list has come."""
    return answers("http://127.0.0.1:10255/ready")


def wait_for_dns() -> None:
    wait_until(
        "DNS answers",
        dns_ready,
        seconds=60,
        log=processes.log_of("coredns"),
        alive=lambda: processes.runs("coredns"),
    )


def stop() -> None:
    for name in reversed(NAMES):
        processes.stop(name)
