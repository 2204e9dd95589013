"""The official client on top of ours: same policy, same receipts, its own classes for HTTP errors."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import openai
import pytest

from tests.patience import until
from zg_core import (
    ConfigError,
    InsufficientFunds,
    Limits,
    ModelNotServed,
    OutcomeUnknown,
    RateLimited,
    StreamTruncated,
    VerificationFailed,
    Wallet,
)
from zg_core.backends.direct.session import make_token
from zg_core.calls.gate import Gate
from zg_core.http.library import library
from zg_core.localnet import Fault
from zg_core.openai_compat import async_openai_client, openai_client
from zg_core.verify.verdict import Status

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


class Official:
    """One call through the official client, sync or async, whole or streamed."""

    def __init__(self, *, loop: bool, stream: bool) -> None:
        self.loop = loop
        self.stream = stream

    def __repr__(self) -> str:
        return f"{'async' if self.loop else 'sync'}-{'stream' if self.stream else 'create'}"

    def call(self, options: dict[str, Any], **more: Any) -> tuple[str, Any]:
        """The text and the receipt."""
        if self.loop:
            return asyncio.run(self._async(options, more))
        client = openai_client(**options)
        try:
            made = client.chat.completions.create(**{**self._arguments(options), **more})
            text = join(list(made)) if self.stream else made.choices[0].message.content
            return text, client.receipts.last
        finally:
            client.close()

    async def _async(self, options: dict[str, Any], more: dict[str, Any]) -> tuple[str, Any]:
        client = async_openai_client(**options)
        try:
            made = await client.chat.completions.create(**{**self._arguments(options), **more})
            text = join([chunk async for chunk in made]) if self.stream else made.choices[0].message.content
            return text, client.receipts.last
        finally:
            await client.close()

    def _arguments(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"model": options["model"], "messages": MESSAGES, "stream": self.stream}


def join(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


@pytest.fixture(
    params=[Official(loop=loop, stream=stream) for loop in (False, True) for stream in (False, True)], ids=repr
)
def official(request: pytest.FixtureRequest) -> Official:
    return request.param


@pytest.fixture
def mine(options: dict[str, Any], provider: Any) -> dict[str, Any]:
    return {**options, "provider": provider.address, "model": provider.model}


def test_an_answer_is_verified_and_paid_like_any_other(official, mine, provider):
    text, receipt = official.call({**mine, "verify": "require"})
    assert "Paris" in text
    assert receipt.verdict.status is Status.VERIFIED
    assert receipt.fee.amount.units == provider.log[-1].fee


def test_the_client_is_ready_to_use(mine, provider):
    client = openai_client(**mine)
    assert str(client.base_url) == provider.url + "/v1/proxy/"
    assert client.max_retries == 2
    assert isinstance(client, openai.OpenAI)
    assert client.with_options(timeout=5).receipts is client.receipts
    assert client.policy.mode == "warn"
    client.close()


def test_an_api_key_alone_is_enough(official, mine, provider, wallet):
    now = time.time_ns() // 1_000_000
    key = make_token(
        Wallet.from_key(wallet.private_key),
        provider.address,
        now_ms=now,
        generation=0,
        token_id=3,
        expires_at=now + 60_000,
    )
    text, receipt = official.call({**mine, "private_key": None, "provider": None, "api_key": key.reveal()})
    assert "Paris" in text
    assert receipt.provider == provider.address


def test_an_adapter_name_works_as_model(official, mine, provider):
    _, receipt = official.call(mine, model=provider.adapter)
    assert receipt.model == provider.adapter


@pytest.mark.parametrize("fault", [Fault.BODY_CHANGED, Fault.OTHER_SIGNER, Fault.SIGNATURE_OTHER_BYTES])
def test_a_lie_raises_our_error_out_of_the_official_call(official, mine, provider, fault):
    provider.fault(fault)
    with pytest.raises(VerificationFailed) as caught:
        official.call(mine)
    assert caught.value.text
    assert caught.value.receipt.verdict.status is Status.FAILED


@pytest.mark.parametrize("fault", [Fault.GZIP, Fault.SPLIT_UTF8, Fault.NO_HEADER, Fault.SIGNATURE_LATE])
def test_odd_but_honest_replies_are_verified(official, mine, provider, fault):
    provider.fault(fault)
    assert official.call({**mine, "verify": "require"})[1].verdict.status is Status.VERIFIED


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_what_follows_done_is_drained_before_the_verdict(mine, provider, loop):
    provider.fault(Fault.COMMENT_AFTER_DONE)
    assert Official(loop=loop, stream=True).call({**mine, "verify": "require"})[1].verdict.status is Status.VERIFIED


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_a_truncated_stream_says_so(mine, provider, loop):
    provider.fault(Fault.TRUNCATED_STREAM, events=3)
    with pytest.raises(StreamTruncated) as caught:
        Official(loop=loop, stream=True).call(mine)
    assert caught.value.receipt.outcome == "truncated"


def test_breaking_off_early_is_not_checked(mine):
    client = openai_client(**mine)
    for _ in client.chat.completions.create(model=mine["model"], messages=MESSAGES, stream=True):
        break
    del _
    gc.collect()
    receipt = client.receipts.last
    assert (receipt.outcome, receipt.verdict.status) == ("abandoned", Status.NOT_CHECKED)
    client.close()


def test_http_errors_are_the_official_clients_own_with_ours_behind_them(official, mine, provider):
    provider.fault(Fault.RATE_LIMITED)
    with pytest.raises(openai.RateLimitError) as caught:
        official.call({**mine, "max_retries": 0})
    error = caught.value
    assert isinstance(error.__cause__, RateLimited)
    assert (error.status_code, error.code) == (429, "rate_limited")
    assert error.receipt is error.__cause__.receipt
    assert error.receipt.outcome == "refused"


@pytest.mark.parametrize(
    ("fault", "kind", "outcome"),
    [
        (Fault.CUT_BEFORE_FIRST_BYTE, openai.APIConnectionError, "unknown"),
        (Fault.HANG, openai.APITimeoutError, "unknown"),
    ],
)
def test_a_connection_that_fails_is_the_official_clients_own_error_and_on_record(
    official, mine, provider, fault, kind, outcome
):
    before = len(provider.log)
    provider.fault(fault)
    with pytest.raises(kind) as caught:
        official.call({**mine, "timeout": 1.0})
    assert isinstance(caught.value.__cause__, OutcomeUnknown)
    assert caught.value.receipt.outcome == outcome
    until(lambda: len(provider.log) > before)  # it bills once it sees that nobody listens: not in the next test


def test_a_wrong_model_is_refused_before_anything_is_sent(official, mine, provider):
    before = len(provider.requests)
    with pytest.raises(ModelNotServed):
        official.call(mine, model="no-such-model")
    assert not [r for r in provider.requests[before:] if r.path.endswith("/chat/completions")]


def test_missing_funds_are_named_before_anything_is_sent(official, mine, net, provider):
    poor = net.new_wallet()
    with pytest.raises(InsufficientFunds) as caught:
        official.call({**mine, "private_key": poor.private_key})
    assert f"zerog transfer {provider.address}" in caught.value.hint


@pytest.fixture
def watched(official, mine):
    """Settings with an HTTP client of the caller's, and the headers of all that went through it."""
    seen: list[dict[str, str]] = []

    def note(request: Any) -> None:
        if request.url.path.endswith("/chat/completions"):
            seen.append({name.lower(): value for name, value in request.headers.items()})

    async def anote(request: Any) -> None:
        note(request)

    lib = library()
    if official.loop:
        return {**mine, "http_client": lib.AsyncClient(event_hooks={"request": [anote]})}, seen
    return {**mine, "http_client": lib.Client(event_hooks={"request": [note]})}, seen


def test_nothing_tells_the_provider_about_the_machine(official, watched, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-vendor")
    settings, seen = watched
    official.call(settings, extra_headers={"X-Mine": "1"})
    (sent,) = seen
    assert not [name for name in sent if name.startswith(("x-stainless", "openai-", "idempotency"))]
    assert (sent["user-agent"], sent["x-mine"]) == ("zerog-integrations", "1")
    assert sent["authorization"].startswith("Bearer app-sk-")
    assert "secret" not in str(sent)
    assert "vendor" not in str(sent)


def test_the_name_that_a_program_gives_itself_goes_out(official, watched):
    settings, seen = watched
    official.call(settings, extra_headers={"User-Agent": "my-agent/1"})
    assert [sent["user-agent"] for sent in seen] == ["my-agent/1"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer mine"},
        {"X-Payment": "all of it"},
        {"Host": "elsewhere.example"},
        {"Content-Length": "1"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_headers_that_let_a_request_in_are_refused(official, watched, headers):
    settings, seen = watched
    with pytest.raises(ConfigError) as caught:
        official.call(settings, extra_headers=headers)
    assert (caught.value.code, seen) == ("bad_headers", [])


class TestLimits:
    """The official client's calls queue with all others."""

    @pytest.fixture
    def gate(self, monkeypatch: pytest.MonkeyPatch) -> Gate:
        gate = Gate()
        monkeypatch.setattr("zg_core.calls.sending.gate_of", lambda *key: gate)
        return gate

    @pytest.fixture
    def limited(self, mine: dict[str, Any]) -> dict[str, Any]:
        return {**mine, "limits": Limits(per_minute=1, burst=100, in_flight=1)}

    def test_a_call_takes_a_turn_and_leaves(self, official, limited, gate, provider):
        official.call(limited)
        assert gate.inside == set()
        assert 0.5 < gate.pace.take(limited["limits"]).level.used - 1 <= 1

    @pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.CUT_BEFORE_FIRST_BYTE, Fault.BODY_CHANGED])
    def test_a_call_that_fails_leaves(self, official, limited, gate, provider, fault):
        provider.fault(fault)
        with pytest.raises((openai.OpenAIError, VerificationFailed)):
            official.call({**limited, "max_retries": 0})
        assert gate.inside == set()

    def test_a_rejected_session_takes_another_turn(self, official, limited, gate, provider):
        provider.fault(Fault.SESSION_REJECTED)
        official.call(limited)
        assert gate.inside == set()
        assert 1.5 < gate.pace.take(limited["limits"]).level.used - 1 <= 2

    def test_a_stream_that_is_dropped_leaves(self, limited, gate):
        client = openai_client(**limited)
        stream = client.chat.completions.create(model=limited["model"], messages=MESSAGES, stream=True)
        next(iter(stream))
        assert len(gate.inside) == 1
        del stream
        gc.collect()
        assert gate.inside == set()
        client.close()

    def test_a_task_that_is_cancelled_leaves_a_receipt_and_no_place(self, limited, gate):
        async def main() -> str:
            client = async_openai_client(**limited)
            await client.chat.completions.create(model=limited["model"], messages=MESSAGES)  # there is a session now
            task = asyncio.ensure_future(client.chat.completions.create(model=limited["model"], messages=MESSAGES))
            while not gate.inside:  # noqa: ASYNC110 - from then on it is connecting, sending or reading
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            outcome = client.receipts.last.outcome
            await client.close()
            return outcome

        assert asyncio.run(main()) == "abandoned"
        assert gate.inside == set()
