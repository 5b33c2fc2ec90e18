"""Engines for a run: put in place of the manifest's by a flag, and asked whether they are there."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from pydantic import ValidationError

from weft.cli.refused import Refused, parted
from weft.engines import API_KEY_VARIABLE, EngineError, make_engine
from weft_api.engine import Engine, OpenAIEngine, SimulatorEngine, VllmEngine
from weft_api.errors import ManifestError
from weft_api.load import Manifests
from weft_api.pool import AgentPool

OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
ASK_TIMEOUT = 30.0
"""Seconds that an endpoint has to answer before the run starts."""

_FIELD = re.compile(r"engine\.openai\.(\w+): ")
_FLAGS = {"baseURL": "--base-url", "model": "--model", "apiKeySecretRef": "--api-key-env"}


@dataclass(frozen=True)
class Flags:
    """`--engine` and what belongs to it."""

    kind: str
    base_url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    vllm_args: dict[str, Any] = field(default_factory=dict)

    def engine(self) -> Engine:
        """The engine that the flags describe. Raises `Refused`."""
        if self.kind != "simulator" and not self.model:
            raise Refused("run: --engine needs --model; name the model, as the engine knows it")
        if self.kind != "openai" and (self.base_url or self.api_key_env):
            raise Refused(
                "run: --base-url and --api-key-env belong to --engine openai; leave them out"
            )
        if self.kind != "vllm" and self.vllm_args:
            raise Refused("run: --vllm-arg belongs to --engine vllm; leave it out")
        try:
            if self.kind == "openai":
                base = self.base_url or OPENAI
                return Engine(openai=OpenAIEngine(baseURL=base, model=self.model or ""))
            if self.kind == "vllm":
                return Engine(vllm=VllmEngine(model=self.model or "", args=self.vllm_args))
            return Engine(simulator=SimulatorEngine())
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            flag = _FLAGS.get(str(fault["loc"][-1]), "--engine")
            fix = "write it as in http://127.0.0.1:8000/v1"
            problem = f"{fault['input']!r:.200} cannot be used"
            raise Refused(f"{flag}: {problem}; {fix}") from None

    def key_from(self, environ: Mapping[str, str]) -> str | None:
        """The API key; OpenAI's own variable counts for OpenAI's own address only.
        Raises `Refused` for a variable that is not set."""
        if self.kind != "openai":
            return None
        if self.api_key_env:
            if not environ.get(self.api_key_env):
                raise Refused(
                    f"--api-key-env: the variable {self.api_key_env} is not set; "
                    f"export {self.api_key_env}=…"
                )
            return environ[self.api_key_env]
        return environ.get(OPENAI_KEY) if self.base_url in (None, OPENAI) else None


def vllm_args(given: Iterable[str]) -> dict[str, Any]:
    """From `--vllm-arg NAME=VALUE`, the value as YAML. Raises `Refused`."""
    made: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            equals = ""
        if not name or not equals:
            raise Refused(
                f"--vllm-arg: {each!r:.80} is not NAME=VALUE; write it as in max_model_len=8192"
            )
        made[name.lstrip("-").replace("-", "_")] = value
    return made


def put_in_place(manifests: Manifests, flags: Flags) -> Manifests:
    """The flags' engine in all pools that have one; a simulator for a simulator is left as it is.

    The key goes into this process's environment, where the agents find it. Raises `Refused`."""
    engine = flags.engine()
    if key := flags.key_from(os.environ):
        os.environ[API_KEY_VARIABLE] = key
    if not any(pool.spec.engine for pool in manifests.pools):
        raise Refused("--engine: no pool of this pipeline has an engine; leave --engine out")

    def replaced(pool: AgentPool) -> AgentPool:
        if pool.spec.engine is None or (engine.simulator and pool.spec.engine.simulator):
            return pool
        spec = pool.spec.model_copy(update={"engine": engine})
        return pool.model_copy(update={"spec": spec})

    return replace(manifests, pools=[replaced(pool) for pool in manifests.pools])


def unavailable(pools: Iterable[AgentPool], *, by_flag: bool) -> list[ManifestError]:
    """Pools whose engine cannot answer: no endpoint there, no key, no such model, not installed.

    Each endpoint is asked once. `by_flag`: the engines come from `--engine`."""
    asked: dict[str, AgentPool] = {}
    for pool in pools:
        if pool.spec.engine is not None and pool.spec.engine.kind != "simulator":
            asked.setdefault(pool.spec.engine.model_dump_json(), pool)
    if not asked:
        return []
    answers = asyncio.run(_ask_all([pool.spec.engine for pool in asked.values()]))
    return [
        _fault(pool, answer, by_flag=by_flag)
        for pool, answer in zip(asked.values(), answers, strict=True)
        if answer
    ]


async def _ask_all(engines: list[Engine | None]) -> list[str]:
    return await asyncio.gather(*map(_ask, engines))


async def _ask(settings: Engine | None) -> str:
    """What is wrong, or ""."""
    if settings is not None and settings.vllm is not None:
        # Loading the model would take minutes and the memory of the agents' own.
        missing = importlib.util.find_spec("vllm") is None
        return "vLLM is not installed; pip install 'weft[vllm]'" if missing else ""
    try:
        engine = make_engine(settings, seed=0, environ=os.environ)
    except EngineError as error:
        return str(error)
    try:
        async with asyncio.timeout(ASK_TIMEOUT):
            await engine.start()
    except EngineError as error:
        return str(error)
    except TimeoutError:
        return f"the endpoint gave no answer in {ASK_TIMEOUT:g} s; see whether it is up"
    finally:
        await engine.close()
    return ""


def _fault(pool: AgentPool, text: str, *, by_flag: bool) -> ManifestError:
    named = _FIELD.match(text)
    setting = named[1] if named else ""
    problem, fix = parted(text[named.end() :] if named else text, "correct the engine")
    if by_flag:
        return ManifestError(_FLAGS.get(setting, "--engine"), problem, fix)
    kind = pool.spec.engine.kind if pool.spec.engine else "openai"
    path = ("spec", "engine", kind, setting) if setting else ("spec", "engine", kind)
    return pool.fault(path, problem, fix)
