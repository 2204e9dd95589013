"""The models that OpenGradient is known to offer. Others may be asked for, too: gateways know more than lists."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["OpenGradientModel", "vendor_of", "wire_name"]


class OpenGradientModel(StrEnum):
    """Models by vendor (opengradient §1.2).

    Example:
        >>> OpenGradientModel.GPT_5 == "openai/gpt-5", wire_name(OpenGradientModel.CLAUDE_SONNET_4_6)
        (True, 'claude-sonnet-4-6')
    """

    GPT_4_1_2025_04_14 = "openai/gpt-4.1-2025-04-14"
    GPT_4_1_MINI = "openai/gpt-4.1-mini"
    GPT_4_1_NANO = "openai/gpt-4.1-nano"
    O3 = "openai/o3"
    O4_MINI = "openai/o4-mini"
    GPT_5 = "openai/gpt-5"
    GPT_5_MINI = "openai/gpt-5-mini"
    GPT_5_2 = "openai/gpt-5.2"
    GPT_5_4 = "openai/gpt-5.4"
    GPT_5_4_MINI = "openai/gpt-5.4-mini"
    GPT_5_4_NANO = "openai/gpt-5.4-nano"
    GPT_5_5 = "openai/gpt-5.5"
    GPT_IMAGE_2 = "openai/gpt-image-2"
    CLAUDE_SONNET_4_5 = "anthropic/claude-sonnet-4-5"
    CLAUDE_SONNET_4_6 = "anthropic/claude-sonnet-4-6"
    CLAUDE_HAIKU_4_5 = "anthropic/claude-haiku-4-5"
    CLAUDE_OPUS_4_5 = "anthropic/claude-opus-4-5"
    CLAUDE_OPUS_4_6 = "anthropic/claude-opus-4-6"
    CLAUDE_OPUS_4_7 = "anthropic/claude-opus-4-7"
    CLAUDE_OPUS_4_8 = "anthropic/claude-opus-4-8"
    GEMINI_2_5_FLASH = "google/gemini-2.5-flash"
    GEMINI_2_5_PRO = "google/gemini-2.5-pro"
    GEMINI_2_5_FLASH_LITE = "google/gemini-2.5-flash-lite"
    GEMINI_2_5_FLASH_IMAGE = "google/gemini-2.5-flash-image"
    GEMINI_3_FLASH_PREVIEW = "google/gemini-3-flash-preview"
    GEMINI_3_1_PRO_PREVIEW = "google/gemini-3.1-pro-preview"
    GEMINI_3_1_FLASH_LITE_PREVIEW = "google/gemini-3.1-flash-lite-preview"
    GEMINI_3_1_FLASH_IMAGE = "google/gemini-3.1-flash-image"
    GEMINI_3_5_FLASH = "google/gemini-3.5-flash"
    GROK_4 = "x-ai/grok-4"
    GROK_4_FAST = "x-ai/grok-4-fast"
    GROK_4_1_FAST = "x-ai/grok-4-1-fast"
    GROK_4_1_FAST_NON_REASONING = "x-ai/grok-4-1-fast-non-reasoning"
    GROK_4_20_REASONING = "x-ai/grok-4.20-reasoning"
    GROK_4_20_NON_REASONING = "x-ai/grok-4.20-non-reasoning"
    GROK_CODE_FAST_1 = "x-ai/grok-code-fast-1"
    GROK_2_IMAGE = "x-ai/grok-2-image"
    SEED_1_6 = "bytedance/seed-1.6"
    SEED_1_8 = "bytedance/seed-1.8"
    SEED_2_0_LITE = "bytedance/seed-2.0-lite"
    DEEPSEEK_V4_FLASH = "bytedance/deepseek-v4-flash"
    DEEPSEEK_V4_PRO = "bytedance/deepseek-v4-pro"
    SEEDREAM_4_0 = "bytedance/seedream-4.0"
    SEEDANCE_4_5 = "bytedance/seedance-4.5"
    HERMES_4_405B = "nous/hermes-4-405b"
    HERMES_4_70B = "nous/hermes-4-70b"
    GLM_5_2 = "zai/glm-5.2"
    GLM_IMAGE = "zai/glm-image"


_VENDORS = ("claude", "anthropic"), ("gemini", "google"), ("grok", "x-ai"), ("gpt", "openai"), ("o", "openai")


def wire_name(model: str) -> str:
    """The name that a gateway is asked for: what follows the vendor's.

    Example:
        >>> wire_name("anthropic/claude-opus-5"), wire_name("gpt-5")
        ('claude-opus-5', 'gpt-5')
    """
    return model.rpartition("/")[2]


def vendor_of(model: str) -> str:
    """Whose model it is, "" where the name does not tell.

    Example:
        >>> vendor_of("claude-opus-5"), vendor_of("x-ai/grok-9"), vendor_of("glm-5.2")
        ('anthropic', 'x-ai', '')
    """
    vendor, slash, name = model.rpartition("/")
    if slash:
        return vendor
    return next((whose for start, whose in _VENDORS if name.startswith(start)), "")
