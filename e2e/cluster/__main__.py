"""The commands: ``python3 -m e2e.cluster COMMAND``, or the small files beside this one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from . import builds, gpus, images, local, provider, report
from .say import say
from .settings import NODES, ROOT, ClusterError, node_named

Handler = Callable[[argparse.Namespace], None]


def _up(args: argparse.Namespace) -> None:
    with local.alone():
        print(provider.up(args.kubeconfig))


def _down(args: argparse.Namespace) -> None:
    with local.alone():
        provider.down(purge=args.purge)


def _status(_: argparse.Namespace) -> None:
    print(report.status())


def _build(args: argparse.Namespace) -> None:
    for name in args.components or builds.FOR_UP:
        print(builds.build(name))


def _node(args: argparse.Namespace) -> None:
    with local.alone():
        provider.node(args.action, node_named(args.node), keep_pods=args.keep_pods)
    if args.action == "stop":
        say(f"{args.node} is stopped; the API server calls it NotReady after 40 to 50 s")
    else:
        say(f"{args.node} is Ready")


def _kuberay(args: argparse.Namespace) -> None:
    with local.alone():
        provider.kuberay_operator(args.action)
    say("KubeRay is stopped" if args.action == "stop" else "KubeRay is ready")


def _gpus(args: argparse.Namespace) -> None:
    provider.give_gpus(node_named(args.node), args.count, args.product, args.memory)
    say(f"{args.node} offers {args.count} GPUs")


def _image(args: argparse.Namespace) -> None:
    context = Path(args.context).resolve()
    dockerfile = Path(args.file).resolve() if args.file else context / "Dockerfile"
    order = images.Order(args.tag, dockerfile, context, args.target)
    only = tuple(node_named(name) for name in args.node) or NODES
    print(f"{args.tag} {provider.image(order, only, load=not args.no_load)}")


def _program_image(args: argparse.Namespace) -> None:
    print(provider.program_image(args.component))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="e2e/cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, handler: Handler, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(handler=handler)
        return sub

    up = command("up", _up, "make a working cluster, or use the one that is asked for")
    up.add_argument("--kubeconfig", help="an existing cluster's (else: WEFT_KUBECONFIG)")
    down = command("down", _down, "take the cluster away; images and binaries stay cached")
    down.add_argument("--purge", action="store_true", help="drop the nodes' images as well")
    command("status", _status, "tell what runs")
    build = command("build", _build, "build components from their Go modules into the cache")
    build.add_argument("components", nargs="*", metavar="|".join(builds.COMPONENTS))
    node = command("node", _node, "stop a node as a power cut does, or start it again")
    node.add_argument("action", choices=["stop", "start"])
    node.add_argument("node", choices=[n.name for n in NODES])
    node.add_argument("--keep-pods", action="store_true", help="stop kubelet and runtime only")
    operator = command("kuberay", _kuberay, "kill KubeRay's operator, or start it again")
    operator.add_argument("action", choices=["stop", "start"])
    give = command("gpus", _gpus, "let a node have so many pretended GPUs; 0 takes them away")
    give.add_argument("count", type=int)
    give.add_argument("--node", default=next(n.name for n in NODES if n.gpus))
    give.add_argument("--product", default=gpus.PRODUCT)
    give.add_argument("--memory", type=int, default=gpus.MEMORY, help="MiB of one GPU")
    image = command("image", _image, "build a Dockerfile's target and give it to the nodes")
    image.add_argument("tag", help="in full, as in weft.dev/agents:dev")
    image.add_argument("--target", default="", help="stage of the Dockerfile (default: the last)")
    image.add_argument("--file", help="default: the context's Dockerfile")
    image.add_argument("--context", default=str(ROOT), help="default: the repository")
    image.add_argument("--node", action="append", default=[], help="only to this node")
    image.add_argument("--no-load", action="store_true", help="build only")
    text = "wrap a component's Go program in an image and give it to the nodes"
    program = command("program-image", _program_image, text)
    program.add_argument("component", choices=[c for c, x in builds.COMPONENTS.items() if x.single])
    return parser


def main() -> int:
    args = _parser().parse_args()
    try:
        args.handler(args)
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; what has started goes on: e2e/cluster/down takes it away")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
