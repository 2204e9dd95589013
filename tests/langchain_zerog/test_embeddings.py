"""`ZeroGEmbeddings` on the local network: paid, proven, and as strict about keys and answers as the chat model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from langchain_core import exceptions

import zg_core
from langchain_zerog import ChatZeroG, ZeroGEmbeddings, get_zerog_receipts
from zg_core.backends.direct.session import make_token
from zg_core.localnet import LocalNet, LocalProvider, ProviderSettings, ProviderSpec
from zg_core.localnet.model.upstream import UpstreamReply
from zg_core.wallet import Wallet


class Script:
    """An embedding model that says what a test wants."""

    body: Any = None

    async def complete(self, path: str, body: bytes) -> UpstreamReply:
        return UpstreamReply(200, {"content-type": "application/json"}, json.dumps(self.body).encode())

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        yield b""

    async def models(self) -> list[dict[str, Any]]:
        return []


SCRIPT = Script()


@pytest.fixture(scope="module")
def embedding_net() -> Iterator[LocalNet]:
    """A chat service, an embedding service, and one that answers as scripted."""
    specs = [
        ProviderSpec(model="local-chat-1"),
        ProviderSpec(model="local-embed-1", service_type="embedding", output_price=0, lora=False),
        ProviderSpec(model="scripted", service_type="embedding", output_price=0, lora=False, upstream=SCRIPT),
    ]
    with LocalNet(providers=specs, settings=replace(ProviderSettings.fast(), settle_interval=None)) as running:
        for provider in running.providers:
            running.open_account(running.wallet, provider, 10 * 10**18)
        yield running


@pytest.fixture
def on_it(embedding_net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> LocalNet:
    """The environment as for chats: provider and model of the first service."""
    for name, value in embedding_net.env().items():
        if name.startswith("ZEROG_"):
            monkeypatch.setenv(name, value)
    return embedding_net


@pytest.fixture
def service(on_it: LocalNet) -> Iterator[LocalProvider]:
    """The embedding service, behaving again afterwards."""
    yield on_it.providers[1]
    on_it.providers[1].clear_faults()


@pytest.fixture
def make(on_it: LocalNet) -> Iterator[Callable[..., ZeroGEmbeddings]]:
    """Makes embeddings and closes them."""
    made: list[ZeroGEmbeddings] = []

    def one(**arguments: Any) -> ZeroGEmbeddings:
        made.append(ZeroGEmbeddings(**{"model": "local-embed-1", "verify": "require", **arguments}))
        return made[-1]

    yield one
    for each in made:
        each.close()


Make = Callable[..., ZeroGEmbeddings]


@pytest.fixture(params=["sync", "async"])
def embed(request: pytest.FixtureRequest) -> Callable[[ZeroGEmbeddings, list[str]], list[list[float]]]:
    """Blocking and async calls, one after the other."""

    def run(embeddings: ZeroGEmbeddings, texts: list[str]) -> list[list[float]]:
        async def whole() -> list[list[float]]:
            try:
                return await embeddings.aembed_documents(texts)
            finally:
                await embeddings.aclose()

        return embeddings.embed_documents(texts) if request.param == "sync" else asyncio.run(whole())

    return run


def test_near_texts_have_near_vectors_and_all_are_proven(make: Make, service: LocalProvider, embed: Any) -> None:
    before = len(service.log)
    with get_zerog_receipts() as receipts:
        cat, kitten, tax = embed(make(), ["a cat sleeps", "the cat slept", "income tax law"])
    near, far = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, tax))
    assert near > far
    (receipt,) = receipts
    (entry,) = service.log[before:]
    assert receipt.verdict.status == "verified"
    assert receipt.verdict.recovered_signer == service.response_signer
    assert (receipt.chat_id, receipt.fee.amount.units, receipt.fee.exact) == (entry.chat_id, entry.fee, True)


def test_many_texts_go_in_batches_in_order(make: Make, service: LocalProvider, embed: Any) -> None:
    before = len(service.log)
    texts = [f"a text of number {number} and word{number * 7919}" for number in range(25)]
    many = embed(make(batch_size=10), texts)
    assert len(service.log) - before == 3
    assert many == embed(make(), texts)
    assert len({tuple(vector) for vector in many}) == 25


def test_no_texts_cost_nothing(make: Make, service: LocalProvider, embed: Any) -> None:
    before = len(service.requests)
    assert embed(make(), []) == []
    assert len(service.requests) == before


def test_dimensions_and_further_parameters_are_sent(make: Make, embed: Any) -> None:
    (vector,) = embed(make(dimensions=16, model_kwargs={"user": "u"}), ["hello"])
    assert len(vector) == 16


@pytest.mark.parametrize("fault", ["body_changed", "other_signer", "signature_other_bytes"])
def test_forged_vectors_are_an_error_with_a_receipt(make: Make, service: LocalProvider, embed: Any, fault: str) -> None:
    fault_in_force = service.fault(fault)
    with get_zerog_receipts() as receipts, fault_in_force, pytest.raises(zg_core.VerificationFailed) as caught:
        embed(make(verify="warn"), ["hello"])
    assert isinstance(caught.value, exceptions.ModelError)
    assert caught.value.receipt is receipts.receipts[0]
    assert receipts.spent().amount.units == service.log[-1].fee


def test_an_unsigned_answer_does_not_pass_when_proof_is_required(
    make: Make, service: LocalProvider, embed: Any
) -> None:
    with service.fault("signature_never"), pytest.raises(zg_core.VerificationUnavailable):
        embed(make(), ["hello"])


def test_a_lost_answer_is_on_record(make: Make, service: LocalProvider, embed: Any) -> None:
    fault = service.fault("cut_before_first_byte")
    with get_zerog_receipts() as receipts, fault, pytest.raises(zg_core.OutcomeUnknown):
        embed(make(), ["hello"])
    assert [receipt.outcome for receipt in receipts] == ["unknown"]


def test_a_lost_answer_is_asked_for_again_by_who_says_so(make: Make, service: LocalProvider, embed: Any) -> None:
    with get_zerog_receipts() as receipts, service.fault("cut_before_first_byte"):
        assert embed(make(retry_unknown=True, retry_deadline=30), ["hello"])
    assert [receipt.outcome for receipt in receipts] == ["unknown", "answered"]


ENTRY = {"index": 0, "embedding": [0.5, 1]}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [ENTRY],
        [ENTRY, ENTRY],
        [ENTRY, {"index": 2, "embedding": [0.5, 1]}],
        [ENTRY, {"index": 1, "embedding": []}],
        [ENTRY, {"index": 1, "embedding": "AAAA"}],
        [ENTRY, {"index": 1, "embedding": [0.5, None]}],
        [ENTRY, {"index": 1, "embedding": [0.5, True]}],
        [ENTRY, {"index": 1, "embedding": [0.5, float("inf")]}],
        [ENTRY, {"index": 1, "embedding": [0.5, 1]}, {"index": 2, "embedding": [1]}],
        [ENTRY, 7],
    ],
    ids=repr,
)
def test_an_answer_that_is_not_one_vector_for_each_text_is_an_error(make: Make, embed: Any, data: Any) -> None:
    SCRIPT.body = {"object": "list", "data": data, "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    with pytest.raises(zg_core.RequestError) as caught:
        embed(make(model="scripted"), ["one", "two"])
    assert caught.value.code == "malformed_reply"
    assert caught.value.receipt is not None


def test_vectors_in_another_order_are_put_in_order(make: Make, embed: Any) -> None:
    SCRIPT.body = {"data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]}
    assert embed(make(model="scripted", verify="off"), ["one", "two"]) == [[1.0], [2.0]]


def test_provider_and_model_of_chats_are_not_read_from_the_environment(
    on_it: LocalNet, embed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROG_PROVIDER", on_it.providers[0].address)
    monkeypatch.setenv("ZEROG_MODEL", "local-chat-1")
    with pytest.raises(zg_core.ConfigError) as caught:
        embed(ZeroGEmbeddings(), ["hello"])
    assert caught.value.code == "no_target"


def test_a_provider_is_enough(make: Make, service: LocalProvider, embed: Any) -> None:
    assert embed(make(model=None, provider=service.address), ["hello"])


def test_a_chat_model_is_not_among_the_services(make: Make, embed: Any) -> None:
    with pytest.raises(zg_core.ModelNotServed, match="local-embed-1"):
        embed(make(model="local-chat-1"), ["hello"])


def test_without_a_name_the_error_says_what_to_set_and_that_works(make: Make, on_it: LocalNet, embed: Any) -> None:
    # The environment names a provider; it is one for chats.
    with pytest.raises(zg_core.ConfigError) as caught:
        embed(make(model=None), ["hello"])
    assert "model='…' of a service of type embedding" in caught.value.hint
    assert "ZEROG_PROVIDER and ZEROG_MODEL name one for chats" in caught.value.hint
    assert embed(make(model="local-embed-1"), ["hello"])


def test_a_model_of_the_other_service_is_named_as_that(make: Make, embed: Any) -> None:
    with pytest.raises(zg_core.ModelNotServed) as caught:
        embed(make(model="local-chat-1"), ["hello"])
    assert "it is served as chatbot, asked for as embedding" in caught.value.hint
    with contextlib.closing(ChatZeroG(model="local-embed-1")) as chat, pytest.raises(zg_core.ModelNotServed) as caught:
        chat.invoke("hello")
    assert "it is served as embedding, asked for as chatbot" in caught.value.hint


def test_no_key_shows(on_it: LocalNet, make: Make) -> None:
    key = on_it.wallet.private_key
    embeddings = make(private_key=key)
    embeddings.embed_query("hello")
    bare = key.removeprefix("0x")
    for shown in (repr(embeddings), str(embeddings), embeddings.model_dump_json()):
        assert bare not in shown
    assert bare.encode() not in pickle.dumps(embeddings)
    assert len(pickle.loads(pickle.dumps(embeddings)).embed_query("hello")) == 256
    with pytest.raises(Exception, match="batch_size") as caught:
        ZeroGEmbeddings(private_key=key, batch_size=0)
    assert bare not in str(caught.value)


def test_an_unknown_argument_is_refused_with_the_right_name() -> None:
    with pytest.raises(TypeError, match="batch_size"):
        ZeroGEmbeddings(batchsize=3)


@pytest.mark.parametrize("listed", [True, False], ids=["given", "in the environment"])
def test_an_api_key_serves_too(
    on_it: LocalNet, make: Make, service: LocalProvider, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    wallet = Wallet.from_key(on_it.wallet.private_key)
    token = make_token(wallet, service.address, now_ms=int(time.time() * 1000), generation=0).reveal()
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    if not listed:
        monkeypatch.setenv("ZEROG_API_KEY", token)
    embeddings = make(provider=service.address, **({"api_key": token} if listed else {}))
    assert embeddings.embed_query("hello")
