"""What a provider says about a model over HTTP: its size, what it takes, what it can do (0g-direct §4.8).

Nothing of this is signed or on chain, so it only serves to choose defaults and to fill a profile; prices, signer and
kind come from the chain. A provider may say anything: what is malformed or implausible counts as not said.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError, ProviderUnavailable
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import read_all
from zg_core.http.provider_requests import provider_request
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json
from zg_core.pricing import Tariff
from zg_core.tasks.models import ModelInfo
from zg_core.verify.reach import ADAPTER_PREFIX

if TYPE_CHECKING:
    from zg_core.http.transport import Transport
    from zg_core.types import ServiceRecord

__all__ = ["Catalogue", "model_info"]

LIFETIME = 600.0
_TIMEOUTS = Timeouts(connect=10.0, read=15.0, whole=30.0)
_MAX_BYTES = 5 * 1024 * 1024  # 0g-direct §4.8
_MAX_TOKENS = 2**31 - 1
_MAX_ENTRIES = 4096
_MAX_WORDS = 256
_MAX_NAME = 256
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})  # worth asking again


def model_info(service: ServiceRecord, model: str, listed: Any) -> ModelInfo:
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

    async def info(self, service: ServiceRecord, model: str) -> ModelInfo:
        """What the provider of `service` says about `model`.

        Raises:
            ConfigError: its URL is none that may be used.
            ProviderUnavailable: it cannot be asked now; one that has no such list says nothing instead.
        """
        return model_info(service, model, await self._listing(service))

    async def tariff(self, service: ServiceRecord, model: str) -> Tariff | None:
        """The provider's list price of `model`; None where it says none, or cannot be asked now."""
        try:
            return Tariff.read(service, _entry(service, model, await self._listing(service)))
        except (ProviderUnavailable, ConfigError):
            return None

    async def names(self, service: ServiceRecord) -> list[str]:
        """The models that the provider of `service` lists, as it spells them; the one on chain where it lists none.

        Raises:
            ConfigError: its URL is none that may be used.
            ProviderUnavailable: it cannot be asked now.
        """
        known = [entry.get("id") for entry in _entries(await self._listing(service))]
        names = [each for each in known if isinstance(each, str) and 0 < len(each) <= _MAX_NAME]
        return list(dict.fromkeys(names)) or [service.model]

    async def _listing(self, service: ServiceRecord) -> Any:
        key = (service.provider, service.url)
        if (listed := self._fresh(key)) is None:
            async with self._transport.lock(f"catalogue {service.provider}"):
                if (listed := self._fresh(key)) is None:
                    listed = (time.monotonic(), await self._read(service))
                    self._listed[key] = listed
        return listed[1]

    def _fresh(self, key: tuple[str, str]) -> tuple[float, Any] | None:
        kept = self._listed.get(key)
        return kept if kept is not None and time.monotonic() - kept[0] < LIFETIME else None

    async def _read(self, service: ServiceRecord) -> Any:
        request = provider_request("GET", service, "/v1/models", timeouts=_TIMEOUTS)
        url = request.url
        answer = await self._transport.send(request)
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


def _entries(listed: Any) -> list[dict[str, Any]]:
    entries = listed.get("data") if isinstance(listed, dict) else None
    return [each for each in entries[:_MAX_ENTRIES] if isinstance(each, dict)] if isinstance(entries, list) else []


def _entry(service: ServiceRecord, model: str, listed: Any) -> dict[str, Any]:
    known = _entries(listed)
    for wanted in (model, service.model) if model.startswith(ADAPTER_PREFIX) else (model,):
        for name in ("id", "canonical_id"):
            for entry in known:
                if entry.get(name) == wanted:
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
