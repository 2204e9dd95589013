"""What a provider says about a model over HTTP: its size, what it takes, what it can do (0g-direct §4.8).

Nothing of this is signed or on chain, so it only serves to choose defaults and to fill a profile; prices, signer and
kind come from the chain. A provider may say anything: what is malformed or implausible counts as not said.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.errors import ProviderUnavailable
from zg_core.http.transport import BodyBroken, Request, Timeouts, read_all
from zg_core.jsontext import parse_json
from zg_core.pricing import Tariff

if TYPE_CHECKING:
    from zg_core.http.transport import Transport
    from zg_core.types import Service

__all__ = ["Catalogue", "ModelInfo", "model_info"]

LIFETIME = 600.0
_TIMEOUTS = Timeouts(connect=10.0, read=15.0)
_MAX_BYTES = 5 * 1024 * 1024  # 0g-direct §4.8
_MAX_TOKENS = 2**31 - 1
_MAX_ENTRIES = 4096
_MAX_WORDS = 256
_MAX_NAME = 256
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})  # worth asking again


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a provider says about one of its models. What it does not say is None or empty.

    Attributes:
        model: Name of the model, as asked for.
        service_type: As on chain: ``"chatbot"``, ``"embedding"``, …
        context_window: Tokens that prompt and answer may have together.
        max_output_tokens: Tokens that an answer may have.
        capabilities: Names of the request parameters it takes: ``"tools"``, ``"response_format"``, …
        inputs: Modalities it reads: ``"text"``, ``"image"``, ``"audio"``, ``"file"``, …
        outputs: Modalities it writes.

    Example:
        >>> info = ModelInfo("m", capabilities=frozenset({"tools", "response_format"}))
        >>> info.tools, info.json_mode, info.structured_output, info.reasoning, info.images
        (True, True, None, False, None)
    """

    model: str
    service_type: str = ""
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()

    def takes(self, *parameters: str) -> bool | None:
        """Whether it takes one of these request parameters; None if it does not say what it takes."""
        return any(name in self.capabilities for name in parameters) if self.capabilities else None

    @property
    def tools(self) -> bool | None:
        """Whether it calls tools."""
        return self.takes("tools", "tool_choice")

    @property
    def structured_output(self) -> bool | None:
        """Whether answers can be held to a JSON schema; None also where it names ``response_format`` alone."""
        if self.takes("structured_outputs") is False and "response_format" in self.capabilities:
            return None
        return self.takes("structured_outputs")

    @property
    def json_mode(self) -> bool | None:
        """Whether answers can be held to some JSON object."""
        return self.takes("response_format", "structured_outputs")

    @property
    def reasoning(self) -> bool | None:
        """Whether it can be told how much to reason."""
        return self.takes("reasoning", "reasoning_effort", "include_reasoning")

    @property
    def images(self) -> bool | None:
        """Whether it reads images."""
        return self._reads("image")

    @property
    def audio(self) -> bool | None:
        """Whether it reads audio."""
        return self._reads("audio")

    @property
    def files(self) -> bool | None:
        """Whether it reads files, such as PDF."""
        return self._reads("file")

    def _reads(self, modality: str) -> bool | None:
        return modality in self.inputs if self.inputs else None


def model_info(service: Service, model: str, listed: Any) -> ModelInfo:
    """What `listed`, the parsed answer of ``/v1/models``, says about `model`.

    Args:
        service: The provider's record on chain.
        model: Name of the model.
        listed: Anything; what does not have the form of 0g-direct §4.8 says nothing.
    """
    entry = _entry(service, model, listed)
    context = _count(entry.get("context_length"))
    output = _count(entry.get("max_completion_tokens"))
    if context is not None and output is not None and output > context:
        output = None
    form = entry.get("architecture")
    form = form if isinstance(form, dict) else {}
    reads, _, writes = _modality(form.get("modality"))
    return ModelInfo(
        model=model,
        service_type=service.service_type,
        context_window=context,
        max_output_tokens=output,
        capabilities=_words(entry.get("supported_parameters")),
        inputs=_words(form.get("input_modalities")) or _words(reads.split("+")),
        outputs=_words(form.get("output_modalities")) or _words(writes.split("+")),
    )


class Catalogue:
    """Reads and remembers what providers say, each for ten minutes.

    Args:
        transport: HTTP.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._listed: dict[tuple[str, str], tuple[float, Any]] = {}

    async def info(self, service: Service, model: str) -> ModelInfo:
        """What the provider of `service` says about `model`.

        Raises:
            ProviderUnavailable: it cannot be asked now; one that has no such list says nothing instead.
        """
        return model_info(service, model, await self._listing(service))

    async def tariff(self, service: Service, model: str) -> Tariff | None:
        """The provider's list price of `model`; None where it says none, or cannot be asked now."""
        try:
            return Tariff.read(service, _entry(service, model, await self._listing(service)))
        except ProviderUnavailable:
            return None

    async def _listing(self, service: Service) -> Any:
        key = (service.provider, service.url)
        if (listed := self._fresh(key)) is None:
            async with self._transport.lock(f"catalogue {service.provider}"):
                if (listed := self._fresh(key)) is None:
                    listed = (time.monotonic(), await self._read(f"{service.url}/v1/models"))
                    self._listed[key] = listed
        return listed[1]

    def _fresh(self, key: tuple[str, str]) -> tuple[float, Any] | None:
        kept = self._listed.get(key)
        return kept if kept is not None and time.monotonic() - kept[0] < LIFETIME else None

    async def _read(self, url: str) -> Any:
        answer = await self._transport.send(Request("GET", url, timeouts=_TIMEOUTS))
        try:
            body = await read_all(answer, _MAX_BYTES)
        except BodyBroken as error:
            raise ProviderUnavailable(f"{url} cannot be read: {error}", hint="try again") from error
        if answer.status in _LATER:
            raise ProviderUnavailable(f"{url} answered {answer.status}", hint="try again", status=answer.status)
        try:
            return parse_json(body) if answer.status == 200 else None
        except (ValueError, RecursionError):
            return None


def _entry(service: Service, model: str, listed: Any) -> dict[str, Any]:
    entries = listed.get("data") if isinstance(listed, dict) else None
    known = [e for e in entries[:_MAX_ENTRIES] if isinstance(e, dict)] if isinstance(entries, list) else []
    for name in ("id", "canonical_id"):
        for entry in known:
            if entry.get(name) == model:
                return entry
    # The only model of a provider is the one on chain (and the base of its adapters), whatever it calls it here.
    return known[0] if len(known) == 1 and not service.multi_model else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value <= _MAX_TOKENS else None


def _words(value: Any) -> frozenset[str]:
    entries = value[:_MAX_WORDS] if isinstance(value, list) else []
    lower = (entry.lower() for entry in entries if isinstance(entry, str) and len(entry) <= _MAX_NAME)
    return frozenset(word for word in lower if _WORD.fullmatch(word))


def _modality(value: Any) -> tuple[str, str, str]:
    return value.partition("->") if isinstance(value, str) and len(value) <= _MAX_NAME else ("", "", "")
