"""What an upstream says about its content decides nothing for whoever asks `zerog serve`: clients read by that word.

A whole body in place of a stream was passed on as it came, and the official client read nothing in it: silence with a
verdict. One that called itself a stream was given to who had asked for a whole answer. And a stream that ends within a
line swallowed what stands behind it: the last comment, or the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faces.enclave import ANSWER, DONE, MODEL, STREAM, WHOLE, Enclave
from tests.zg_core.serve.serving import QUESTION, TOKEN, Running, running, settings_of
from zg_core.localnet import LocalNet

openai = pytest.importorskip("openai")
pytest.importorskip("uvicorn")

KINDS = ["application/json", "text/event-stream", "text/plain", "TEXT/VTT", "application/json; charset=utf-16", "x"]


@pytest.fixture(scope="module")
def enclave(net: LocalNet) -> Iterator[Enclave]:
    made = Enclave(net)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def served(enclave: Enclave) -> Iterator[Running]:
    provider = enclave.settings["provider"]
    where = {**enclave.settings, "verify": "require"}
    with running(settings_of(where, {"m": {"model": MODEL, "provider": provider}})) as server:
        yield server


def asked(server: Running, *, stream: bool) -> str:
    """What the official client shows of one answer."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0) as client:
        said: Any = client.chat.completions.create(model="m", messages=QUESTION["messages"], stream=stream)
        if not stream:
            return str(said.choices[0].message.content)
        return "".join(event.choices[0].delta.content or "" for event in said if event.choices)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", ["whole", "stream", "whole for a stream"])
def test_an_honest_answer_is_shown_whatever_it_calls_itself(
    served: Running, enclave: Enclave, tally: Any, body: str, kind: str
) -> None:
    enclave.say(STREAM if body == "stream" else WHOLE, headers={"Content-Type": kind})
    assert asked(served, stream=body != "whole") == ANSWER
    tally("reply that calls itself something else", honest=1, accepted=1)


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("body", ["whole", "stream", "whole for a stream"])
def test_an_altered_one_ends_in_an_error_whatever_it_calls_itself(
    served: Running, enclave: Enclave, tally: Any, body: str, kind: str
) -> None:
    honest = STREAM if body == "stream" else WHOLE
    enclave.say(honest.replace(b"Paris", b"Hades"), signed=honest, headers={"Content-Type": kind})
    with pytest.raises(openai.APIError) as caught:
        asked(served, stream=body != "whole")
    assert caught.value.code == "content_mismatch"
    tally("altered reply that calls itself something else", tried=1, caught=1)


UNFINISHED = [b": x", b"id: 7", b"event: thread.x", b": zerog {}\r"]


@pytest.mark.parametrize("end", [*(DONE + each for each in UNFINISHED), b"data: [DONE]", b"data: [DONE]\r\n"])
def test_the_last_comment_is_a_line_of_its_own(served: Running, enclave: Enclave, end: bytes) -> None:
    body = STREAM.removesuffix(DONE) + end
    enclave.say(body)
    got = served.chat({"model": "m", "stream": True, **QUESTION})
    assert got.comment["verdict"] == "verified"
    assert got.body.startswith(body.replace(b"@ID@", got.comment["chat_id"].encode()))
    assert got.events[-1] == "[DONE]"


@pytest.mark.parametrize("end", UNFINISHED)
def test_no_unfinished_line_swallows_the_error(served: Running, enclave: Enclave, tally: Any, end: bytes) -> None:
    body = STREAM.removesuffix(DONE) + end
    enclave.say(body.replace(b"Paris", b"Hades"), signed=body)
    with pytest.raises(openai.APIError) as caught:
        asked(served, stream=True)
    assert caught.value.code == "incomplete"
    tally("altered reply that ends within a line", tried=1, caught=1)
