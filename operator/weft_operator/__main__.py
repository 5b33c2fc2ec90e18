"""`python -m weft_operator`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence

from weft_operator import logs
from weft_operator.api import ApiError
from weft_operator.decide.network import Callers
from weft_operator.decide.pods import Defaults
from weft_operator.replica import run
from weft_operator.settings import Settings

_ABOUT = """\
Runs SyntheticPipelines on Ray clusters that KubeRay makes.

It connects with the pod's service account, or with KUBECONFIG outside of a cluster. Two or more
replicas share a Lease; one leads, the others wait. Every flag can also be set by the environment
variable named beside it.
"""
_MORE = """\
examples:
  python -m weft_operator --image registry.example/weft-agents:0.1.0
  python -m weft_operator --namespace team-a --no-nodes --no-leader-election --log text

needs: the CRDs of weft.dev and KubeRay 1.6 or later (ray.io/v1); the Helm chart brings the rights.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 when stopped, 1 when leadership or the API was lost, 2 for bad arguments."""
    options = _parser().parse_args(argv)
    logs.configure(form=options.log, level=options.log_level)
    settings = _settings(options)
    _spare_collector()
    try:
        return asyncio.run(_until_signal(settings))
    except ApiError as error:
        print(f"weft-operator: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"weft-operator: {error}", file=sys.stderr)
        return 1


def _spare_collector() -> None:
    """By its defaults Python's garbage collector walks through all that is loaded, and all that is
    known of the cluster, again and again: up to a third of the CPU with a thousand pipelines."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _until_signal(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    return await run(settings, stop)


def _parser() -> argparse.ArgumentParser:
    env = os.environ.get
    parser = argparse.ArgumentParser(
        prog="weft-operator",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--image",
        default=env("WEFT_AGENTS_IMAGE", ""),
        required=not env("WEFT_AGENTS_IMAGE"),
        metavar="IMAGE",
        help="image of heads, writers and agents whose manifest names none (WEFT_AGENTS_IMAGE)",
    )
    add(
        "--image-pull-policy",
        default=env("WEFT_IMAGE_PULL_POLICY", ""),
        choices=("", "Always", "IfNotPresent", "Never"),
        help="pull policy of all pods; Kubernetes' own rule by default (WEFT_IMAGE_PULL_POLICY)",
    )
    add(
        "--image-pull-secret",
        action="append",
        default=_listed(env("WEFT_IMAGE_PULL_SECRETS")),
        metavar="NAME",
        help="Secret, in the pipelines' namespaces, for pulling images; repeatable "
        "(WEFT_IMAGE_PULL_SECRETS, comma-separated)",
    )
    add(
        "--namespace",
        action="append",
        default=_listed(env("WEFT_NAMESPACES")),
        metavar="NAME",
        help="serve this namespace only; repeatable; the whole cluster without it "
        "(WEFT_NAMESPACES, comma-separated)",
    )
    add(
        "--nodes",
        action=argparse.BooleanOptionalAction,
        default=env("WEFT_NODES", "true") != "false",
        help="look at nodes to tell why GPUs are not to be had; needs a cluster-wide right "
        "(WEFT_NODES=false turns it off)",
    )
    add(
        "--leader-election",
        action=argparse.BooleanOptionalAction,
        default=env("WEFT_LEADER_ELECTION", "true") != "false",
        help="share a Lease with other replicas (WEFT_LEADER_ELECTION=false turns it off)",
    )
    add(
        "--lease",
        default=env("WEFT_LEASE", "weft-operator"),
        metavar="NAME",
        help="name of the Lease (WEFT_LEASE)",
    )
    add(
        "--own-namespace",
        default=env("POD_NAMESPACE", "default"),
        metavar="NAME",
        help="namespace of the Lease (POD_NAMESPACE)",
    )
    add(
        "--identity",
        default=env("POD_NAME", socket.gethostname()),
        metavar="NAME",
        help="name of this replica (POD_NAME; the host's name without it)",
    )
    add(
        "--health-port",
        type=_port,
        default=env("WEFT_HEALTH_PORT", "8081"),
        metavar="PORT",
        help="/healthz and /readyz; 0: none (WEFT_HEALTH_PORT, default 8081)",
    )
    add(
        "--metrics-port",
        type=_port,
        default=env("WEFT_METRICS_PORT", "8080"),
        metavar="PORT",
        help="/metrics; 0: none (WEFT_METRICS_PORT, default 8080)",
    )
    add(
        "--workers",
        type=_positive,
        default=env("WEFT_WORKERS", "64"),
        metavar="N",
        help="pipelines that are reconciled at once (WEFT_WORKERS, default 64)",
    )
    add(
        "--network-policies",
        action=argparse.BooleanOptionalAction,
        default=env("WEFT_NETWORK_POLICIES", "false") == "true",
        help="make a NetworkPolicy for each pipeline: its own pods, the operator (found by "
        "--operator-label in --own-namespace) and --metrics-namespace may reach its pods "
        "(WEFT_NETWORK_POLICIES=true)",
    )
    add(
        "--operator-label",
        action="append",
        default=_listed(env("WEFT_OPERATOR_LABELS")),
        metavar="KEY=VALUE",
        type=_label,
        help="label of the operator's pods; repeatable (WEFT_OPERATOR_LABELS, comma-separated)",
    )
    add(
        "--metrics-namespace",
        action="append",
        default=_listed(env("WEFT_METRICS_NAMESPACES")),
        metavar="NAME",
        help="namespace whose pods may read metrics; repeatable (WEFT_METRICS_NAMESPACES)",
    )
    add("--log", choices=("json", "text"), default=env("WEFT_LOG", "json"), help="(WEFT_LOG)")
    add(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=env("WEFT_LOG_LEVEL", "info"),
        help="(WEFT_LOG_LEVEL)",
    )
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        defaults=Defaults(
            image=options.image,
            image_pull_policy=options.image_pull_policy,
            image_pull_secrets=tuple(dict.fromkeys(options.image_pull_secret)),
            callers=_callers(options) if options.network_policies else None,
        ),
        namespaces=tuple(dict.fromkeys(options.namespace)),
        own_namespace=options.own_namespace,
        identity=options.identity,
        lease_name=options.lease,
        leader_election=options.leader_election,
        watch_nodes=options.nodes,
        metrics_port=options.metrics_port,
        health_port=options.health_port,
        workers=options.workers,
    )


def _callers(options: argparse.Namespace) -> Callers:
    pairs = (label.split("=", 1) for label in options.operator_label)
    return Callers(
        operator_namespace=options.own_namespace,
        operator_labels=dict(pairs),
        metrics_namespaces=tuple(dict.fromkeys(options.metrics_namespace)),
    )


def _label(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f'"{text}" is no label; write KEY=VALUE')
    return text


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'"{text}" is no port; write a number from 0 to 65535')
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no number above 0')
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
