"""Engines: where model replies come from. One small interface (`base`), one file per kind."""

from __future__ import annotations

from collections.abc import Mapping

from weft.engines.base import ChatRequest, ChatResult, Engine, EngineError
from weft_api.engine import Engine as EngineSettings

__all__ = ["ChatRequest", "ChatResult", "Engine", "EngineError", "NoEngine", "make_engine"]

API_KEY_VARIABLE = "WEFT_ENGINE_API_KEY"
"""Where a key is looked for when the manifest names no Secret, or its variable is unset."""


def make_engine(
    settings: EngineSettings | None, *, seed: int, environ: Mapping[str, str]
) -> Engine:
    """The engine of a pool, not started yet.

    `seed` is the pipeline's. `environ` is where secrets come from, and nowhere else: they are never
    part of settings, logs or errors. Raises `EngineError` when a key that is asked for is missing,
    or an extra is not installed.
    """
    # Imported here, because vLLM, torch and the rest must cost only those who use them.
    if settings is None:
        return NoEngine()
    if settings.vllm is not None:
        from weft.engines.vllm import Vllm

        return Vllm(settings.vllm, seed=seed)
    if settings.openai is not None:
        from weft.engines.openai import OpenAI

        return OpenAI(settings.openai, api_key=_api_key(settings, environ))
    if settings.simulator is not None:
        from weft.engines.simulator import Simulator

        return Simulator(settings.simulator, seed=seed)
    raise EngineError("engine: none of vllm, openai, simulator is given; give one of them")


class NoEngine(Engine):
    """For pools without an engine: refuses every call with a line that says so."""

    model = ""

    async def chat(self, request: ChatRequest) -> ChatResult:
        raise EngineError(
            "this pool has no engine, but its agent asked for a model; give the AgentPool "
            "spec.engine (simulator, openai or vllm)"
        )


def _api_key(settings: EngineSettings, environ: Mapping[str, str]) -> str | None:
    assert settings.openai is not None
    reference = settings.openai.api_key_secret_ref
    key = (environ.get(reference.variable) if reference else None) or environ.get(API_KEY_VARIABLE)
    if reference and not key:
        raise EngineError(
            f"engine.openai.apiKeySecretRef: no API key: neither {reference.variable} nor "
            f"{API_KEY_VARIABLE} is set in the environment; set one, or remove apiKeySecretRef "
            "if the endpoint asks for none"
        )
    return key or None
