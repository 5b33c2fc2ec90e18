"""From a manifest's `engine` to an engine: the right kind; secrets only from the environment."""

from __future__ import annotations

import subprocess
import sys

import pytest

from weft.engines import ChatRequest, EngineError, make_engine
from weft.engines.openai import OpenAI
from weft.engines.simulator import Simulator
from weft.row import ChatMessage
from weft_api.engine import ApiKeyRef, Engine, OpenAIEngine, SimulatorEngine, VllmEngine

URL = "http://127.0.0.1:9/v1"


def openai(*, secret: bool) -> Engine:
    reference = ApiKeyRef(name="openai") if secret else None
    return Engine(openai=OpenAIEngine(base_url=URL, model="m", api_key_secret_ref=reference))


async def test_a_pool_without_engine_refuses_calls_in_one_clear_line() -> None:
    engine = make_engine(None, seed=0, environ={})
    await engine.start()
    with pytest.raises(EngineError, match=r"give the AgentPool spec\.engine"):
        await engine.chat(ChatRequest(messages=[ChatMessage("user", "x")]))


def test_each_kind_is_made_by_its_settings() -> None:
    assert isinstance(
        make_engine(Engine(simulator=SimulatorEngine()), seed=0, environ={}), Simulator
    )
    assert isinstance(make_engine(openai(secret=False), seed=0, environ={}), OpenAI)


@pytest.mark.parametrize(
    ("secret", "environ", "key"),
    [
        (False, {}, None),
        (False, {"OPENAI_API_KEY": "other"}, None),
        (False, {"WEFT_ENGINE_API_KEY": "w"}, "w"),
        (True, {"OPENAI_API_KEY": "o"}, "o"),
        (True, {"OPENAI_API_KEY": "o", "WEFT_ENGINE_API_KEY": "w"}, "o"),
        (True, {"WEFT_ENGINE_API_KEY": "w"}, "w"),
    ],
)
def test_the_key_is_the_secrets_variable_or_wefts_own(
    secret: bool, environ: dict[str, str], key: str | None
) -> None:
    engine = make_engine(openai(secret=secret), seed=0, environ=environ)
    assert isinstance(engine, OpenAI)
    assert engine._key == key


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}])
def test_a_missing_key_is_told_with_the_variables_that_are_looked_at(
    environ: dict[str, str],
) -> None:
    with pytest.raises(EngineError, match="neither OPENAI_API_KEY nor WEFT_ENGINE_API_KEY is set"):
        make_engine(openai(secret=True), seed=0, environ=environ)


async def test_without_vllm_installed_the_extra_is_named() -> None:
    try:
        import vllm  # noqa: F401
    except ImportError:
        engine = make_engine(Engine(vllm=VllmEngine(model="m")), seed=0, environ={})
        with pytest.raises(EngineError, match=r'pip install "weft\[vllm\]"'):
            await engine.start()
    else:
        pytest.skip("vLLM is installed here")


def test_importing_the_engines_costs_nobody_what_he_does_not_use() -> None:
    code = (
        "import sys; import weft.engines, weft.engines.simulator;"
        "print([m for m in ('vllm','torch','aiohttp','openai','ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
