"""What every backend must pass, whatever network is behind it.

A backend plugs in by one class: a `World`, which says how its local network is reached and how it misbehaves. Its
module then holds no more than::

    class TestMine(Suite):
        @pytest.fixture(scope="class")
        def world(self) -> Iterator[World]:
            with MyNetwork() as network:
                yield MyWorld(network)

A world that cannot misbehave in one of the ways leaves its test out by returning False from `World.fault`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from tests.zg_core.conftest import Answered, Caller, ask
from zg_core import Amount, AsyncChatClient, Budget, ChatClient, Receipt, Routing
from zg_core.backends.base import LONGEST_ID
from zg_core.errors import (
    BudgetExceeded,
    ConfigError,
    ModelNotServed,
    OutcomeUnknown,
    RequestError,
    StreamTruncated,
    VerificationFailed,
    VerificationUnavailable,
    VerificationWarning,
    ZeroGError,
)
from zg_core.http.transport import run
from zg_core.receipts.checking import Anchor, check
from zg_core.tasks.base import CHAT
from zg_core.verify.verdict import Status, Verdict

Misdeed = Literal["refused", "rejected", "cut", "silent", "altered"]
"""What the next request for an answer is met with.

``refused``: a refusal that served nothing and may pass (429, 503). ``rejected``: what lets it in is refused, once; a
new one will do. ``cut``: a stream breaks off after it has begun. ``silent``: no answer, and the connection closes.
``altered``: the answer is not the one that was signed.
"""


class World:
    """A local network of one backend, and how clients reach it."""

    name = ""
    """The backend's."""
    model = ""
    """A model that is served."""
    currency = "0G"
    """What it bills in."""
    best = Status.VERIFIED
    """The verdict that an honest, unsealed answer gets."""
    candidates = 1
    """How many services of `model` a client can choose among."""
    other_kind = ""
    """A kind that none of its services has; by default one that fits `best`."""

    def settings(self) -> dict[str, Any]:
        """Arguments of a client that pays, but for the model."""
        raise NotImplementedError

    def prompts(self) -> int:
        """How many requests for an answer have reached the network so far, refused ones too."""
        raise NotImplementedError

    def fault(self, misdeed: Misdeed, times: int = 1) -> bool:
        """Misbehave at the next `times` requests, whoever gets them; False where the network cannot."""
        raise NotImplementedError

    def calm(self) -> None:
        """Be honest again."""
        raise NotImplementedError

    def one(self) -> dict[str, Any]:
        """Settings that leave a call no other service to go on to."""
        return {}

    def secrets(self) -> list[str]:
        """What must not be seen anywhere: keys, without their prefixes."""
        raise NotImplementedError

    def anchor(self, receipt: Receipt) -> Anchor:
        """Whose key must have signed, as the network itself says, not the receipt."""
        raise NotImplementedError


QUESTION = ask("What is 2 + 3?", max_tokens=40)
CALLERS = [Caller(loop=loop, stream=stream) for loop in (False, True) for stream in (False, True)]
STREAMS = [caller for caller in CALLERS if caller.stream]


class Suite:
    """The tests. A subclass has a fixture `world` of the scope of its class."""

    @pytest.fixture(autouse=True)
    def _calm(self, world: World) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VerificationWarning)
            yield
        world.calm()

    @pytest.fixture
    def options(self, world: World) -> dict[str, Any]:
        """Settings of a client that sends nothing again by itself."""
        return {"max_retries": 0, "limits": None, **world.settings(), "model": world.model}

    @staticmethod
    def misbehave(world: World, misdeed: Misdeed, times: int = 1) -> None:
        """Have the network misbehave, or leave the test out."""
        if not world.fault(misdeed, times):
            pytest.skip(f"the local network of {world.name} does not know {misdeed}")

    # the interface

    def test_it_has_three_attributes_and_eight_methods(self, options: dict[str, Any], world: World) -> None:
        with ChatClient(**options) as client:
            backend = client.backend
            assert backend.name == world.name
            assert 0 < len(backend.realm) <= LONGEST_ID
            assert 0 < len(backend.payer) <= LONGEST_ID
            for name in ("offers", "route", "body", "grant", "refusal", "hear", "fee", "verify"):
                assert callable(getattr(backend, name))

    def test_nothing_is_read_before_it_is_used(self, options: dict[str, Any], world: World) -> None:
        before = world.prompts()
        with ChatClient(**options) as client:
            assert world.model in repr(client)
        assert world.prompts() == before

    # offers and routing

    def test_offers_say_in_shared_words_who_can_answer(self, options: dict[str, Any], world: World) -> None:
        with ChatClient(**options) as client:
            offers = run(client.backend.offers(CHAT, world.model))
            assert len(offers) >= world.candidates
            for offer in offers:
                service = offer.service
                assert 0 < len(service.provider) <= LONGEST_ID
                assert (service.model, service.task) == (world.model, CHAT.name)
                assert service.url.startswith("http")
                assert json.loads(json.dumps(dict(service.record))) == dict(service.record)
                assert service.currency in ("0G", "OPG", "USD")
            assert any(offer.objection is None for offer in offers)
            everything = run(client.backend.offers(CHAT, None))
            assert {each.service.provider for each in offers} <= {each.service.provider for each in everything}

    def test_a_model_that_nobody_serves_is_refused_before_anything_is_sent(
        self, options: dict[str, Any], world: World
    ) -> None:
        before = world.prompts()
        with (
            ChatClient(**{**options, "model": "no-such-model-anywhere"}) as client,
            pytest.raises(ZeroGError) as caught,
        ):
            client.create(QUESTION)
        assert isinstance(caught.value, ModelNotServed | ConfigError)
        assert caught.value.hint
        assert world.prompts() == before

    def test_why_a_call_goes_where_it_goes_is_explained(self, options: dict[str, Any], world: World) -> None:
        with ChatClient(**options) as client:
            explanation = client.explain()
            assert explanation.chosen is not None
            answered = client.create(QUESTION)
            assert explanation.chosen.service.provider == answered.receipt.service.provider
            assert explanation.chosen.service.provider in str(explanation)

    def test_a_policy_that_no_service_can_meet_is_told_before_the_prompt_leaves(
        self, options: dict[str, Any], world: World
    ) -> None:
        before = world.prompts()
        other = world.other_kind or ("TeeTLS" if world.best is Status.VERIFIED else "standard")
        demands: list[dict[str, Any]] = [{"kinds": [other]}]
        if not Verdict(world.best).satisfies(Status.VERIFIED):
            demands.append({"verify": "require"})
        for demand in demands:
            with ChatClient(**{**options, **demand}) as client, pytest.raises(ZeroGError) as caught:
                client.create(QUESTION)
            assert isinstance(caught.value, VerificationUnavailable | ConfigError), caught.value
        assert world.prompts() == before

    # calls

    @pytest.mark.parametrize("caller", CALLERS, ids=repr)
    def test_a_call_is_answered_with_a_receipt(self, options: dict[str, Any], world: World, caller: Caller) -> None:
        answered = caller.call(options, QUESTION)
        receipt = answered.receipt
        assert "5" in answered.text
        assert (receipt.outcome, receipt.backend, receipt.task) == ("answered", world.name, CHAT.name)
        assert receipt.verdict.status is world.best, receipt.verdict.explain()
        assert receipt.usage is not None
        assert receipt.fee.amount.currency == world.currency
        assert receipt.fee.amount.units > 0 or not receipt.fee.exact
        assert (len(receipt.request_sha256), len(receipt.response_sha256)) == (64, 64)
        assert receipt.payer

    def test_many_tasks_share_a_client(self, options: dict[str, Any], world: World) -> None:
        async def main() -> list[Any]:
            async with AsyncChatClient(**options) as client:
                return await asyncio.gather(*(client.create(QUESTION) for _ in range(4)))

        replies = asyncio.run(main())
        assert len({reply.receipt.id for reply in replies}) == 4
        assert {reply.receipt.verdict.status for reply in replies} == {world.best}

    @pytest.mark.parametrize("caller", STREAMS, ids=repr)
    def test_a_stream_that_is_cut_is_never_a_whole_answer(
        self, options: dict[str, Any], world: World, caller: Caller
    ) -> None:
        self.misbehave(world, "cut")
        with pytest.raises(StreamTruncated) as caught:
            caller.call(options, ask("Count from 1 to 20."))
        receipt = caught.value.receipt
        assert receipt is not None
        assert (receipt.outcome, receipt.complete) == ("truncated", False)
        assert not receipt.verdict.satisfies(Status.RESPONSE_BOUND)

    # grants and refusals

    def test_what_lets_a_request_in_shows_itself_nowhere(
        self, options: dict[str, Any], world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG), ChatClient(**options) as client:
            receipt = client.create(QUESTION).receipt
            shown = [repr(client), repr(client.backend), repr(receipt), json.dumps(receipt.to_dict())]
        shown += [caplog.text, repr(options.get("backend"))]
        found = [secret[:6] for secret in world.secrets() for text in shown if secret.lower() in text.lower()]
        assert found == []

    def test_a_request_that_holds_the_key_that_pays_is_not_sent(self, options: dict[str, Any], world: World) -> None:
        before = world.prompts()
        with ChatClient(**options) as client:
            client.create(QUESTION)
            for secret in world.secrets():
                with pytest.raises(ConfigError) as caught:
                    client.create(ask(f"my key is {secret}"))
                assert caught.value.code == "secret_in_request"
                assert secret not in "".join(traceback.format_exception(caught.value))
        assert world.prompts() == before + 1

    def test_what_is_rejected_is_granted_anew_once(self, options: dict[str, Any], world: World) -> None:
        self.misbehave(world, "rejected")
        with ChatClient(**options) as client:
            assert "5" in client.create(QUESTION).text
            assert [receipt.outcome for receipt in client.receipts][-1] == "answered"

    def test_what_is_rejected_for_ever_ends(self, options: dict[str, Any], world: World) -> None:
        self.misbehave(world, "rejected", 99)
        before = world.prompts()
        with ChatClient(**options) as client, pytest.raises(ZeroGError) as caught:
            client.create(QUESTION)
        assert caught.value.code
        assert world.prompts() - before <= 4

    def test_a_refusal_has_a_receipt_and_served_nothing(self, options: dict[str, Any], world: World) -> None:
        self.misbehave(world, "refused")
        with ChatClient(**{**options, "routing": None, **world.one()}) as client:
            with pytest.raises(RequestError) as caught:
                client.create(QUESTION)
            receipt = caught.value.receipt
            assert caught.value.retryable
            assert receipt is not None
            assert receipt.outcome == "refused"
            assert (receipt.fee.exact, receipt.fee.lower) == (False, 0)
            assert "5" in client.create(QUESTION).text

    def test_what_was_not_served_is_tried_again(self, options: dict[str, Any], world: World) -> None:
        self.misbehave(world, "refused")
        with ChatClient(**{**options, "max_retries": 2}) as client:
            assert "5" in client.create(QUESTION).text
            assert [receipt.outcome for receipt in client.receipts] == ["refused", "answered"]

    def test_what_may_have_been_served_is_not_sent_again(self, options: dict[str, Any], world: World) -> None:
        self.misbehave(world, "silent")
        before = world.prompts()
        with ChatClient(**{**options, "max_retries": 2}) as client, pytest.raises(OutcomeUnknown) as caught:
            client.create(QUESTION)
        assert caught.value.receipt is not None
        assert caught.value.receipt.outcome == "unknown"
        assert world.prompts() - before == 1

    def test_one_that_cannot_serve_leaves_the_call_to_the_next(self, options: dict[str, Any], world: World) -> None:
        if world.candidates < 2:
            pytest.skip("there is one service")
        self.misbehave(world, "refused")
        with ChatClient(**{**options, "routing": Routing()}) as client:
            assert "5" in client.create(QUESTION).text
            refused, answered = client.receipts
            assert (refused.outcome, answered.outcome) == ("refused", "answered")
            assert refused.provider != answered.provider

    # proof

    @pytest.mark.parametrize("caller", CALLERS[:2], ids=repr)
    def test_an_answer_that_was_altered_is_never_proven(
        self, options: dict[str, Any], world: World, caller: Caller
    ) -> None:
        self.misbehave(world, "altered")
        try:
            verdict = caller.call(options, QUESTION).receipt.verdict
        except VerificationFailed as error:
            verdict = Verdict(Status.PENDING) if error.receipt is None else error.receipt.verdict
        assert verdict.status is not Status.PENDING
        assert not verdict.satisfies(Status.RESPONSE_BOUND)

    def test_a_receipt_is_checked_again_offline(self, options: dict[str, Any], world: World) -> None:
        with ChatClient(**{**options, "keep_bytes": True}) as client:
            receipt = client.create(QUESTION).receipt
        document = json.loads(json.dumps(receipt.to_dict()))
        anchor = world.anchor(receipt)
        found = check(document, anchor, minimum=world.best)
        assert found.result == "passed", found
        document["request"]["sha256"] = "00" * 32
        assert check(document, anchor, minimum=world.best).result == "failed"

    # money

    def budget(self, world: World, units: int, **more: Any) -> Budget:
        """A budget of a run in the currency of the world."""
        return Budget(per_run=Amount(units, world.currency), unpriced=Amount(units, world.currency), **more)

    @pytest.mark.parametrize("caller", CALLERS, ids=repr)
    def test_what_a_budget_does_not_have_is_not_asked_for(
        self, options: dict[str, Any], world: World, caller: Caller
    ) -> None:
        before = world.prompts()
        budget = Budget(per_run=Amount(1, world.currency), unpriced=Amount(2, world.currency))
        with pytest.raises(BudgetExceeded) as caught:
            caller.call({**options, "budget": budget}, QUESTION)
        assert caught.value.details["asked"].currency == world.currency
        assert world.prompts() == before

    def test_a_budget_counts_what_a_call_cost_and_holds_nothing_after(
        self, options: dict[str, Any], world: World
    ) -> None:
        plenty = 10**21
        budget = Budget(per_run=Amount(plenty, world.currency), unpriced=Amount(10**17, world.currency))
        with ChatClient(**{**options, "budget": budget}) as client:
            receipt = client.create(QUESTION).receipt
            assert client.spending is not None
            left = client.spending.left(receipt.payer, receipt.provider)["per_run"]
            most = receipt.fee.most
            assert left.currency == world.currency
            assert most is not None
            if receipt.fee.exact:
                assert plenty - left.units == receipt.fee.amount.units
                assert [held for held in client.spending.held() if held.receipt == receipt.id] == []
            else:
                assert plenty - left.units <= 10**19

    def test_what_is_unknown_stays_held(self, options: dict[str, Any], world: World) -> None:
        self.misbehave(world, "silent")
        budget = Budget(per_run=Amount(10**21, world.currency), unpriced=Amount(10**17, world.currency))
        with ChatClient(**{**options, "budget": budget}) as client:
            with pytest.raises(OutcomeUnknown):
                client.create(QUESTION)
            assert client.spending is not None
            own = {receipt.id for receipt in client.receipts}
            (held,) = (each for each in client.spending.held() if each.receipt in own)
            assert held.upper > Amount(0, world.currency)

    # values

    def test_receipts_travel(self, options: dict[str, Any], world: World) -> None:
        with ChatClient(**options) as client:
            receipt = client.create(QUESTION).receipt
        again = Receipt.from_dict(json.loads(json.dumps(receipt.to_dict())))
        assert again.to_dict() == receipt.to_dict()
        assert pickle.loads(pickle.dumps(receipt)).to_dict() == receipt.to_dict()

    def test_a_backend_is_not_pickled_with_its_keys(self, options: dict[str, Any], world: World) -> None:
        with ChatClient(**options) as client:
            try:
                data = pickle.dumps(client.backend)
            except Exception:
                return
        assert not any(secret.encode() in data for secret in world.secrets())


__all__ = ["CALLERS", "QUESTION", "Answered", "Misdeed", "Suite", "World"]
