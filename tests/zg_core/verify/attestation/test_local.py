"""Attestation over the wire: the local network's hardware, honest and not, and clients that ask for it first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from zg_core import AsyncChatClient, AttestationError, ChatClient, ConfigError, Routing, VerificationUnavailable
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.localnet import AttestationFault, LocalNet, LocalProvider, ProviderSpec
from zg_core.verify import AllOf, Attested, Kinds, ResponseBound
from zg_core.verify.attestation import AttestationOptions, Collateral, Level, Outcome, attest

pytest.importorskip("dcap_qvl")

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
ML, TLS, SEPARATED, STANDARD = range(4)
# fault: the level at which it shows, and how
EXPECTED = {
    AttestationFault.WRONG_SIGNER: (1, "fail", "the key on chain is"),
    AttestationFault.REPLAYED_QUOTE: (1, "fail", "the key on chain is"),
    AttestationFault.DEBUG_TD: (1, "fail", "debug"),
    AttestationFault.WRONG_LAYOUT: (1, "fail", "layouts"),
    AttestationFault.TRUNCATED_QUOTE: (1, "fail", "cut short"),
    AttestationFault.REVOKED_PCK: (2, "fail", "revoked"),
    AttestationFault.EXPIRED_COLLATERAL: (2, "unavailable", "expired"),
    AttestationFault.OUTDATED_TCB: (2, "fail", "OutOfDate (LOCAL-SA-00001)"),
    AttestationFault.OTHER_SYSTEM: (3, "fail", "not on the list"),
    AttestationFault.EDITED_EVENT_LOG: (3, "fail", "RTMR3"),
    AttestationFault.EDITED_COMPOSE: (3, "fail", "not the one that was measured"),
}


@pytest.fixture(scope="module")
def own_net() -> Iterator[LocalNet]:
    specs = [
        ProviderSpec(model="chat-ml"),
        ProviderSpec(model="chat-tls", kind="TeeTLS"),
        ProviderSpec(model="chat-separated", kind="TeeML-separated"),
        ProviderSpec(model="chat-standard", kind="standard"),
        ProviderSpec(model="chat-ml"),
    ]
    with LocalNet(providers=specs) as network:
        for provider in network.providers:
            network.open_account(network.wallet, provider, 10 * 10**18)
        yield network


@pytest.fixture
def provider(own_net: LocalNet) -> Iterator[LocalProvider]:
    yield own_net.providers[ML]
    for one in own_net.providers:
        one.clear_faults()


def options(net: LocalNet, provider: LocalProvider | None = None, **more: Any) -> AttestationOptions:
    """What believes in the local hardware; with a provider, its collateral is handed over instead of fetched."""
    given: dict[str, Any] = {"root": net.attestation_root, "pccs_url": net.pccs_url, "os_images": [net.os_image]}
    if provider is not None:
        given["collateral"] = provider.collateral
    return AttestationOptions(**{**given, **more})


def settings(net: LocalNet, provider: LocalProvider, **more: Any) -> dict[str, Any]:
    wallet = {"private_key": net.wallet.private_key, "network": "local", "rpc_url": net.rpc_url, "environ": {}}
    return {**wallet, "provider": provider.address, **more}


def attested(net: LocalNet, provider: LocalProvider, *, loop: bool = False, level: int = 3, **more: Any) -> Any:
    more.setdefault("options", options(net, provider))
    with ChatClient(**settings(net, provider)) as client:
        service = client.service().on_chain
    if not loop:
        transport = SyncTransport()
        try:
            return run(attest(service, transport, level=level, **more))
        finally:
            transport.close()

    async def work() -> Any:
        transport = AsyncTransport()
        try:
            return await attest(service, transport, level=level, **more)
        finally:
            await transport.close()

    return asyncio.run(work())


def prompts(net: LocalNet) -> int:
    return sum(r.path.endswith("/chat/completions") for p in net.providers for r in p.requests)


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("number", [ML, TLS, SEPARATED], ids=["TeeML", "TeeTLS", "TeeML-separated"])
def test_honest_evidence_passes_up_to_level_3(own_net, number, loop):
    steps: list[str] = []
    report = attested(own_net, own_net.providers[number], loop=loop, on_step=steps.append)
    assert report.satisfies(3), report.explain()
    subjects = {result.subject for result in report.results}
    assert subjects == {"chain", "broker", *({"model"} if number == SEPARATED else ())}
    assert steps[0] == "asking the broker for its report"
    assert report.find("root").startswith("given: ")


def test_collateral_is_fetched_where_the_options_say(own_net):
    report = attested(own_net, own_net.providers[ML], options=options(own_net))
    assert report.satisfies(3), report.explain()
    assert report.expires_at is not None


def test_a_service_without_an_enclave_has_nothing_to_attest(own_net):
    report = attested(own_net, own_net.providers[STANDARD])
    assert [str(report.outcome(level)) for level in (1, 2, 3)] == ["not_applicable"] * 3
    assert not report.satisfies(1)


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("fault", list(EXPECTED))
def test_every_fault_shows_at_its_level(own_net, provider, tally, fault, loop):
    level, outcome, words = EXPECTED[fault]
    provider.attestation_fault(fault)
    report = attested(own_net, provider, loop=loop)
    assert report.outcome(level) == outcome, report.explain()
    assert words.lower() in " ".join(r.explanation for r in report.results if r.level == level).lower()
    assert report.satisfies(level - 1), "what comes before is not touched"
    assert not report.satisfies(level)
    tally(f"attestation {fault.value}", tried=1, caught=1)


def test_no_fault_lacks_its_case():
    assert set(EXPECTED) == set(AttestationFault)


def test_without_the_local_root_made_up_hardware_is_not_believed(own_net, provider):
    report = attested(own_net, provider, options=AttestationOptions(collateral=provider.collateral))
    assert report.outcome(2) is Outcome.FAIL
    assert report.failed


def test_a_pccs_that_cannot_be_reached_leaves_level_2_open(own_net, provider):
    nowhere = options(own_net, pccs_url="http://127.0.0.1:9")
    report = attested(own_net, provider, options=nowhere)
    assert report.outcome(2) is Outcome.UNAVAILABLE
    assert report.outcome(3) is Outcome.PASS


def test_the_report_is_plain_data_and_shows_itself(own_net):
    report = attested(own_net, own_net.providers[SEPARATED], level=4)
    plain = json.loads(json.dumps(report.to_dict()))
    assert [result["level"] for result in plain["results"]] == sorted(r["level"] for r in plain["results"])
    assert json.dumps(report.summary())
    assert "L3 pass" in repr(report)
    assert "<table>" in report._repr_html_()
    pytest.importorskip("pandas")
    frame = report.to_pandas()
    assert list(frame["outcome"])[:3] == ["pass", "pass", "pass"]
    assert set(frame["of"]) == {"chain", "broker", "model"}
    with pytest.raises(TypeError, match="satisfies"):
        bool(report)


class TestClients:
    """Attestation before the first prompt."""

    @pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
    @pytest.mark.parametrize("verify", ["warn", "require", "off"])
    def test_it_is_made_once_and_is_on_the_receipt(self, own_net, provider, loop, verify):
        given = settings(own_net, provider, verify=verify, attest=3, attestation=options(own_net, provider))

        def quotes() -> int:
            return sum(r.path == "/v1/quote" for r in provider.requests)

        before = quotes()
        if loop:

            async def work() -> list[Any]:
                async with AsyncChatClient(**given) as client:
                    return [
                        reply.receipt for reply in await asyncio.gather(*(client.create(QUESTION) for _ in range(3)))
                    ]

            receipts = asyncio.run(work())
        else:
            with ChatClient(**given) as client:
                receipts = [client.create(QUESTION).receipt for _ in range(3)]
        assert quotes() == before + 1
        for receipt in receipts:
            assert receipt.attestation["level"] == 3
            assert receipt.attestation["signer"] == provider.response_signer
            assert receipt.attestation["tcb_status"] == "UpToDate"

    @pytest.mark.parametrize("fault", list(EXPECTED))
    @pytest.mark.parametrize("verify", ["off", "background", "warn", "require"])
    def test_no_prompt_leaves_for_a_provider_that_is_not_attested(self, own_net, provider, fault, verify):
        level, outcome, _ = EXPECTED[fault]
        provider.attestation_fault(fault)
        before = prompts(own_net)
        given = settings(own_net, provider, verify=verify, attest=3, attestation=options(own_net, provider))
        expected = AttestationError if outcome == "fail" else VerificationUnavailable
        with ChatClient(**given) as client, pytest.raises(expected) as caught:
            client.create(QUESTION)
        assert caught.value.code == ("attestation_failed" if outcome == "fail" else "attestation_unavailable")
        assert f"level {level}" in str(caught.value)
        assert "zerog verify" in caught.value.hint
        assert prompts(own_net) == before

    def test_kinds_refuse_before_anything_is_attested(self, own_net):
        before = prompts(own_net)
        condition = AllOf(ResponseBound(), Kinds("TeeML"), Attested(level=2))
        given = settings(own_net, own_net.providers[TLS], verify=condition)
        with ChatClient(**given) as client, pytest.raises(VerificationUnavailable) as caught:
            client.create(QUESTION)
        assert caught.value.code == "kind_not_allowed"
        assert prompts(own_net) == before

    def test_a_provider_that_failed_is_tried_again_at_the_next_call(self, own_net, provider):
        provider.attestation_fault("debug_td")
        given = settings(own_net, provider, attest=1, attestation=options(own_net, provider))
        with ChatClient(**given) as client:
            with pytest.raises(AttestationError):
                client.create(QUESTION)
            provider.clear_faults()
            assert client.create(QUESTION).receipt.attestation["level"] == 1

    def test_a_key_that_came_after_the_attestation_is_refused_once_then_attested(self, own_net, provider):
        snapshot = own_net.snapshot()
        given = settings(
            own_net, provider, verify="require", attest=1, attestation=options(own_net, provider), record_age=60
        )
        with ChatClient(**given) as client:
            client.create(QUESTION)
            provider.rotate_signer()
            with pytest.raises(VerificationUnavailable) as caught:
                client.create(QUESTION)
            assert caught.value.code == "signer_not_attested"
            assert caught.value.text
            assert client.create(QUESTION).receipt.attestation["signer"] == provider.response_signer
        own_net.revert(snapshot)

    def test_a_model_alone_finds_a_provider_that_is_attested(self, own_net, provider):
        other = own_net.providers[-1]
        first, second = sorted((provider, other), key=lambda each: each.address.lower())
        first.attestation_fault("debug_td")
        given = settings(own_net, provider, attest=1, attestation=options(own_net))
        del given["provider"]
        with ChatClient(**given, model="chat-ml") as client:
            assert client.create(QUESTION).receipt.provider == second.address
        second.attestation_fault("debug_td")
        with ChatClient(**given, model="chat-ml") as client, pytest.raises(AttestationError, match="debug"):
            client.create(QUESTION)

    @pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
    def test_with_routing_one_whose_attestation_is_refused_is_passed_over_and_asked_nothing(
        self, own_net, provider, loop
    ):
        first, second = sorted((provider, own_net.providers[-1]), key=lambda each: each.address.lower())
        first.attestation_fault("debug_td")
        given = settings(own_net, provider, attest=1, attestation=options(own_net), routing=Routing(), model="chat-ml")
        del given["provider"]

        async def once() -> Any:
            async with AsyncChatClient(**given) as client:
                return await client.create(QUESTION)

        def call() -> Any:
            if loop:
                return asyncio.run(once())
            with ChatClient(**given) as client:
                return client.create(QUESTION)

        before = len(first.log)
        receipt = call().receipt
        assert (receipt.provider, receipt.attestation["level"], len(first.log)) == (second.address, 1, before)
        second.attestation_fault("debug_td")
        with pytest.raises(AttestationError) as caught:
            call()
        causes = caught.value.__cause__.exceptions
        assert {cause.details["provider"] for cause in causes} == {first.address, second.address}


@pytest.mark.parametrize(
    "wrong", [{"statuses": ("Fine",)}, {"collateral": "{}"}, {"collateral": "/no/such/file"}, {"collateral": "{"}]
)
def test_nonsense_options_are_refused_when_they_are_made(wrong):
    with pytest.raises(ConfigError) as caught:
        AttestationOptions(**wrong)
    assert caught.value.hint


def test_levels_are_named():
    assert [level.name for level in Level] == ["CHAIN", "BINDING", "DCAP", "CONFIG", "GPU"]
    assert Collateral.__doc__
