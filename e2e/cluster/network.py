"""The bridge that pods, kubelets, API server and DNS share, and the rules around it.

All nodes hang on one bridge and share one address pool, so pods reach each other across nodes
without routes. Nothing here enforces NetworkPolicies: the bridge plug-in does not know them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .settings import (
    BRIDGE,
    HOST_ADDRESS,
    NFT_TABLE,
    NODES,
    POD_CIDR,
    POD_RANGE_START,
    SERVICE_CIDR,
    ClusterError,
    config_folder,
    pods_may_leave,
    state_folder,
)
from .shell import run, succeeds, write

CNI_NETWORK = "weft"
CNI_BIN = Path("/usr/lib/cni")
_CNI_RESULTS = Path("/var/lib/cni/results")
_BRIDGE_CALLS_IPTABLES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def cni_config_folder() -> Path:
    return config_folder() / "cni"


def _saved_settings() -> Path:
    return state_folder() / "sysctl.json"


def bridge_exists() -> bool:
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def bridge_filters() -> bool:
    """Whether bridged packets pass the IP rules, which service addresses depend on."""
    return _BRIDGE_CALLS_IPTABLES.exists()


def make() -> None:
    _refuse_foreign_proxy()
    if not bridge_exists():
        # A fixed address: a bridge else takes the lowest of its ports', which changes as pods come
        # and go, and whoever remembers the old one cannot reach the machine for a while.
        run(["ip", "link", "add", BRIDGE, "address", "02:77:65:66:74:00", "type", "bridge"])
        for address in (HOST_ADDRESS, *(node.address for node in NODES)):
            run(["ip", "address", "add", f"{address}/16", "dev", BRIDGE])
        run(["ip", "link", "set", BRIDGE, "up"])
        # Without a rule for a service (yet), its packets die here and not on somebody's network.
        run(["ip", "route", "add", SERVICE_CIDR, "dev", BRIDGE])
    _set_kernel()
    run(["nft", "-f", "-"], stdin=rules())
    _write_cni()


def _refuse_foreign_proxy() -> None:
    ours = bridge_exists() or succeeds(["nft", "list", "table", "ip", NFT_TABLE])
    if not ours and succeeds(["nft", "list", "table", "ip", "kube-proxy"]):
        raise ClusterError(
            "another kube-proxy works on this machine; use that cluster's kubeconfig"
        )


def _set_kernel() -> None:
    if shutil.which("modprobe"):
        succeeds(["modprobe", "br_netfilter"])
    wanted = {_FORWARD: "1"}
    if bridge_filters():
        wanted[_BRIDGE_CALLS_IPTABLES] = "1"
    if not _saved_settings().exists():
        before = {str(path): path.read_text().strip() for path in wanted}
        _saved_settings().parent.mkdir(parents=True, exist_ok=True)
        _saved_settings().write_text(json.dumps(before))
    for path, value in wanted.items():
        path.write_text(value)


def rules() -> str:
    if pods_may_leave():
        leave = ""
        masquerade = f'ip saddr {POD_CIDR} oifname != "{BRIDGE}" masquerade'
    else:
        leave = f'iifname "{BRIDGE}" oifname != "{BRIDGE}" reject'
        masquerade = ""
    return f"""
table ip {NFT_TABLE} {{}}
flush table ip {NFT_TABLE}
table ip {NFT_TABLE} {{
  chain forward {{
    type filter hook forward priority filter; policy accept;
    {leave}
    iifname != "{BRIDGE}" oifname "{BRIDGE}" ct state new drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {masquerade}
  }}
}}
"""


def _write_cni() -> None:
    """One network for all nodes: the same name and pool, or two pods would get one address."""
    pool = {
        "type": "host-local",
        "dataDir": str(state_folder() / "addresses"),
        "ranges": [[{"subnet": POD_CIDR, "rangeStart": POD_RANGE_START, "gateway": HOST_ADDRESS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": False,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": pool,
    }
    network = {"cniVersion": "0.4.0", "name": CNI_NETWORK, "plugins": [bridge]}
    write(cni_config_folder() / "10-weft.conflist", json.dumps(network, indent=2))


def remove() -> None:
    """Take away bridge, rules and kernel settings; those not there are no fault."""
    if bridge_exists() or succeeds(["nft", "list", "table", "ip", NFT_TABLE]):
        for family in ("ip", "ip6"):
            succeeds(["nft", "delete", "table", family, "kube-proxy"])
        succeeds(["nft", "delete", "table", "ip", NFT_TABLE])
    if bridge_exists():
        run(["ip", "link", "delete", BRIDGE])
    if _saved_settings().exists():
        for path, value in json.loads(_saved_settings().read_text()).items():
            Path(path).write_text(value)
        _saved_settings().unlink()
    if _CNI_RESULTS.is_dir():
        for result in _CNI_RESULTS.glob(f"{CNI_NETWORK}-*"):
            result.unlink(missing_ok=True)
