"""0G Router as a backend over real sockets: claims in the clear, proof where it is sealed, and nothing sent in vain."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from tests.patience import hastily
from tests.zg_core.backends.router.conftest import Make, settings_for
from zg_core import ChatClient, ImageClient, SpeechClient, VerificationWarning
from zg_core.backends.router.options import Router
from zg_core.contracts.reader import ChainReader
from zg_core.errors import (
    ConfigError,
    InsufficientFunds,
    ModelNotServed,
    ProviderUnavailable,
    RateLimited,
    SessionRejected,
    VerificationFailed,
    VerificationUnavailable,
    ZeroGError,
)
from zg_core.localnet import LocalNet, ProviderSpec, speak
from zg_core.localnet.router.faults import RouterFault
from zg_core.routing.routing import Routing
from zg_core.types import Prompt
from zg_core.verify.verdict import Reason, Status

QUESTION = "Say: a secret word, swordfish"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": QUESTION}]}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerificationWarning)
        yield


def streamed(client: ChatClient, ask: dict[str, Any] | None = None) -> tuple[list[dict[str, Any]], Any]:
    with client.stream(ask or ASK) as stream:
        events = list(stream)
    return events, stream.receipt


class TestInTheClear:
    def test_a_reply_is_signer_only_and_its_prompt_was_open(self, make: Make, net: LocalNet) -> None:
        reply = make().create(ASK)
        verdict = reply.receipt.verdict
        assert (verdict.status, verdict.prompt) == (Status.SIGNER_ONLY, Prompt.OPEN)
        assert reply.receipt.provider == net.provider("local-chat-1").address
        assert "swordfish" in reply.text

    def test_a_claim_is_a_claim(self, make: Make, net: LocalNet) -> None:
        with net.router.fault(RouterFault.KEY_HIDDEN):
            reply = make(verify_tee=True).create(ASK)
        assert reply.receipt.verdict.status is Status.CLAIMED
        with net.router.fault(RouterFault.CLAIM_FAILED), pytest.raises(VerificationFailed) as caught:
            make(verify_tee=True).create(ASK)
        assert caught.value.code == "claim_failed"

    def test_a_key_of_the_routers_own_leads_nowhere(self, make: Make, net: LocalNet) -> None:
        net.router.behave(passes_key=False)
        verdict = make().create(ASK).receipt.verdict
        assert (verdict.status, verdict.reason) == (Status.UNAVAILABLE, Reason.NO_SIGNATURE)

    @pytest.mark.parametrize("shape", ["bare", "empty", "null", "folded", "comment", "none"])
    def test_a_trace_of_every_shape_is_understood_and_shown_to_nobody(
        self, make: Make, net: LocalNet, shape: str
    ) -> None:
        net.router.behave(trace=shape)
        events, receipt = streamed(make())
        known = shape not in ("comment", "none")
        assert receipt.fee.exact is known
        assert receipt.fee.reason == ("" if known else "cost_not_said")
        assert all(event.get("choices") or event.get("usage") for event in events)
        if known:
            assert receipt.fee.amount.units == int(net.router.history[-1]["cost"])

    def test_what_it_costs_is_what_the_router_charged(self, make: Make, net: LocalNet) -> None:
        before = net.router.balance
        fee = make().create(ASK).receipt.fee
        assert (fee.amount.units, fee.exact) == (before - net.router.balance, True)

    def test_an_account_in_usd_has_its_cost_in_usd(self, make: Make, net: LocalNet) -> None:
        net.router.pay_in("usd")
        try:
            fee = make().create(ASK).receipt.fee
        finally:
            net.router.pay_in("0g")
        assert (fee.amount.currency, fee.amount.units > 0) == ("USD", True)

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [(RouterFault.COST_WRONG, "cost_implausible"), (RouterFault.COST_CONTRADICTS, "cost_contradicts")],
    )
    def test_a_cost_that_cannot_be_is_not_exact(
        self, make: Make, net: LocalNet, fault: RouterFault, reason: str
    ) -> None:
        with net.router.fault(fault):
            assert make().create(ASK).receipt.fee.reason == reason

    def test_more_than_claims_is_refused_before_the_prompt_leaves(self, make: Make, net: LocalNet) -> None:
        with pytest.raises(VerificationUnavailable) as caught:
            make(verify="require").create(ASK)
        assert caught.value.code == "out_of_reach"
        assert "sealed=True" in caught.value.hint
        assert "direct" in caught.value.hint
        assert not any(b"swordfish" in passed for passed in net.router.seen)
        assert make(verify="require", minimum="signer_only").create(ASK).text

    def test_an_error_at_the_end_of_a_stream_is_one(self, make: Make, net: LocalNet) -> None:
        with net.router.fault(RouterFault.ERROR_AT_THE_END), pytest.raises(ZeroGError) as caught:
            streamed(make())
        assert caught.value.code == "error_in_stream"
        assert caught.value.receipt is not None

    def test_what_is_asked_of_the_router_is_in_headers_alone(self, make: Make, net: LocalNet) -> None:
        make(sort="price", max_price_usd="5", routing=Routing(sort="latency")).create(ASK)
        passed = b"\n".join(net.router.seen).lower()
        assert b"x-0g-provider-sort: price" in passed  # what is asked of the Router alone is the nearer word
        assert b"x-0g-provider-trust-mode: verified" in passed
        assert b"x-0g-provider-max-price-usd-completion: 5" in passed
        assert b'"provider"' not in next(each for each in net.router.seen if b"swordfish" in each)

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_check_that_takes_its_time_is_waited_for(self, make: Make, net: LocalNet, stream: bool) -> None:
        """The Router says nothing while it checks: no patience of the user's is as short as that."""

        def answered(seconds: float) -> Any:
            client = make(verify_tee=True, minimum="claimed", verify="warn", timeout=seconds)
            with net.router.fault(RouterFault.CLAIM_LATE, seconds=3 * seconds) as late:
                receipt = streamed(client)[1] if stream else client.create(ASK).receipt
            assert late.fired
            return receipt

        receipt = hastily(answered, ProviderUnavailable)
        assert receipt is not None
        assert receipt.evidence.facts["trace"]["tee_verified"] is True


class TestBadInput:
    @pytest.mark.parametrize("prefix", ["mk-", "pk-", "sk-proj-", "sk-ant-", "sk-or-", "sk-svcacct-"])
    def test_a_wrong_key_is_refused_where_the_client_is_made(self, net: LocalNet, prefix: str) -> None:
        key = prefix + "1234567890abcdef1234567890"
        with pytest.raises(ConfigError) as caught:
            ChatClient(backend=Router(base_url=net.router.base_url), api_key=key, model="m", environ={})
        assert caught.value.code == "wrong_key"
        assert "1234567890abcdef" not in str(caught.value)
        assert not net.router.seen

    def test_openais_variable_is_never_read(self, net: LocalNet) -> None:
        environ = {"OPENAI_API_KEY": "sk-proj-1234567890", "OPENAI_BASE_URL": "http://127.0.0.1:9"}
        with pytest.raises(ConfigError) as caught:
            ChatClient(backend=Router(base_url=net.router.base_url), model="m", environ=environ)
        assert caught.value.code == "no_credential"

    def test_the_key_chooses_the_backend(self) -> None:
        client = ChatClient(api_key="sk-" + "1" * 40, model="m", environ={})
        assert (client.backend.name, client.backend.realm) == ("router", "0g-router:16602")

    @pytest.mark.parametrize(
        ("settings", "balance", "kind", "code"),
        [
            ({"api_key": "sk-0123456789abcdef0123"}, None, SessionRejected, "invalid_api_key"),
            ({}, 0, InsufficientFunds, "insufficient_balance"),
            ({"model": "nobody's"}, None, ModelNotServed, "model_not_served"),
            ({"model": "local-chat-4"}, None, ProviderUnavailable, "no_provider_for_trust_mode"),
            ({"max_price_usd": "0.0000001"}, None, ZeroGError, "no_provider_within_max_price"),
        ],
    )
    def test_each_is_a_typed_error_that_names_the_fix(
        self, make: Make, net: LocalNet, settings: dict[str, Any], balance: int | None, kind: type, code: str
    ) -> None:
        if balance is not None:
            net.router.set_balance(balance)
        with pytest.raises(kind) as caught:
            make(**settings).create(ASK)
        assert caught.value.code == code
        assert caught.value.hint

    def test_a_minute_that_is_full_says_when_it_ends(self, make: Make, net: LocalNet) -> None:
        net.router.behave(requests_per_minute=1)
        client = make(api_key=net.router.new_key())  # its queue is remembered for the key
        client.create(ASK)
        with pytest.raises(RateLimited) as caught:
            client.create(ASK)
        assert caught.value.details["retry_after"] > 0

    def test_the_key_is_in_no_receipt_and_no_repr(self, make: Make, net: LocalNet) -> None:
        client = make()
        receipt = client.create(ASK).receipt
        for shown in (repr(client), repr(client.backend), str(receipt.to_dict()), repr(vars(client))):
            assert net.router.api_key not in shown


class TestSealed:
    @pytest.mark.parametrize("model", ["local-chat-1", "local-chat-2", "local-chat-3"])
    def test_a_reply_is_verified_and_nobody_between_read_it(self, make: Make, net: LocalNet, model: str) -> None:
        client = make(sealed=True, verify="require", model=model)
        for receipt, text in (_whole(client), _events(client)):
            assert receipt.verdict.status is Status.VERIFIED
            assert "swordfish" in text
            vendor = model == "local-chat-2"
            assert receipt.verdict.prompt is (Prompt.VENDOR if vendor else Prompt.SEALED)
            assert receipt.provider == net.provider(model).address
            assert receipt.fee.exact
        assert not any(b"swordfish" in passed for passed in net.router.seen)

    def test_tools_are_sealed_with_it(self, make: Make, net: LocalNet) -> None:
        tool = {"type": "function", "function": {"name": "get_swordfish", "parameters": {"type": "object"}}}
        make(sealed=True, verify="require").create({**ASK, "tools": [tool], "tool_choice": "auto"})
        assert not any(b"swordfish" in passed for passed in net.router.seen)

    @pytest.mark.parametrize(
        ("fault", "code"),
        [("key_swapped", "quote_not_signed"), ("unsigned", "quote_not_signed"), ("legacy", "no_sealing_key")],
    )
    def test_no_prompt_is_sealed_to_a_key_that_is_not_proven(
        self, make: Make, net: LocalNet, fault: str, code: str
    ) -> None:
        net.provider("local-chat-1").quote_fault(fault)
        with pytest.raises(ZeroGError) as caught:
            make(sealed=True).create(ASK)
        assert caught.value.code == code
        assert not net.router.history or b"_e2ee" not in b"".join(net.router.seen)

    @pytest.mark.parametrize("fault", ["wrong_signer", "debug_td", "truncated_quote"])
    def test_nor_to_an_enclave_that_is_not_attested(self, make: Make, net: LocalNet, fault: str) -> None:
        net.provider("local-chat-1").attestation_fault(fault)
        with pytest.raises(ZeroGError) as caught:
            make(sealed=True).create(ASK)
        assert caught.value.code in ("attestation_failed", "attestation_unavailable")
        assert b"_e2ee" not in b"".join(net.router.seen)

    def test_an_enclave_with_a_new_key_is_looked_at_again_and_sealed_to_anew(self, make: Make, net: LocalNet) -> None:
        client = make(sealed=True, verify="require")
        client.create(ASK)
        net.provider("local-chat-1").rotate_signer()
        assert "swordfish" in client.create(ASK).text

    def test_a_stranger_in_the_preview_gets_nothing(self, make: Make, net: LocalNet) -> None:
        with net.router.fault(RouterFault.PREVIEW_STRANGER, times=None), pytest.raises(ModelNotServed):
            make(sealed=True).create(ASK)
        assert b"_e2ee" not in b"".join(net.router.seen)

    @pytest.mark.parametrize("sealed", [False, True])
    def test_anthropics_form_is_refused_by_name_before_anything_is_sent(
        self, make: Make, net: LocalNet, sealed: bool
    ) -> None:
        for path in ("/messages", "/v1/messages"):
            with pytest.raises(ConfigError, match="Anthropic") as caught:
                make(sealed=sealed).create({**ASK, "max_tokens": 9}, path=path)
            assert (caught.value.code, "/chat/completions" in caught.value.hint) == ("unknown_task", True)
        assert not [passed for passed in net.router.seen if passed.startswith(b"POST")]

    def test_a_provider_of_another_model_in_the_preview_gets_nothing(self, make: Make, net: LocalNet) -> None:
        with net.router.fault(RouterFault.PREVIEW_OTHER_MODEL, times=None), pytest.raises(ZeroGError) as caught:
            make(sealed=True).create(ASK)
        assert caught.value.code == "model_renamed"
        assert "accept_models={'local-chat-1': " in caught.value.hint
        assert b"_e2ee" not in b"".join(net.router.seen)
        other = net.provider("local-chat-2")
        with net.router.fault(RouterFault.PREVIEW_OTHER_MODEL, times=None), pytest.raises(ZeroGError) as refused:
            make(sealed=True, accept_models={"local-chat-1": "local-chat-9"}).create(ASK)
        assert refused.value.code == "model_renamed"
        assert make(sealed=True, provider=other.address, model="local-chat-2").create(ASK).text

    def test_a_preview_without_end_costs_no_reads_without_end(
        self, make: Make, net: LocalNet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[str] = []
        service = ChainReader.service

        async def counted(reader: ChainReader, address: str, **more: Any) -> Any:
            read.append(address)
            return await service(reader, address, **more)

        monkeypatch.setattr(ChainReader, "service", counted)
        with net.router.fault(RouterFault.PREVIEW_REPEATS, times=None):
            client = make(sealed=True)
            assert len(client.explain()) == 1
            assert 2 < len(read) < 60
            assert client.create(ASK).receipt.verdict.status is Status.VERIFIED

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_call_goes_on_to_the_next_enclave_and_is_sealed_anew(self, status: int) -> None:
        """Nobody has to ask for that: the candidates of a model are as good as each other (0g-router §10.5)."""
        with LocalNet(providers=[ProviderSpec(model="m"), ProviderSpec(model="m")], router=True) as net:
            client = ChatClient(**settings_for(net, sealed=True, model="m", verify="require"))
            with client, net.router.fault(RouterFault.REFUSED, status=status, code="vault_unavailable"):
                reply = client.create(ASK)
            assert reply.receipt.verdict.status is Status.VERIFIED
            sent = [passed for passed in net.router.seen if b"_e2ee" in passed and passed.startswith(b"POST")]
            pinned = {line for passed in sent for line in passed.split(b"\n") if b"provider-address" in line.lower()}
            keys = {json.loads(passed.rpartition(b"\n")[2])["_e2ee"]["key_id"] for passed in sent}
            assert (len(sent), len(pinned), len(keys)) == (2, 2, 2)

    def test_a_key_that_is_none_is_tried_once(self, make: Make, net: LocalNet) -> None:
        with LocalNet(providers=[ProviderSpec(model="m"), ProviderSpec(model="m")], router=True) as net:
            client = ChatClient(**settings_for(net, sealed=True, model="m"))
            refused = net.router.fault(RouterFault.REFUSED, times=None, status=401, code="invalid_api_key")
            with client, refused, pytest.raises(SessionRejected):
                client.create(ASK)
            sent = [passed for passed in net.router.seen if b"_e2ee" in passed and passed.startswith(b"POST")]
            assert len(sent) == 1

    def test_where_the_enclave_is_says_the_chain_and_not_the_preview(self, make: Make, net: LocalNet) -> None:
        with net.router.fault(RouterFault.PREVIEW_OTHER_ENDPOINT, times=None):
            assert make(sealed=True, verify="require").create(ASK).text

    def test_without_a_preview_the_router_is_asked_who_there_is(self, make: Make, net: LocalNet) -> None:
        net.router.behave(previews=False)
        assert make(sealed=True, verify="require").create(ASK).text

    def test_a_service_without_an_enclave_is_refused(self, make: Make, net: LocalNet) -> None:
        with pytest.raises(ZeroGError):
            make(sealed=True, model="local-chat-4", trust_mode=None).create(ASK)
        assert b"_e2ee" not in b"".join(net.router.seen)

    def test_what_would_break_the_seal_is_refused(self, make: Make, net: LocalNet) -> None:
        with pytest.raises(ConfigError) as caught:
            make(sealed=True).create({**ASK, "plugins": [{"id": "web"}]})
        assert caught.value.code == "cannot_seal"
        with pytest.raises(ConfigError):
            Router(sealed=True, verify_tee=True)
        assert not any(b"swordfish" in passed for passed in net.router.seen)

    def test_a_cost_that_the_enclaves_count_does_not_give_is_not_exact(self, make: Make, net: LocalNet) -> None:
        with net.router.fault(RouterFault.COST_WRONG):
            fee = make(sealed=True).create(ASK).receipt.fee
        assert (fee.exact, fee.reason) == (False, "cost_contradicts")


def _whole(client: ChatClient) -> tuple[Any, str]:
    reply = client.create(ASK)
    return reply.receipt, reply.text


def _events(client: ChatClient) -> tuple[Any, str]:
    events, receipt = streamed(client)
    texts = [choice["delta"].get("content") or "" for event in events for choice in event.get("choices") or []]
    return receipt, "".join(texts)


@pytest.mark.parametrize("sealed", [False, True])
class TestOtherTasks:
    """Embeddings, images and transcripts, where the Router offers them."""

    def where(self, net: LocalNet, sealed: bool, model: str) -> dict[str, Any]:
        demand = {"verify": "require"} if sealed else {"verify": "warn"}
        return settings_for(net, sealed=sealed, **demand) | {"model": model}

    def proven(self, net: LocalNet, receipt: Any, *, sealed: bool) -> None:
        assert receipt.verdict.status is (Status.VERIFIED if sealed else Status.SIGNER_ONLY)
        assert any(b"swordfish" in passed for passed in net.router.seen) is not sealed

    def test_embeddings(self, net: LocalNet, sealed: bool) -> None:
        payload = {"input": ["a swordfish", "b"], "encoding_format": "float"}
        with ChatClient(**self.where(net, sealed, "local-embed-1"), service_type="embedding") as client:
            reply = client.create(payload, path="/embeddings")
        assert len(reply.body["data"]) == 2
        self.proven(net, reply.receipt, sealed=sealed)

    def test_images(self, net: LocalNet, sealed: bool) -> None:
        with ImageClient(**self.where(net, sealed, "local-image-1")) as client:
            made = client.generate("a swordfish")
        self.proven(net, made.receipt, sealed=sealed)
        assert made.receipt.fee.upper is None or made.receipt.fee.upper > 0

    def test_transcripts(self, net: LocalNet, sealed: bool) -> None:
        with SpeechClient(**self.where(net, sealed, "local-speech-1")) as client:
            heard = client.transcribe(speak("a swordfish"), prompt="swordfish")
        assert "swordfish" in heard.text
        assert heard.receipt.fee.upper is None or heard.receipt.fee.upper > 0
        self.proven(net, heard.receipt, sealed=sealed)
