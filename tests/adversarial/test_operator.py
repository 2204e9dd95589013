"""The operator serves what he likes, and no face of the package takes it for an answer to the user's question.

Beside each attack stands the honest control: the same call through the same machine, with nothing changed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.adversarial.faces import FACES, Face
from tests.adversarial.operator import Asked, Operator, Said, serving
from zg_core.compare import Target, compare
from zg_core.localnet import LocalNet, LocalProvider, ProviderSpec
from zg_core.localnet.provider import gojson
from zg_core.verify import AllOf, AnyOf, Attested, Binding, Identity, Kinds, Reason, Status, Verified
from zg_core.verify.replay import ReplayGuard

QUESTION = "What is the capital of France?"
LIE = "Yes, that transaction is safe. Send everything to 0xAAAA."
SAY = {"messages": [{"role": "user", "content": f"Say '{LIE}'"}]}
ALIAS = "chat-latest"


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> Face:
    return FACES[request.param]


@pytest.fixture
def operator(net: LocalNet, provider: LocalProvider) -> Iterator[Operator]:
    made = Operator(net, provider)
    yield made
    made.stop()


@pytest.fixture
def loot(net: LocalNet, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> dict[bool, Said]:
    """What the enclave answered to the operator's own question, whole and as a stream, in a process of his own."""
    attacker = net.new_wallet()
    net.open_account(attacker, operator.provider, 20 * 10**18)
    found = {stream: operator.ask(attacker, SAY, stream=stream) for stream in (False, True)}
    monkeypatch.setattr("zg_core.client._GUARD", ReplayGuard())
    return found


class TestAnotherQuestion:
    """No byte is forged and no key stolen: the enclave did say that, to somebody else."""

    @pytest.mark.parametrize("verify", ["require", "warn"])
    def test_its_answer_is_accepted_by_no_face(self, face, net, operator, loot, tally, tmp_path, verify):
        settings = {"provider": operator.provider.address, "model": "chat-ml", "verify": verify}
        operator.plan = serving(loot)
        got = face(net, net.wallet, settings, QUESTION, tmp_path)
        assert not got.accepted, got
        if got.receipt is not None:
            assert got.receipt.verdict.reason is Reason.REQUEST_UNKNOWN
        tally("answer to another question", tried=1, caught=1)

        operator.plan = lambda _: None
        honest = face(net, net.wallet, settings, QUESTION, tmp_path)
        assert honest.accepted, honest
        assert "Paris" in honest.text
        tally("reply through an operator's machine", honest=1, accepted=1)

    def test_who_asks_for_less_by_name_gets_it(self, face, net, operator, loot, tmp_path):
        settings = {"provider": operator.provider.address, "model": "chat-ml", "minimum": "response_bound"}
        operator.plan = serving(loot)
        got = face(net, net.wallet, settings, QUESTION, tmp_path)
        if face is FACES["compare"]:  # its column says what was proven, whatever is asked for
            assert not got.accepted
        else:
            assert got.accepted, got
        assert got.text == LIE

    def test_no_tool_of_it_runs(self, net, operator, monkeypatch):
        pytest.importorskip("langchain")
        from langchain.agents import create_agent
        from langchain_core.tools import tool

        from langchain_zerog import ChatZeroG
        from langchain_zerog.middleware import ZeroGVerificationMiddleware
        from zg_core import VerificationUnavailable

        ran: list[tuple[int, int]] = []

        @tool
        def multiply(a: int, b: int) -> int:
            """Multiply two integers."""
            ran.append((a, b))
            return a * b

        where = {"provider": operator.provider.address, "network": "local", "rpc_url": net.rpc_url}
        model = ChatZeroG(private_key=net.wallet.private_key, verify="background", **where)
        agent = create_agent(model, [multiply], middleware=[ZeroGVerificationMiddleware()])
        attacker = net.new_wallet()
        net.open_account(attacker, operator.provider, 20 * 10**18)
        parameters = multiply.tool_call_schema.model_json_schema()
        offered = {"type": "function", "function": {"name": "multiply", "parameters": parameters}}
        asked = {"messages": [{"role": "user", "content": "What is 6 times 7? Use multiply."}], "tools": [offered]}
        stolen = operator.ask(attacker, asked, stream=False)
        assert b'"tool_calls"' in stolen.body
        monkeypatch.setattr("zg_core.client._GUARD", ReplayGuard())
        operator.plan = serving({False: stolen, True: stolen})
        with pytest.raises(VerificationUnavailable):
            agent.invoke({"messages": [("human", "Tell me a joke.")]})
        assert ran == []
        operator.plan = lambda _: None
        agent.invoke({"messages": [("human", "What is 6 times 7? Use multiply.")]})
        assert ran == [(6, 7)]

    def test_a_comparison_counts_it_apart_and_draws_it_apart(self, net, operator, loot, tmp_path):
        where = {"network": "local", "rpc_url": net.rpc_url, "private_key": net.wallet.private_key, "cache": None}
        target = Target(operator.provider.address)
        operator.plan = serving(loot)
        bound = compare([target], [QUESTION], **where, environ={})
        (summary,) = bound.summary()
        assert (summary.verified_rate, summary.response_bound_rate, summary.failure_rate) == (0, 1, 0)
        assert (
            dict(bound.summary().cells()[0]) | {"verified": "0 %", "answer bound only": "100 %"}
            == (bound.summary().cells()[0])
        )
        pytest.importorskip("matplotlib")
        labels = [text.get_text() for text in bound.plot("cost").axes[0].get_legend().get_texts()]
        assert labels == ["answer bound only"]
        operator.plan = lambda _: None
        honest = compare([target], [QUESTION], **where, environ={})
        (summary,) = honest.summary()
        assert (summary.verified_rate, summary.response_bound_rate) == (1, 0)


def unsigned(asked: Asked) -> Said | None:
    """A plan: words of his own, with an id under which there is nothing."""
    choice = {"index": 0, "finish_reason": "stop"}
    if asked.streams:
        event = {"id": "chatcmpl-x", "choices": [{**choice, "delta": {"content": LIE}}]}
        body = b"data: " + json.dumps(event).encode() + b"\n\ndata: [DONE]\n\n"
        return Said(body, headers={"content-type": "text/event-stream", "zg-res-key": uuid.uuid4().hex})
    if asked.is_chat:
        whole = {"id": "chatcmpl-x", "choices": [{**choice, "message": {"role": "assistant", "content": LIE}}]}
        return Said(json.dumps(whole).encode(), headers={"zg-res-key": uuid.uuid4().hex})
    return Said(b'{"error":"chat_id_not_found"}', 404) if "/signature/" in asked.path else None


@pytest.mark.parametrize(
    "condition",
    [
        Attested(1),
        AllOf(Attested(1), Kinds("TeeML")),
        Identity("openai"),
        Kinds("TeeML"),
        AnyOf(Verified(), Kinds("TeeML")),
        AnyOf(Identity("openai"), AllOf(Kinds("TeeML"), AnyOf(Attested(1), Kinds("TeeTLS")))),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["core-sync-create", "chat-async-stream", "llama-sync-stream", "openai-async-create"])
def test_no_condition_accepts_words_that_nobody_signed(net, operator, tally, tmp_path, monkeypatch, name, condition):
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0,))
    face, settings = FACES[name], {"provider": operator.provider.address, "model": "chat-ml", "verify": condition}
    operator.plan = unsigned
    got = face(net, net.wallet, settings, QUESTION, tmp_path)
    assert not got.accepted, got
    assert got.receipt.verdict.status is Status.UNAVAILABLE
    tally("words that nobody signed", tried=1, caught=1)
    operator.plan = lambda _: None
    honest = face(net, net.wallet, settings, QUESTION, tmp_path)
    assert honest.accepted, honest
    tally("reply through an operator's machine", honest=1, accepted=1)


def renaming(operator: Operator, forwarded: str) -> Any:
    """A plan: promise "big-model", and ask the enclave for the model on chain instead."""

    def plan(asked: Asked) -> Said | None:
        if asked.path == "/v1/models":
            listed = json.loads(operator.forward(asked).body)
            listed["data"].append({**listed["data"][0], "id": "big-model"})
            return Said(json.dumps(listed).encode())
        if asked.is_chat:
            return operator.forward(asked, gojson.dumps({**gojson.loads(asked.body), "model": forwarded}))
        return None

    return plan


class TestAnotherModel:
    """The user asks for one model, and the signed request names another."""

    def test_an_unsigned_promise_is_no_ground(self, face, net, operator, tally, tmp_path):
        settings = {"provider": operator.provider.address, "model": "big-model", "verify": "require"}
        operator.plan = renaming(operator, "chat-ml")
        got = face(net, net.wallet, settings, QUESTION, tmp_path)
        assert not got.accepted, got
        if got.receipt is not None:
            verdict = got.receipt.verdict
            assert (verdict.status, verdict.reason) == (Status.RESPONSE_BOUND, Reason.MODEL_RENAMED)
            assert (verdict.asked_model, verdict.signed_model) == ("big-model", "chat-ml")
            assert got.receipt.model == "chat-ml"
        tally("another model than was asked for", tried=1, caught=1)
        honest = face(net, net.wallet, {**settings, "model": "chat-ml"}, QUESTION, tmp_path)
        assert honest.accepted, honest
        tally("reply through an operator's machine", honest=1, accepted=1)

    def test_where_a_rename_is_known_beforehand_no_prompt_leaves(self, face, net, provider, tmp_path):
        honest = net.providers[1]
        settings = {"provider": honest.address, "model": ALIAS, "verify": "require"}
        before = len(honest.log)
        got = face(net, net.wallet, settings, QUESTION, tmp_path)
        assert not got.accepted, got
        if face is FACES["compare"]:  # it measures what a provider can do, and refuses nothing
            assert got.receipt.verdict.reason is Reason.MODEL_RENAMED
        else:
            assert got.code in ("model_renamed", "exit 3")
            assert got.receipt is None
            assert len(honest.log) == before

    @pytest.mark.parametrize("way", ["its name on chain", "a word of the user's", "less by name"])
    def test_an_honest_provider_that_renames_can_be_used_all_the_same(self, face, net, provider, tally, tmp_path, way):
        settings: dict[str, Any] = {"provider": net.providers[1].address, "model": ALIAS, "verify": "require"}
        settings |= {
            "its name on chain": {"model": "chat-tls"},
            "a word of the user's": {"accept_models": {ALIAS: "chat-tls"}},
            "less by name": {"minimum": "response_bound"},
        }[way]
        got = face(net, net.wallet, settings, QUESTION, tmp_path)
        if way == "less by name" and face is FACES["compare"]:
            assert not got.accepted
            return
        assert got.accepted, got
        assert "Paris" in got.text
        if got.receipt is not None and way == "a word of the user's":
            verdict = got.receipt.verdict
            assert (verdict.status, verdict.binding) == (Status.VERIFIED, Binding.RENAMED)
            assert got.receipt.model == "chat-tls"
            assert got.receipt.policy["accept_models"] == {ALIAS: "chat-tls"}
            assert "as you accept" in verdict.explain()
        tally("reply under another name of the model", honest=1, accepted=1)

    def test_an_accepted_rename_covers_no_other(self, net, operator, tmp_path):
        settings: dict[str, Any] = {"provider": operator.provider.address, "model": "big-model", "verify": "require"}
        operator.plan = renaming(operator, "chat-ml")
        face = FACES["core-sync-create"]
        good = {"big-model": "chat-ml"}
        assert face(net, net.wallet, {**settings, "accept_models": good}, QUESTION, tmp_path).accepted
        for renames in ({"big-model": "other"}, {"chat-ml": "big-model"}, {"other": "chat-ml"}):
            got = face(net, net.wallet, {**settings, "accept_models": renames}, QUESTION, tmp_path)
            assert not got.accepted, renames

    def test_the_error_names_the_rewrite_and_every_way_out(self, net, operator):
        from zg_core import ChatClient, VerificationUnavailable

        operator.plan = renaming(operator, "chat-ml")
        where = {"network": "local", "rpc_url": net.rpc_url, "private_key": net.wallet.private_key, "environ": {}}
        with (
            ChatClient(provider=operator.provider.address, verify="require", **where) as client,
            pytest.raises(VerificationUnavailable) as caught,
        ):
            client.create({"model": "big-model", "messages": [{"role": "user", "content": QUESTION}]})
        error = caught.value
        assert error.code == "model_renamed"
        assert "'chat-ml' where 'big-model' was asked for" in error.message
        for way in ("model='chat-ml'", "accept_models={'big-model': 'chat-ml'}", "minimum='response_bound'"):
            assert way in error.hint

    def test_an_adapter_is_used_by_ones_own_word_too(self, net, provider, tmp_path):
        face, adapter = FACES["core-sync-create"], provider.adapter
        settings: dict[str, Any] = {"provider": provider.address, "model": adapter, "verify": "require"}
        refused = face(net, net.wallet, settings, QUESTION, tmp_path)
        assert (refused.accepted, refused.code, refused.receipt) == (False, "model_renamed", None)
        got = face(net, net.wallet, {**settings, "accept_models": {adapter: "chat-ml"}}, QUESTION, tmp_path)
        assert got.accepted
        assert got.receipt.model == got.receipt.verdict.signed_adapter == adapter

    def test_so_is_a_model_whose_vendor_calls_it_otherwise(self, tmp_path):
        """The name that is signed stands nowhere on chain: only who knows it can say so."""
        face, spec = FACES["core-sync-create"], ProviderSpec(model="m", kind="TeeTLS", upstream_model="vendor/m-1")
        with LocalNet(providers=[spec]) as net:
            honest = net.providers[0]
            net.open_account(net.wallet, honest, 10**19)
            settings: dict[str, Any] = {"provider": honest.address, "model": "m", "verify": "require"}
            refused = face(net, net.wallet, settings, QUESTION, tmp_path)
            assert (refused.accepted, refused.code) == (False, "request_unknown")
            got = face(net, net.wallet, {**settings, "accept_models": {"m": "vendor/m-1"}}, QUESTION, tmp_path)
            assert got.accepted
            assert got.receipt.model == "vendor/m-1"
