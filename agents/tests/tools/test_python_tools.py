"""Python functions as tools: schemas from signatures, checked arguments, bounded calls."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from weft.llm import LLM
from weft.loading import LoadError
from weft.row import ChatMessage, Row, ToolCall
from weft.tools.python import PythonTool
from weft.tools.toolbox import MAX_ARGUMENTS, Toolbox


@pytest.fixture(scope="module", autouse=True)
def shop() -> Any:
    name = "weft_test_shop"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("shop.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


def tool(function: str, **settings: Any) -> PythonTool:
    return PythonTool.load(function, f"weft_test_shop:{function}", **settings)


def no_llm() -> LLM:
    raise AssertionError("a Python tool asks no model")


def toolbox(*tools: PythonTool, hop: int = 3) -> Toolbox:
    return Toolbox(
        {one.name: one for one in tools},
        row_id="r1",
        hop=hop,
        log=logging.getLogger("test"),
        ask=no_llm,
    )


async def answer(box: Toolbox, name: str, arguments: str = "{}", id: str = "c1") -> ChatMessage:
    return await box.call(ToolCall(id, name, arguments), Row("r1", {}))


def test_the_schema_comes_from_signature_and_docstring() -> None:
    function = tool("lookup").definition["function"]
    assert function["description"] == "Looks an order up. It is the shop's own system."
    assert function["parameters"] == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "order": {
                "type": "string",
                "description": "The order's number, as printed on the invoice.",
            },
            "detail": {
                "type": "string",
                "enum": ["short", "long"],
                "default": "short",
                "description": "How much to tell.",
            },
        },
        "required": ["order"],
    }


def test_nested_models_and_sphinx_docstrings_make_schemas_too() -> None:
    parameters = tool("ship").parameters
    assert parameters["properties"]["order"]["description"] == "The order's number."
    assert parameters["properties"]["count"]["minimum"] == 1
    assert parameters["$defs"]["Address"]["required"] == ["street"]


def test_the_manifests_own_schema_wins() -> None:
    schema = {"type": "object", "properties": {"order": {"type": "string", "pattern": "^A"}}}
    assert tool("lookup", parameters=schema).parameters == schema


def test_a_parameter_named_call_is_not_the_models() -> None:
    assert list(tool("pay").parameters["properties"]) == ["amount"]


async def test_results_become_json_unless_they_are_text() -> None:
    box = toolbox(tool("lookup"), tool("ship"))
    assert (await answer(box, "lookup", '{"order": "A1"}')).content == (
        '{"order":"A1","detail":"short","title":"Größe"}'
    )
    shipped = await answer(box, "ship", '{"order": "A1", "to": {"street": "Main"}}')
    assert shipped.content == "A1 x1 to Main, Graz"
    assert (shipped.role, shipped.tool_call_id, shipped.name) == ("tool", "c1", "ship")
    assert [(one.name, one.error) for one in box.traces] == [("lookup", ""), ("ship", "")]


async def test_the_key_is_that_of_row_hop_and_call_whatever_the_attempt(shop: Any) -> None:
    shop.seen.clear()
    for _ in range(2):
        await answer(toolbox(tool("pay")), "pay", '{"amount": 3}', id="c7")
    await answer(toolbox(tool("pay"), hop=4), "pay", '{"amount": 3}', id="c7")
    assert shop.seen == ["r1/3/c7", "r1/3/c7", "r1/4/c7"]


async def test_extra_arguments_are_handed_on_where_the_function_takes_any() -> None:
    assert (await answer(toolbox(tool("anything")), "anything", '{"a": 1}')).content == '{"a":1}'


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("lookup", "{}", "'order' is a required property"),
        ("lookup", '{"order": 5}', "bad arguments at `order`: 5 is not of type 'string'"),
        ("lookup", '{"order": "a", "nope": 1}', "'nope' was unexpected"),
        ("lookup", '{"order": "a", "detail": "x"}', "is not one of ['short', 'long']"),
        ("lookup", '{"order": ', "the arguments are not JSON"),
        ("lookup", "[1]", "the arguments are a JSON list, not an object"),
        ("lookup", "[" * 20_000, "the arguments are not JSON"),
        ("lookup", '"' + "x" * MAX_ARGUMENTS + '"', "characters; send fewer"),
        ("ship", '{"order": "a", "to": {"street": "s"}, "count": 0}', "less than the minimum of 1"),
        ("lokup", "{}", 'there is no tool `lokup`; did you mean "lookup"?'),
        ("refuse", '{"order": "A1"}', "there is no order A1"),
        ("broken", "{}", "broken failed: ZeroDivisionError: division by zero"),
        ("huge", "{}", "gave 1000000 characters, more than the 65536 allowed"),
        ("slow", "{}", "slow gave no answer within 0.05 s"),
        ("slow_sync", "{}", "slow_sync gave no answer within 0.05 s"),
    ],
)
async def test_a_failing_call_is_data_for_the_dialogue(
    name: str, arguments: str, told: str
) -> None:
    box = toolbox(
        *(tool(one) for one in ("lookup", "ship", "refuse", "broken", "huge")),
        *(tool(one, timeout=0.05) for one in ("slow", "slow_sync")),
    )
    message = await answer(box, name, arguments)
    assert told in json.loads(message.content)["error"]
    assert told in box.traces[0].error
    assert message.tool_call_id == "c1"
    assert len(message.content) < 2000


async def test_a_hanging_function_does_not_stop_the_others() -> None:
    box = toolbox(tool("slow_sync", timeout=0.05), tool("lookup"))
    began = time.perf_counter()
    await answer(box, "slow_sync")
    await answer(box, "lookup", '{"order": "A1"}')
    assert time.perf_counter() - began < 0.3
    assert not box.traces[1].error


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("weft_test_shop:nope", "has no `nope`"),
        ("weft_test_shop:NOT_A_FUNCTION", "is a int, not a function"),
        ("no_such_module:f", "there is no module `no_such_module`"),
        ("weft_test_shop:positional", "cannot be given by name"),
        ("weft_test_shop:unreadable", "have no JSON schema"),
        ("weft_test_shop", "write package.module:name"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_in_one_line(path: str, told: str) -> None:
    with pytest.raises(LoadError) as refused:
        PythonTool.load("t", path)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(LoadError, match="parameters is not a JSON schema"):
        tool("lookup", parameters={"type": "obj"})


def test_definitions_of_unknown_tools_are_refused() -> None:
    box = toolbox(tool("lookup"))
    assert [one["function"]["name"] for one in box.definitions()] == ["lookup"]
    with pytest.raises(Exception, match="there is no tool `x`"):
        box.definitions(["x"])
