"""What the image tool and the audio reader are made with: settings as of the chat model, for other services."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from langchain_zerog._fields import LangChainFields
from zg_core.tasks.base import IMAGES, TRANSCRIPTION

__all__ = ["ImageSettings", "MediaSettings", "SpeechSettings"]


class MediaSettings(LangChainFields):
    """Settings of a client for what is no text; ``ZEROG_PROVIDER`` and ``ZEROG_MODEL`` are not read."""

    model: str | None = None
    """Name of the model; without it the provider's own."""
    provider: str | None = None
    """Address of the provider; without it one is chosen among the services of this type."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further request parameters."""

    _extra: ClassVar[tuple[str, ...]] = ("model_kwargs",)


class ImageSettings(MediaSettings):
    """Of a client that makes images."""

    _service_type: ClassVar[str | None] = IMAGES.service_type


class SpeechSettings(MediaSettings):
    """Of a client that writes recordings down."""

    _service_type: ClassVar[str | None] = TRANSCRIPTION.service_type
