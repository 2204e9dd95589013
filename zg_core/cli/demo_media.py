"""The part of ``zerog demo`` that is no text: embeddings, an image and a recording, each verified and settled."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zg_core import ChatClient, ImageClient, SpeechClient, neuron
from zg_core.chain.rpc import JsonRpc
from zg_core.contracts.settlements import SettlementStatus, read_settlements
from zg_core.http.transport import SyncTransport, run
from zg_core.receipts.anchors import Anchor
from zg_core.receipts.checking import check
from zg_core.tasks.base import EMBEDDINGS
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from zg_core import Network, Receipt
    from zg_core.localnet import LocalNet, LocalProvider

__all__ = ["MODELS", "show"]

MODELS = ("embedding", "image", "speech")
"""What the demo's network serves beside chat."""
PROMPT = "A lighthouse on a cliff, at dawn"
SAID = "Every word of this recording is paid for and proven."


class Shows(Protocol):
    """How the demo prints."""

    def line(self, name: str, value: str) -> None:
        """One fact."""
        ...

    def check(self, claim: str, holds: bool, otherwise: str = "") -> None:
        """One claim, checked."""
        ...

    def title(self, text: str) -> None:
        """What comes next."""
        ...


@dataclass
class _Stage:
    shows: Shows
    net: LocalNet
    network: Network
    user: str
    options: dict[str, Any]

    def ended(self, provider: LocalProvider, receipt: Receipt) -> None:
        """Show a receipt, settle, and compare with what the chain says."""
        shows = self.shows
        shows.line("fee", f"{receipt.fee.amount} ({_counted(receipt)})")
        shows.line("verdict", f"{receipt.verdict}: {receipt.verdict.explain()}")
        shows.check("verified, bytes and request bound", receipt.verdict.status is Status.VERIFIED)
        anchor = Anchor("the demo", signers=(provider.tee_signer,))
        again = check(receipt.to_dict(), anchor)
        shows.check("the receipt is verified again, offline", again.result == "passed", again.reason)
        provider.settle()
        transport = SyncTransport()
        try:
            found = run(
                read_settlements(JsonRpc(self.net.rpc_url, transport), self.network, self.user, sleep=transport.sleep)
            )
        finally:
            transport.close()
        mine = [item for item in found if item.provider.lower() == provider.address.lower()]
        paid = sum(item.paid.units for item in mine if item.status is SettlementStatus.SUCCESS)
        shows.line("settled fee", str(neuron(paid)))
        shows.check("receipt fee == settled fee", receipt.fee.exact and paid == receipt.fee.amount.units > 0)


def show(shows: Shows, net: LocalNet, network: Network, user: str, options: dict[str, Any]) -> None:
    """Make vectors, an image and a transcript."""
    stage = _Stage(shows, net, network, user, {**options, "verify": "require"})
    _embed(stage, net.provider("local-embed-1"))
    with tempfile.TemporaryDirectory(prefix="zerog-demo-") as folder:
        _draw(stage, net.provider("local-image-1"), Path(folder))
        _hear(stage, net.provider("local-speech-1"), Path(folder))


def _embed(stage: _Stage, provider: LocalProvider) -> None:
    stage.shows.title("Embeddings")
    texts = ["A receipt proves what was paid.", "The fox sleeps."]
    with ChatClient(provider=provider.address, service_type=EMBEDDINGS.service_type, **stage.options) as client:
        reply = client.create({"input": texts}, path=EMBEDDINGS.path)
    vectors = [entry["embedding"] for entry in reply.body["data"]]
    stage.shows.line("texts", str(len(texts)))
    stage.shows.line("vectors", f"{len(vectors)} of {len(vectors[0])} numbers")
    stage.ended(provider, reply.receipt)


def _draw(stage: _Stage, provider: LocalProvider, folder: Path) -> None:
    stage.shows.title("An image")
    stage.shows.line("prompt", PROMPT)
    with ImageClient(provider=provider.address, **stage.options) as client:
        images = client.generate(PROMPT, size="256x128")
    file = images[0].save(folder / "lighthouse")
    size = images[0].size
    stage.shows.line("file", f"{file.name}, {images[0].content_type}, {len(images[0].data)} bytes")
    stage.shows.line("sha256", images[0].sha256)
    same = file.read_bytes() == images[0].data and size == (256, 128)
    stage.shows.check("the file is the image that was signed", same)
    stage.ended(provider, images.receipt)


def _hear(stage: _Stage, provider: LocalProvider, folder: Path) -> None:
    from zg_core.localnet import speak

    stage.shows.title("A transcription")
    recording = folder / "said.wav"
    recording.write_bytes(speak(SAID, seconds=4))
    with SpeechClient(provider=provider.address, **stage.options) as client:
        said = client.transcribe(recording, response_format="verbose_json")
    stage.shows.line("recording", f"{recording.name}, {recording.stat().st_size} bytes, {said.duration} s")
    stage.shows.line("text", said.text)
    stage.shows.check("the words are those of the recording", said.text == SAID)
    stage.ended(provider, said.receipt)


def _counted(receipt: Receipt) -> str:
    usage = receipt.usage
    if usage is None:
        return "no usage"
    counts = {"image": usage.images, "second": usage.seconds, "token": usage.total_tokens, "word": usage.words}
    name, count = next(((name, count) for name, count in counts.items() if count), ("token", 0))
    return f"{count} {name}{'' if count == 1 else 's'}"
