"""Who can answer a request, by the Router's rules: filters first, then the order (0g-router §5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.keys import checksum_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zg_core.localnet.provider.state import ProviderState

_PREFIX = "x-0g-provider-"
_TIERS = {"standard": 0, "verified": 1, "private": 2}
_SOFT = ("seed", "presence_penalty", "frequency_penalty", "reasoning_effort", "logit_bias")
USD_PER_OG = 0.25


class RefusalError(Exception):
    """A refusal in the Router's own form."""

    def __init__(self, status: int, code: str, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.code, self.kind = status, code, kind
        self.headers: dict[str, str] = {}


@dataclass(frozen=True)
class Asked:
    """What the headers (and the deprecated object in the body) ask for."""

    address: str = ""
    identity: str = ""
    sort: str = ""
    trust: str = ""
    fallbacks: bool = True
    require_parameters: bool = False
    prompt_cap: float | None = None
    completion_cap: float | None = None


def canonical_id(state: ProviderState) -> str:
    """What the Router calls a model, whatever the chain does: without the vendor, in lower case."""
    return state.spec.model.rpartition("/")[2].lower()


def tier(state: ProviderState) -> str:
    """The trust tier of a provider."""
    return {"standard": "standard", "TeeTLS": "verified"}.get(state.spec.kind, "private")


def read_wishes(headers: Mapping[str, str], body: Any) -> Asked:
    """What is asked for.

    Raises:
        RefusalError: a header is there and malformed.
    """
    said = {
        name: headers.get(_PREFIX + name, "").strip()
        for name in (
            "address",
            "identity",
            "sort",
            "trust-mode",
            "allow-fallbacks",
            "require-parameters",
            "max-price-usd-prompt",
            "max-price-usd-completion",
        )
    }
    old = body.get("provider") if isinstance(body, dict) else None
    if isinstance(old, dict):
        for name, field in (("address", "address"), ("sort", "sort"), ("trust-mode", "trust_mode")):
            said[name] = said[name] or str(old.get(field) or "")
    if said["address"]:
        try:
            said["address"] = checksum_address(said["address"])
        except ValueError:
            raise RefusalError(400, "invalid_provider_header", "X-0G-Provider-Address is no address") from None
    if said["sort"] not in ("", "latency", "price"):
        raise RefusalError(400, "invalid_provider_header", "X-0G-Provider-Sort must be latency or price")
    if said["trust-mode"] not in ("", "verified", "private"):
        raise RefusalError(400, "invalid_trust_mode", "trust mode must be verified or private")
    for name in ("allow-fallbacks", "require-parameters"):
        if said[name] not in ("", "true", "false"):
            raise RefusalError(400, "invalid_provider_header", f"X-0G-Provider-{name} must be true or false")
    caps: list[float | None] = []
    for name in ("max-price-usd-prompt", "max-price-usd-completion"):
        try:
            caps.append(float(said[name]) if said[name] else None)
        except ValueError:
            caps.append(-1.0)
        if caps[-1] is not None and not 0 <= caps[-1] < 1e9:
            raise RefusalError(400, "invalid_max_price_usd", "the price ceiling must be a finite number")
    fallbacks = said["allow-fallbacks"] != "false" if said["allow-fallbacks"] else not said["address"]
    return Asked(
        said["address"],
        said["identity"],
        said["sort"],
        said["trust-mode"],
        fallbacks,
        said["require-parameters"] == "true",
        caps[0],
        caps[1],
    )


def candidates(
    states: Sequence[ProviderState], service_type: str, model: str, asked: Asked, body: Any
) -> list[ProviderState]:
    """The providers that a request may go to, in order.

    Raises:
        RefusalError: there are none.
    """
    serving = [state for state in states if state.spec.service_type == service_type]
    named = [state for state in serving if model in (canonical_id(state), state.spec.model, *state.spec.aliases)]
    if not named:
        raise RefusalError(404, "model_not_found", f"model {model!r} not found", "not_found_error")
    found = named
    if asked.address:
        pinned = [state for state in states if state.address == asked.address]
        found = [state for state in named if state.address == asked.address]
        if not found:
            what = "does not serve this model" if pinned else "not found"
            raise RefusalError(400, "provider_model_mismatch" if pinned else "", f"provider {what}")
    if asked.identity:
        found = [state for state in found if asked.identity in state.spec.identities and state.spec.kind == "TeeTLS"]
        if not found:
            raise RefusalError(400, "provider_model_mismatch", "no provider with this identity serves the model")
    found = _by_trust(found, asked)
    found = _by_price(found, asked)
    if isinstance(body, dict) and asked.require_parameters and (missing := [name for name in _SOFT if name in body]):
        raise RefusalError(400, "model_not_capable", f"no provider supports: {missing[0]}")
    key = (lambda state: state.spec.first_token_delay) if asked.sort == "latency" else _price
    return sorted(found, key=key)


def _by_trust(found: list[ProviderState], asked: Asked) -> list[ProviderState]:
    if not asked.trust:
        return found
    kept = [state for state in found if _TIERS[tier(state)] >= _TIERS[asked.trust]]
    if not kept and asked.address:
        message = f"pinned provider has trust tier {tier(found[0])}"
        raise RefusalError(403, "access_denied", message, "permission_error")
    if not kept:
        raise RefusalError(503, "no_provider_for_trust_mode", f"no {asked.trust} provider is available", "server_error")
    return kept


def _by_price(found: list[ProviderState], asked: Asked) -> list[ProviderState]:
    caps = (asked.prompt_cap, asked.completion_cap)
    kept = [
        state
        for state in found
        if all(cap is None or usd <= cap for cap, usd in zip(caps, usd_per_million(state), strict=True))
    ]
    if not kept:
        pinned = bool(asked.address)
        code = "pinned_provider_exceeds_max_price" if pinned else "no_provider_within_max_price"
        raise RefusalError(400, code, "every provider is dearer than the ceiling")
    return kept


def usd_per_million(state: ProviderState) -> tuple[float, float]:
    """What a million tokens of prompt and of answer cost in USD."""
    inward, outward = state.prices.at(0)
    return inward * 10**6 / 10**18 * USD_PER_OG, outward * 10**6 / 10**18 * USD_PER_OG


def _price(state: ProviderState) -> float:
    return float(sum(state.prices.at(0)))


def pinned_to(asked: Asked, trust: str) -> Asked:
    """With the floor that a key itself carries."""
    if trust and _TIERS.get(trust, 0) > _TIERS.get(asked.trust or "standard", 0):
        return replace(asked, trust=trust)
    return asked


def model_rows(states: Sequence[ProviderState]) -> list[dict[str, Any]]:
    """``GET /models``: one row a canonical id, with the cheapest price and the best of everything."""
    rows: dict[str, dict[str, Any]] = {}
    for state in states:
        name, row = canonical_id(state), provider_row(state)
        known = rows.get(name)
        if known is None:
            trust = row["verifiability"]
            rows[name] = {
                "id": name,
                "object": "model",
                "created": 1_767_225_600,
                "owned_by": "0g",
                "name": name,
                "type": state.spec.service_type,
                "context_length": state.spec.context_length,
                "max_completion_tokens": state.spec.context_length,
                "supported_parameters": row["supported_parameters"],
                "supported_formats": ["openai"],
                "default_parameters": {},
                "pricing": dict(row["pricing"]),
                "pricing_usd": dict(row["pricing_usd"]),
                "provider_count": 1,
                "verifiability": trust,
                "tee_attested": trust != "None",
                "tee_type": "TDX",
                "tee_verifier": "dstack",
                "description": "",
                "expiration_date": None,
                "architecture": row["architecture"],
            }
            continue
        known["provider_count"] += 1
        for field in ("prompt", "completion"):
            known["pricing"][field] = str(min(int(known["pricing"][field]), int(row["pricing"][field])))
    return list(rows.values())


def provider_row(state: ProviderState) -> dict[str, Any]:
    """``GET /providers``: no URL and no signer in it, those are on chain."""
    spec, (inward, outward) = state.spec, state.prices.at(0)
    usd = usd_per_million(state)
    chat = spec.service_type == "chatbot"
    return {
        "address": state.address,
        "model_id": spec.model,
        "canonical_id": canonical_id(state),
        "name": spec.model,
        "service_type": spec.service_type,
        "type": spec.service_type,
        "trust_mode": tier(state),
        "verifiability": {"standard": "None", "TeeTLS": "TeeTLS"}.get(spec.kind, "TeeML"),
        "tee_acknowledged": spec.acknowledged,
        "tee_attested": spec.kind != "standard",
        "tee_type": "TDX",
        "tee_verifier": "dstack",
        "is_healthy": True,
        "latency": int(spec.first_token_delay * 1000),
        "uptime": 100,
        "pricing": {"prompt": str(inward), "completion": str(outward)},
        "pricing_usd": {"prompt": f"{usd[0] / 10**6:.18f}", "completion": f"{usd[1] / 10**6:.18f}"},
        "context_length": spec.context_length,
        "max_completion_tokens": spec.context_length,
        "supported_parameters": ["max_tokens", "temperature", "tools", "tool_choice", "response_format", "stream"]
        if chat
        else [],
        "supported_formats": ["openai"],
        "default_parameters": {},
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "provider_name": "local",
        "provider_country": "",
        "serving_domain": "",
        "expiration_date": None,
        "provider_identity": spec.identities[0] if spec.kind == "TeeTLS" else None,
    }
