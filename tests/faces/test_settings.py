"""Settings mean the same through every face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faces.enclave import ANSWER, STREAM, WHOLE, Enclave
from tests.faces.faces import FACES, Face, Seen
from tests.zg_core.raw_server import STALL
from zg_core import (
    Budget,
    BudgetExceeded,
    ConfigError,
    Limits,
    ModelNotServed,
    OutcomeUnknown,
    ProviderUnavailable,
    StreamTruncated,
    VerificationUnavailable,
    neuron,
)
from zg_core.calls.gate import Gate
from zg_core.http.library import library
from zg_core.http.timeouts import Timeouts


def stalled(enclave: Enclave, ask: Callable[[float], Seen]) -> Seen:
    """What is seen of a silent provider; with more patience where this machine was too slow for little."""
    for seconds in (0.2, 2.0, 20.0):
        enclave.replies = []
        enclave.stall()
        seen = ask(seconds)
        if isinstance(seen.error, OutcomeUnknown):
            break
    return seen


@pytest.mark.parametrize("timeout", [float, lambda seconds: Timeouts(read=seconds)], ids=["seconds", "Timeouts"])
def test_timeout(face: Face, enclave: Enclave, timeout: Any) -> None:
    seen = stalled(enclave, lambda seconds: face.ask({**enclave.settings, "timeout": timeout(seconds)}))
    assert isinstance(seen.error, OutcomeUnknown), seen.raised
    assert (seen.error.code, seen.outcomes) == ("timeout", ["unknown"])


def test_timeout_between_two_pieces(face: Face, enclave: Enclave) -> None:
    enclave.say(STREAM[:300] if face.stream else WHOLE[:30], None, then=[STALL])
    seen = face.ask({**enclave.settings, "timeout": Timeouts(read=60, stall=0.2)})
    assert isinstance(seen.error, StreamTruncated), seen.raised
    assert (seen.outcomes, seen.verdict) == (["truncated"], "unavailable (incomplete)")


@pytest.mark.parametrize("face", [face for face in FACES if face.name in ("core", "openai")], ids=repr)
def test_timeout_of_one_call(face: Face, enclave: Enclave) -> None:
    seen = stalled(enclave, lambda seconds: face.ask(enclave.settings, timeout=seconds))
    assert isinstance(seen.error, OutcomeUnknown), seen.raised
    assert seen.error.code == "timeout"


@pytest.mark.parametrize("most", [0, 1, 3])
def test_max_retries(face: Face, enclave: Enclave, most: int) -> None:
    for _ in range(9):
        enclave.refuse("503 Busy")
    seen = face.ask({**enclave.settings, "max_retries": most})
    assert isinstance(seen.error, ProviderUnavailable), seen.raised
    assert len(enclave.prompts()) == most + 1


@pytest.mark.parametrize("unknown", [False, True])
def test_retry_unknown(face: Face, enclave: Enclave, unknown: bool) -> None:
    enclave.hang_up()
    seen = face.ask({**enclave.settings, "max_retries": 3, "retry_unknown": unknown})
    if unknown:
        assert (seen.text, seen.outcomes) == (ANSWER, ["unknown", "answered"])
    else:
        assert isinstance(seen.error, OutcomeUnknown), seen.raised
        assert (seen.error.code, seen.outcomes) == ("connection_lost", ["unknown"])
        assert len(enclave.prompts()) == 1, "a request that may be billed was sent again"


def test_http_client(face: Face, enclave: Enclave) -> None:
    face.needs("http_client")
    through: list[str] = []

    def note(request: Any) -> None:
        through.append(request.url.path)

    async def anote(request: Any) -> None:
        note(request)

    lib = library()
    client = (
        lib.AsyncClient(event_hooks={"request": [anote]}) if face.loop else lib.Client(event_hooks={"request": [note]})
    )
    seen = face.ask({**enclave.settings, "http_client": client, "verify": "require"})
    assert (seen.text, seen.verdict) == (ANSWER, "verified"), seen.raised
    assert [path for path in through if path.endswith("/chat/completions")] == ["/v1/proxy/chat/completions"]
    assert [path for path in through if "/signature/" in path]


def test_headers(face: Face, enclave: Enclave) -> None:
    face.needs("headers")
    face.ask({**enclave.settings, "headers": {"X-Mine": "1"}})
    (prompt,) = enclave.prompts()
    assert (prompt.headers["x-mine"], prompt.headers["user-agent"]) == ("1", "zerog-integrations")
    assert not [name for name in prompt.headers if name.startswith(("x-stainless", "openai"))]


def test_budget(face: Face, enclave: Enclave) -> None:
    seen = face.ask({**enclave.settings, "budget": Budget(per_call=neuron(1))})
    assert isinstance(seen.error, BudgetExceeded), seen.raised
    assert (enclave.prompts(), seen.receipts) == ([], [])


def test_limits(face: Face, enclave: Enclave, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    monkeypatch.setattr("zg_core.calls.sending.gate_of", lambda *_: gate)
    limits = Limits(per_minute=1, burst=100, in_flight=1)
    seen = face.ask({**enclave.settings, "limits": limits})
    assert (seen.text, gate.inside) == (ANSWER, set())
    assert gate.pace.take(limits).level.used > 1


def test_policy(face: Face, enclave: Enclave) -> None:
    unsigned = STREAM if face.stream else WHOLE
    enclave.say(unsigned, None)
    seen = face.ask({**enclave.settings, "verify": "require"})
    assert isinstance(seen.error, VerificationUnavailable), seen.raised
    assert seen.error.text == ANSWER
    enclave.say(unsigned, None)
    seen = face.ask({**enclave.settings, "verify": "warn"})
    assert (seen.text, seen.verdict) == (ANSWER, "unavailable (no_signature)")
    seen = face.ask({**enclave.settings, "verify": "off"})
    assert (seen.text, seen.verdict) == (ANSWER, "not_checked (policy_off)")
    enclave.received.clear()
    seen = face.ask({**enclave.settings, "kinds": ["TeeTLS"]})
    assert isinstance(seen.error, VerificationUnavailable), seen.raised
    assert enclave.prompts() == []


def test_keep_bytes(face: Face, enclave: Enclave) -> None:
    face.needs("keep_bytes")
    seen = face.ask({**enclave.settings, "keep_bytes": True})
    (prompt,) = enclave.prompts()
    assert seen.receipt.request_body == prompt.body
    chat_id = seen.receipt.chat_id.encode()
    assert seen.receipt.response_body == (STREAM if face.stream else WHOLE).replace(b"@ID@", chat_id)


def test_a_model_that_nobody_serves(face: Face, enclave: Enclave) -> None:
    seen = face.ask({**enclave.settings, "model": "another"})
    assert isinstance(seen.error, ModelNotServed), seen.raised
    assert enclave.prompts() == []


def test_a_question_with_the_key_that_pays(face: Face, enclave: Enclave) -> None:
    seen = face.ask(enclave.settings, f"What is {enclave.settings['private_key']}?")
    assert isinstance(seen.error, ConfigError), seen.raised
    assert (seen.error.code, enclave.prompts()) == ("secret_in_request", [])
