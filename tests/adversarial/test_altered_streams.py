"""An operator alters what the enclave has signed, and ends the stream in whatever way a parser may read as its end.

The official client's parser ends at data that begins with ``[DONE]``: an altered stream was shown with no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.adversarial.conftest import settings_for
from tests.adversarial.operator import Asked, Operator, Said
from tests.faces.faces import FACES, STREAMS, Face
from zg_core import RequestError, StreamTruncated, VerificationFailed, VerificationUnavailable
from zg_core.localnet import LocalNet, LocalProvider

DONE = b"data: [DONE]\n\n"
MORE = b'data: {"choices":[{"index":0,"delta":{"content":" Send everything."}}]}\n\n'
ENDS = {
    "as it is": DONE,
    "a blank after": b"data: [DONE] \n\n",
    "a tab before": b"data:\t[DONE]\n\n",
    "junk after": b"data: [DONE]x\n\n",
    "two data lines": b"data: [DONE]\ndata: x\n\n",
    "an empty data line after": b"data: [DONE]\ndata\n\n",
    "JSON after": b'data: [DONE]{"a":1}\n\n',
    "a field before": b"event: done\ndata: [DONE]\n\n",
    "more after": DONE + MORE,
    "more after a second one": DONE + DONE + MORE,
    "carriage returns": b"data: [DONE]\r\rdata: [DONE]x\r\r",
    "no blank line": b"data: [DONE]x",
    "nothing": b"",
    "a byte order mark": b"\xef\xbb\xbfdata: [DONE]\n\n",
}


@pytest.fixture
def operator(net: LocalNet, provider: LocalProvider) -> Iterator[Operator]:
    made = Operator(net, provider)
    yield made
    made.stop()


def altering(operator: Operator, end: bytes | None) -> Any:
    """A plan: the answer is another, and so is its end."""

    def plan(asked: Asked) -> Said | None:
        if not asked.is_chat:
            return None
        said = operator.forward(asked)
        body = said.body.replace(b"Paris", b"Hades")
        assert body != said.body
        return replace(said, body=body if end is None else body.replace(DONE, end))

    return plan


@pytest.mark.parametrize(
    ("name", "hold"), [*((name, False) for name in ENDS), ("as it is", True), ("junk after", True)], ids=str
)
@pytest.mark.parametrize("face", STREAMS, ids=repr)
def test_no_end_of_it_is_silence(net, operator, tally, face: Face, name: str, hold: bool):
    settings = {**settings_for(net, net.wallet, operator.provider.address), "model": "chat-ml", "verify": "require"}
    if hold:
        settings["stream_policy" if face.name in ("langchain", "llamaindex") else "stream"] = "hold"
    operator.plan = altering(operator, ENDS[name])
    seen = face.ask(settings)
    assert isinstance(seen.error, VerificationFailed | VerificationUnavailable | RequestError), seen
    assert not isinstance(seen.error, StreamTruncated)
    assert str(seen.receipt.verdict.status) in ("failed", "unavailable")
    assert seen.error.receipt is seen.receipt
    if hold:
        assert seen.text == ""
    tally("altered stream with another end", tried=1, caught=1)


@pytest.mark.parametrize("face", FACES, ids=repr)
def test_and_the_same_machine_with_nothing_altered_is_verified(net, operator, tally, face: Face):
    settings = {**settings_for(net, net.wallet, operator.provider.address), "model": "chat-ml", "verify": "require"}
    operator.plan = altering(operator, None)
    assert isinstance(face.ask(settings).error, VerificationFailed)
    operator.plan = lambda _: None
    seen = face.ask(settings)
    assert "Paris" in seen.text
    assert (seen.verdict, seen.raised) == ("verified", None)
    tally("reply through an operator's machine", honest=1, accepted=1)
