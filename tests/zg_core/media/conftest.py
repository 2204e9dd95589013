"""A network with every type of service, and clients for it with and without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.zg_core.conftest import CALM
from zg_core import (
    AsyncEmbeddingClient,
    AsyncImageClient,
    AsyncSpeechClient,
    EmbeddingClient,
    ImageClient,
    SpeechClient,
)
from zg_core.localnet import LocalNet, LocalProvider, LocalWallet, ProviderSpec, speak
from zg_core.localnet.media.png import draw

PICTURE = draw("a picture to edit", 16, 16)
RECORDING = speak("one two three", seconds=2.5)
KINDS = ("TeeML", "TeeTLS", "TeeML-separated", "standard")


def spec(service: str, kind: str = "TeeML", model: str = "", **more: Any) -> ProviderSpec:
    prices = (7 * 10**12, 5 * 10**12) if service == "speech-to-text" else (0, 3 * 10**15)
    return ProviderSpec(
        model=model or f"{service}/{kind}",
        service_type=service,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
        input_price=prices[0],
        output_price=prices[1],
        lora=False,
        **more,
    )


SPECS = [
    *(spec("text-to-image", kind) for kind in KINDS),
    *(spec("speech-to-text", kind) for kind in KINDS),
    spec("image-editing"),
    spec("text-to-image", model="few", most_images=2, image_store=False, async_jobs=False),
    spec("speech-to-text", "TeeTLS", model="old-relay", signs_relayed_speech=False),
    spec("speech-to-text", model="events", speech_sse=True),
    spec("speech-to-text", model="counting", speech_usage="tokens"),
    ProviderSpec(model="embed", service_type="embedding", output_price=0, lora=False),
    ProviderSpec(model="chat", adapters=(("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "offloaded"),)),
]


@pytest.fixture(scope="session")
def market() -> Iterator[LocalNet]:
    with LocalNet(providers=SPECS, settings=CALM) as network:
        yield network


@pytest.fixture(scope="session")
def payer(market: LocalNet) -> LocalWallet:
    """A wallet with a funded sub-account at every provider."""
    rich = market.new_wallet()
    for provider in market.providers:
        market.open_account(rich, provider, 20 * 10**18)
    return rich


@pytest.fixture
def settings(market: LocalNet, payer: LocalWallet) -> dict[str, Any]:
    """Client settings for the network, without a provider."""
    return {
        "private_key": payer.private_key,
        "network": "local",
        "rpc_url": market.rpc_url,
        "ledger": market.ledger,
        "inference": market.inference,
        "environ": {},
    }


@pytest.fixture
def at(market: LocalNet) -> Iterator[Callable[[str], LocalProvider]]:
    """The provider of a model; all are honest again afterwards."""
    yield market.provider
    for one in market.providers:
        one.clear_faults()


class Drive:
    """Makes the same call with or without an event loop."""

    def __init__(self, *, loop: bool, settings: dict[str, Any]) -> None:
        self.loop = loop
        self.settings = settings

    def __repr__(self) -> str:
        return "async" if self.loop else "sync"

    def images(self, method: str, *args: Any, settings: dict[str, Any] | None = None, **more: Any) -> Any:
        return self._call((ImageClient, AsyncImageClient), method, args, settings or {}, more)

    def edits(self, *args: Any, **more: Any) -> Any:
        service = {"service_type": "image-editing", "model": "image-editing/TeeML"}
        return self.images("edit", *args, settings=service, **more)

    def embeddings(self, *args: Any, settings: dict[str, Any] | None = None, **more: Any) -> Any:
        return self._call((EmbeddingClient, AsyncEmbeddingClient), "embed", args, settings or {}, more)

    def speech(self, *args: Any, settings: dict[str, Any] | None = None, **more: Any) -> Any:
        return self._call((SpeechClient, AsyncSpeechClient), "transcribe", args, settings or {}, more)

    def stream(self, *args: Any, settings: dict[str, Any] | None = None, **more: Any) -> tuple[list[str], Any]:
        """The words of a stream as they came, and the stream."""
        if not self.loop:
            with SpeechClient(**self.settings | (settings or {})) as client:
                stream = client.transcribe_stream(*args, **more)
                return list(stream), stream

        async def main() -> tuple[list[str], Any]:
            async with AsyncSpeechClient(**self.settings | (settings or {})) as client:
                stream = client.transcribe_stream(*args, **more)
                return [words async for words in stream], stream

        return asyncio.run(main())

    def _call(self, kinds: Any, method: str, args: Any, settings: Any, more: Any) -> Any:
        if not self.loop:
            with kinds[0](**self.settings | settings) as client:
                return getattr(client, method)(*args, **more)

        async def main() -> Any:
            async with kinds[1](**self.settings | settings) as client:
                return await getattr(client, method)(*args, **more)

        return asyncio.run(main())


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def drive(request: pytest.FixtureRequest, settings: dict[str, Any]) -> Drive:
    return Drive(loop=request.param, settings=settings)
