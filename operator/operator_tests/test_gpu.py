"""The check before GPUs are asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from operator_tests.samples import gpu_node, pool, stored
from weft_api.parse import parse_pool
from weft_operator.decide.gpu import check
from weft_operator.facts import Node

CPU = Node("cpu-1", {}, (), 0, schedulable=True, ready=True)
TAINTED = dataclasses.replace(
    gpu_node(), taints=({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},)
)
L4 = gpu_node("l4", gpus=1, product="L4", memory="23034")


@pytest.mark.parametrize(
    ("spec", "nodes", "said"),
    [
        ({"gpu": {"product": "A100"}}, [CPU, gpu_node()], "nvidia.com/gpu.product=A100; there is"),
        ({"gpu": {"product": "A100"}}, [CPU], "no node has that label at all"),
        ({"gpu": {"count": 9}}, [gpu_node(), L4], "no node has 9 of nvidia.com/gpu"),
        ({"gpu": {"count": 9}}, [gpu_node(), L4], "a node has is 8"),
        ({"gpu": {}}, [CPU], "a node has is 0"),
        ({"gpu": {"memory": "141Gi"}}, [gpu_node(), L4], "there is 23034 (1 nodes), 81559"),
        ({"gpu": {}, "nodeSelector": {"zone": "b"}}, [gpu_node()], "no node has the label zone=b"),
        (
            {"gpu": {"product": "L4"}, "nodeSelector": {"zone": "b"}},
            [L4, gpu_node(zone="b")],
            "beside the other labels",
        ),
        ({"gpu": {}}, [TAINTED], "nvidia.com/gpu=present:NoSchedule; add them to spec.tolerations"),
        ({"gpu": {}}, [], "a node has is 0"),
    ],
)
def test_what_is_missing_is_named_with_what_exists(
    spec: dict[str, Any], nodes: list[Node], said: str
) -> None:
    result = check(parse_pool(stored(pool(**spec))), nodes)
    assert result.verdict == "Unmatched"
    assert said in result.message


@pytest.mark.parametrize(
    ("spec", "nodes"),
    [
        ({"gpu": {"product": "NVIDIA-H100-80GB-HBM3", "memory": "80Gi", "count": 8}}, [gpu_node()]),
        ({"gpu": {"memory": "24Gi"}}, [L4]),
        ({"gpu": {}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}, [TAINTED]),
        ({"gpu": {}, "tolerations": [{"operator": "Exists"}]}, [TAINTED]),
        ({"gpu": {}}, [CPU, dataclasses.replace(gpu_node(), schedulable=False)]),
    ],
)
def test_a_node_that_can_take_it_full_or_not_is_a_match(
    spec: dict[str, Any], nodes: list[Node]
) -> None:
    assert check(parse_pool(stored(pool(**spec))), nodes).verdict == "Matched"


def test_without_the_right_to_read_nodes_nothing_is_claimed() -> None:
    assert check(parse_pool(stored(pool(gpu={}))), None).verdict == "Unknown"
    assert check(parse_pool(stored(pool())), [CPU]).verdict == "NotAsked"
