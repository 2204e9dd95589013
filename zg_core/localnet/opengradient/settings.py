"""How a local gateway asks for money, and which models it offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MODELS: Final = {
    "openai": (
        "gpt-4.1-2025-04-14", "gpt-4.1-mini", "gpt-4.1-nano", "o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5.2",
        "gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano", "gpt-5.5", "gpt-5.6", "gpt-5-nano", "gpt-image-2",
    ),
    "anthropic": (
        "claude-sonnet-4-5", "claude-sonnet-4-6", "claude-haiku-4-5", "claude-opus-4-5", "claude-opus-4-6",
        "claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5",
    ),
    "google": (
        "gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite", "gemini-3-flash-preview",
        "gemini-3.1-pro-preview", "gemini-3.1-flash-lite-preview", "gemini-3.5-flash", "gemini-2.5-flash-image",
        "gemini-3.1-flash-image",
    ),
    "x-ai": (
        "grok-4", "grok-4-fast", "grok-4-1-fast", "grok-4-1-fast-non-reasoning", "grok-4.20-reasoning",
        "grok-4.20-non-reasoning", "grok-code-fast-1", "grok-2-image",
    ),
    "bytedance": ("seed-1.6", "seed-1.8", "seed-2.0-lite", "deepseek-v4-flash", "deepseek-v4-pro"),
    "nous": ("hermes-4-405b",),
    "zai": ("glm-5.2",),
}  # fmt: skip
"""Models by vendor, as requests name them: without the vendor."""

IMAGE_MODELS: Final = frozenset(
    {"gpt-image-2", "gemini-2.5-flash-image", "gemini-3.1-flash-image", "grok-2-image", "seedream-4.0", "glm-image"}
)

INPUT_PRICE: Final = 2 * 10**12
OUTPUT_PRICE: Final = 8 * 10**12
"""The token's smallest unit, for one token of a request and of an answer."""
USD_PER_TOKEN: Final = "0.05"  # noqa: S105 - the price of one OPG

OPG: Final = 10**18


@dataclass(frozen=True)
class GatewaySettings:
    """How a gateway asks for money.

    Attributes:
        cap: What a permit must allow, in the token's smallest unit: newer gateways ask for 5 OPG, older for 0.1.
        lifetime: Seconds for which a permit must be good: newer 600, older 300.
        refuse_before: Seconds before a permit ends from which on its session takes no new request.
        idle: Seconds after its last request at which a session is settled; None never settles by itself.
        scheme: ``"upto"``; ``"exact-permit2"`` or ``"exact-eip3009"``, which settle each request at once.
        price: What a request costs with the latter two.
        identifier: Whether the extension ``payment-identifier`` is offered.
        cost_block: Whether answers say what they cost.
        older: Whether requests are hashed as gateways of April 2026 do.
    """

    cap: int = 5 * OPG
    lifetime: int = 600
    refuse_before: int = 420
    idle: float | None = 5.0
    scheme: Literal["upto", "exact-permit2", "exact-eip3009"] = "upto"
    price: int = OPG // 100
    identifier: bool = False
    cost_block: bool = True
    older: bool = False

    @classmethod
    def april(cls) -> GatewaySettings:
        """As gateways were in April 2026."""
        return cls(cap=OPG // 10, lifetime=300, refuse_before=120, cost_block=False, older=True)


def vendor_of(model: str) -> str | None:
    """Whose model it is; None for one that is not offered."""
    return next((vendor for vendor, models in MODELS.items() if model in models), None)


def cost_of(prompt_tokens: int, completion_tokens: int) -> int:
    """What a call costs, in the token's smallest unit."""
    return prompt_tokens * INPUT_PRICE + completion_tokens * OUTPUT_PRICE
