"""What a provider says about itself over HTTP: its models, its adapter, its health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.localnet.model.engine import RuleModel
from zg_core.localnet.provider.onchain import tiers_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.localnet.provider.state import ProviderState

_STARTED = 1_767_225_600  # 2026-01-01T00:00:00Z; "created" of every local model
_CHAT_PARAMETERS = [
    "max_tokens",
    "response_format",
    "seed",
    "stop",
    "stream",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
]


_MODALITIES = {
    "chatbot": (("text",), "text"),
    "embedding": (("text",), "embedding"),
    "text-to-image": (("text",), "image"),
    "image-editing": (("text", "image"), "image"),
    "speech-to-text": (("audio",), "text"),
}


async def model_entries(state: ProviderState) -> list[dict[str, Any]]:
    """The ``data`` of ``GET /v1/models``: the model behind the provider, with prices and trust (0g-direct §4.8).

    Aliases are listed like models of their own: that they are renamed is nowhere said.
    """
    known = {entry.get("id"): entry for entry in await state.upstream.models()}
    listed = known.get(state.spec.model, {})
    if state.spec.service_type != "chatbot" and isinstance(state.upstream, RuleModel):
        listed = {}  # what the rule engine says of itself is about chat
    entry = {**_defaults(state), **listed, **_terms(state)}
    return [entry, *({**entry, "id": name, "name": name} for name in state.spec.aliases)]


def _defaults(state: ProviderState) -> dict[str, Any]:
    spec = state.spec
    read, made = _MODALITIES[spec.service_type]
    chat = spec.service_type == "chatbot"
    return {
        "id": spec.model,
        "object": "model",
        "created": _STARTED,
        "owned_by": "zerog-localnet",
        "name": spec.model,
        "description": "A deterministic rule engine on the local network",
        "context_length": spec.context_length,
        "max_completion_tokens": spec.context_length if chat else 0,
        "architecture": {
            "modality": f"{'+'.join(read)}->{made}",
            "input_modalities": list(read),
            "output_modalities": [made],
            "instruct_type": None,
            "tokenizer": "local",
        },
        "supported_parameters": list(_CHAT_PARAMETERS) if chat else [],
        "default_parameters": {},
    }


def _terms(state: ProviderState) -> dict[str, Any]:
    spec = state.spec
    pricing: dict[str, Any] = {"prompt": str(state.input_price), "completion": str(state.output_price)}
    if spec.tiers:
        snake = {
            "maxInputTokens": "max_input_tokens",
            "inputMultiplier": "input_multiplier",
            "outputMultiplier": "output_multiplier",
            "inputMultiplierDenominator": "input_multiplier_denominator",
            "outputMultiplierDenominator": "output_multiplier_denominator",
        }
        pricing["tiered_pricing"] = [{snake[name]: n for name, n in tier.items()} for tier in tiers_json(spec)]
    if spec.cache_divisor is not None:
        pricing["cache_token_billing"] = {"divisor": spec.cache_divisor}
    usd = {}
    if spec.usd_prices is not None:
        usd = {"pricing_usd": {**pricing, "prompt": spec.usd_prices[0], "completion": spec.usd_prices[1]}}
    attested = spec.kind != "standard"
    terms: dict[str, Any] = {
        "type": spec.service_type,
        "pricing": pricing,
        **usd,
        "verifiability": "TeeML" if attested else "standard",
        "tee_attested": attested,
        "tee_type": "TDX" if attested else "",
        "tee_verifier": "dstack" if attested else "",
    }
    if spec.kind == "TeeTLS":
        terms["provider_type"] = "centralized"
    elif spec.kind == "standard":
        terms["provider_type"] = "standard"
    return terms


def adapter_entries(state: ProviderState, user: str) -> list[dict[str, Any]]:
    """The fine-tuned adapters of a user: the local ones belong to whoever asks (0g-direct §8)."""
    return [adapter.to_json(user) for adapter in state.adapters.entries]


def health(states: Sequence[ProviderState]) -> dict[str, Any]:
    """``GET {status}/health`` (0g-direct §1.3), from what the providers have billed."""
    return {"services": [_health(state) for state in states]}


def _health(state: ProviderState) -> dict[str, Any]:
    entries = state.log.entries()
    checks = len(entries)
    return {
        "serviceType": state.spec.service_type,
        "model": state.spec.model,
        "provider": state.address,
        "status": "healthy" if not state.faults.active() else "warning",
        "checks": {"total": checks, "successful": checks, "failed": 0, "uptime": 100.0},
        "performance": {"response_time": {"avg": state.spec.first_token_delay * 1000, "unit": "ms", "samples": checks}},
        "lastCheck": int(state.clock.now()),
    }


async def all_models(states: Sequence[ProviderState]) -> dict[str, Any]:
    """``GET {status}/models``: every provider's model on chain with its address."""
    return {"data": [{**(await model_entries(state))[0], "provider": state.address} for state in states]}
