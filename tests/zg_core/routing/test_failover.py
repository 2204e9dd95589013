"""Failing over on a local network of several providers: sync and async, whole and streamed."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import PATIENCE
from tests.ports import refusing
from tests.zg_core.conftest import CALM
from tests.zg_core.hand_clock import Clock
from tests.zg_core.routing.routed import CHEAP, DEAR, GIGA, OTHER, SPECS, UNFUNDED, WEAK, Scene, ask, timed
from zg_core import (
    AsyncChatClient,
    Budget,
    ChatClient,
    ConfigError,
    InsufficientFunds,
    ModelNotServed,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    Routing,
    StreamTruncated,
    Wallet,
    og,
    openai_client,
)
from zg_core.backends.direct.session import make_token
from zg_core.errors import never_served
from zg_core.localnet import LocalNet
from zg_core.routing.health import BOOK, COOLDOWN

if TYPE_CHECKING:
    from pathlib import Path

    from zg_core.localnet import LocalWallet


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=SPECS, settings=CALM) as network:
        yield network


@pytest.fixture(scope="module")
def wallet(net: LocalNet) -> LocalWallet:
    rich = net.new_wallet()
    for provider in net.providers[:UNFUNDED]:
        net.open_account(rich, provider, 20 * 10**18)
    return rich


@pytest.fixture
def scene(net: LocalNet, options: dict[str, Any]) -> Iterator[Scene]:
    BOOK.clear()
    yield Scene(net, options)
    BOOK.clear()
    for provider in net.providers:
        provider.clear_faults()


class TestFailover:
    def test_a_call_goes_to_the_best_candidate(self, caller: Any, scene: Scene) -> None:
        assert scene.where(caller.call(scene.options, ask())) == CHEAP
        assert scene.asked == [1, 0, 0, 0, 0]

    @pytest.mark.parametrize(
        ("fault", "more"),
        [("rate_limited", {}), ("unavailable", {}), ("session_rejected", {"reason": "signature"})],
    )
    def test_what_was_refused_goes_to_the_next(self, caller: Any, scene: Scene, fault: str, more: Any) -> None:
        scene.fault(CHEAP, fault, **more)
        before = len(scene.net.providers[CHEAP].log)
        answered = caller.call(scene.options, ask())
        assert (scene.where(answered), "5" in answered.text) == (DEAR, True)
        assert answered.receipt.verdict.satisfies("verified")
        assert len(scene.net.providers[CHEAP].log) == before  # nothing was billed there
        assert scene.asked[WEAK:] == [0, 0, 0]

    def test_what_cannot_be_reached_goes_to_the_next(self, caller: Any, scene: Scene) -> None:
        state = scene.net.providers[CHEAP]._state
        url, state.url = state.url, f"http://127.0.0.1:{refusing()}"
        try:
            state.register()
            assert scene.where(caller.call(scene.options, ask())) == DEAR
        finally:
            state.url = url
            state.register()

    def test_a_provider_that_sees_too_little_money_is_left_for_the_next(self, caller: Any, scene: Scene) -> None:
        state = scene.net.providers[CHEAP]._state
        from dataclasses import replace

        settings, state.settings = state.settings, replace(state.settings, minimum_balance=50 * 10**18)
        try:
            assert scene.where(caller.call(scene.options, ask())) == DEAR
        finally:
            state.settings = settings

    def test_an_outcome_that_is_unknown_is_never_tried_elsewhere(self, caller: Any, scene: Scene) -> None:
        scene.fault(CHEAP, "cut_before_first_byte")
        with pytest.raises(OutcomeUnknown) as caught:
            caller.call(scene.options, ask())
        assert caught.value.receipt.provider == scene.address(CHEAP)
        assert scene.asked == [1, 0, 0, 0, 0]
        assert scene.where(caller.call(scene.options, ask())) == DEAR  # it cools down, the next call avoids it

    def test_after_the_first_byte_nothing_is_tried_elsewhere(self, caller: Any, scene: Scene) -> None:
        scene.fault(CHEAP, "cut_after_first_byte")
        with pytest.raises(StreamTruncated):
            caller.call(scene.options, ask("Count from 1 to 20."))
        assert scene.asked == [1, 0, 0, 0, 0]

    @pytest.mark.parametrize("loop", [False, True])
    def test_nor_after_a_stream_that_ends_too_early(self, callers: Any, scene: Scene, loop: bool) -> None:
        scene.fault(CHEAP, "truncated_stream")
        with pytest.raises(StreamTruncated):
            callers(loop=loop, stream=True).call(scene.options, ask("Count from 1 to 20."))
        assert scene.asked == [1, 0, 0, 0, 0]

    def test_neither_a_weaker_kind_nor_another_model_is_asked_and_every_cause_is_kept(
        self, caller: Any, scene: Scene
    ) -> None:
        scene.fault(CHEAP, "unavailable")
        scene.fault(DEAR, "rate_limited", reset=30)
        with pytest.raises(ProviderUnavailable) as caught:
            caller.call(scene.options, ask())
        error = caught.value
        assert scene.asked == [1, 1, 0, 0, 0]
        assert (error.code, error.retryable, never_served(error)) == ("all_failed", True, True)
        assert isinstance(error.__cause__, ExceptionGroup)
        causes = error.__cause__.exceptions
        assert [type(cause) for cause in causes] == [ProviderUnavailable, RateLimited]
        assert [cause.details["provider"] for cause in causes] == [scene.address(CHEAP), scene.address(DEAR)]
        assert scene.address(CHEAP) in str(error)
        assert scene.address(DEAR) in str(error)

    def test_an_error_that_all_share_keeps_its_class(self, caller: Any, scene: Scene) -> None:
        for number in (CHEAP, DEAR):
            scene.fault(number, "rate_limited", reset=7 + number)
        with pytest.raises(RateLimited) as caught:
            caller.call(scene.options, ask())
        assert caught.value.details["retry_after"] == 7

    def test_a_stronger_kind_may_take_over_from_a_weaker_first_choice(self, caller: Any, scene: Scene) -> None:
        scene.net.providers[WEAK].set_price(1, 1)
        try:
            scene.fault(WEAK, "unavailable")
            assert scene.where(caller.call(scene.options, ask())) == CHEAP
        finally:
            scene.net.providers[WEAK].set_price(300 * GIGA, 300 * GIGA)

    def test_a_single_candidate_raises_its_own_error(self, caller: Any, scene: Scene) -> None:
        scene.fault(CHEAP, "unavailable")
        with pytest.raises(ProviderUnavailable) as caught:
            caller.call({**scene.options, "routing": Routing(allow=[scene.address(CHEAP)])}, ask())
        assert (caught.value.details["status"], caught.value.code) == (503, "provider_unavailable")

    def test_when_all_have_failed_they_are_asked_again_as_often_as_retries_allow(
        self, callers: Any, scene: Scene
    ) -> None:
        scene.fault(CHEAP, "unavailable", times=2)
        scene.fault(DEAR, "unavailable")
        answered = callers(loop=False, stream=False).call({**scene.options, "max_retries": 2}, ask())
        assert (scene.where(answered), scene.asked[CHEAP]) == (CHEAP, 3)

    def test_a_refused_attempt_holds_nothing_of_the_budget(self, scene: Scene, tmp_path: Path) -> None:
        scene.fault(CHEAP, "unavailable")
        scene.fault(DEAR, "unavailable", times=1)
        own = f"sqlite:///{tmp_path / 'store.db'}"  # the process's own store knows what other tests hold
        with ChatClient(**{**scene.options, "store": own}, budget=Budget(per_run=og("5"))) as client:
            with pytest.raises(ProviderUnavailable):
                client.create(ask(max_tokens=100))
            assert client.spending.held() == []
            assert [receipt.outcome for receipt in client.receipts] == ["refused", "refused"]
            receipt = client.create(ask(max_tokens=100)).receipt
            assert client.spending.left(receipt.payer, receipt.provider)["per_run"] == og("5") - receipt.fee.amount

    def test_without_routing_nothing_fails_over(self, caller: Any, scene: Scene) -> None:
        scene.fault(CHEAP, "unavailable")
        with pytest.raises(ProviderUnavailable):
            caller.call({**scene.options, "routing": None}, ask())
        assert scene.asked == [1, 0, 0, 0, 0]

    def test_a_price_that_has_risen_above_the_limit_is_seen_before_anything_is_sent(self, scene: Scene) -> None:
        routing = Routing(max_price=og("0.25"))
        with ChatClient(**{**scene.options, "routing": routing}) as client:
            assert scene.number(client.create(ask()).receipt.provider) == CHEAP
            cheap = scene.net.providers[CHEAP]
            cheap.set_price(900 * GIGA, 900 * GIGA)
            try:
                client.backend._chain._services.clear()  # as after ten minutes
                assert scene.number(client.create(ask()).receipt.provider) == DEAR
            finally:
                cheap.set_price(100 * GIGA, 100 * GIGA)
        assert scene.asked[:2] == [1, 1]


class TestHealth:
    def test_a_provider_that_failed_is_left_alone_and_then_tried_by_one_thread_only(
        self, scene: Scene, clock: Clock
    ) -> None:
        scene.fault(CHEAP, "unavailable")
        with ChatClient(**scene.options) as client:
            timed(client, clock).create(ask())
            client.create(ask())
            assert scene.asked[:2] == [1, 2]
            clock.now += COOLDOWN
            start, served = threading.Barrier(8), []

            def call() -> None:
                start.wait()
                served.append(scene.number(client.create(ask()).receipt.provider))

            threads = [threading.Thread(target=call) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert served == [DEAR] * 8
            assert scene.asked[:2] == [2, 10]
            scene.net.providers[CHEAP].clear_faults()
            clock.now += COOLDOWN
            assert scene.number(client.create(ask()).receipt.provider) == DEAR  # the second failure cools for longer
            clock.now += COOLDOWN
            assert scene.number(client.create(ask()).receipt.provider) == CHEAP

    def test_of_many_tasks_one_tries_it(self, scene: Scene, clock: Clock) -> None:
        scene.fault(CHEAP, "unavailable")

        async def main() -> list[int]:
            async with AsyncChatClient(**scene.options) as client:
                await timed(client, clock).create(ask())
                clock.now += COOLDOWN
                replies = await asyncio.gather(*(client.create(ask()) for _ in range(8)))
            return [scene.number(reply.receipt.provider) for reply in replies]

        assert asyncio.run(main()) == [DEAR] * 8
        assert scene.asked[:2] == [2, 9]

    def test_a_weaker_kind_does_not_serve_while_the_stronger_ones_cool_down(self, scene: Scene, clock: Clock) -> None:
        for number in (CHEAP, DEAR):
            scene.fault(number, "unavailable")
        with ChatClient(**scene.options) as client:
            for _ in range(3):
                with pytest.raises(ProviderUnavailable):
                    timed(client, clock).create(ask())
        assert scene.asked[WEAK] == 0

    def test_the_only_candidate_is_tried_even_while_it_cools_down(self, scene: Scene, clock: Clock) -> None:
        scene.fault(CHEAP, "unavailable", times=1)
        with ChatClient(**{**scene.options, "routing": Routing(allow=[scene.address(CHEAP)])}) as client:
            with pytest.raises(ProviderUnavailable):
                timed(client, clock).create(ask())
            assert "5" in client.create(ask()).text

    def test_clients_of_a_process_share_what_they_know(self, callers: Any, scene: Scene) -> None:
        scene.fault(CHEAP, "unavailable")
        for loop in (False, True):
            callers(loop=loop, stream=False).call(scene.options, ask())
        assert scene.asked[:2] == [1, 2]

    def test_an_answer_that_was_tampered_with_counts_as_a_failure(self, callers: Any, scene: Scene) -> None:
        from zg_core import VerificationFailed

        scene.fault(CHEAP, "body_changed")
        caller = callers(loop=False, stream=False)
        with pytest.raises(VerificationFailed):
            caller.call(scene.options, ask())
        assert scene.where(caller.call(scene.options, ask())) == DEAR

    @pytest.mark.parametrize("stream", [False, True])
    def test_by_latency_each_is_measured_once_and_then_the_fastest_is_chosen(
        self, callers: Any, scene: Scene, stream: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upstream = scene.net.providers[CHEAP]._state.upstream
        answer, seconds = upstream.stream, 0.0

        async def late(path: str, body: bytes) -> AsyncIterator[Any]:
            await asyncio.sleep(seconds)
            async for event in answer(path, body):
                yield event

        monkeypatch.setattr(upstream, "stream", late)
        options = {**scene.options, "routing": Routing("latency", kinds=["TeeML"])}
        for seconds in (1.0, 6.0, 30.0):
            BOOK.clear()
            monkeypatch.setattr(upstream, "first_token_delay", seconds)
            served = [scene.where(callers(loop=False, stream=stream).call(options, ask())) for _ in range(5)]
            if served[2:] == [DEAR] * 3:  # otherwise this machine may have been slower than the slow one
                break
        assert (set(served[:2]), served[2:]) == ({CHEAP, DEAR}, [DEAR] * 3)
        known = BOOK.of(f"eip155:{scene.net.chain_id}", scene.address(CHEAP)).measured()
        measured, other = known.whole_latency, known.stream_latency
        if stream:
            measured, other = other, measured
        assert measured is not None
        assert measured >= 1.0
        assert other is None

    def test_by_throughput_the_one_that_makes_more_tokens_a_second_is_chosen(self, callers: Any, scene: Scene) -> None:
        options = {**scene.options, "routing": Routing("throughput", kinds=["TeeML"])}
        caller = callers(loop=False, stream=False)
        for delay in (0.05, 0.3, 1.5):
            BOOK.clear()
            with scene.fault(CHEAP, "slow_drip", size=20, delay=delay, times=None):
                served = [scene.where(caller.call(options, ask())) for _ in range(4)]
            if served[2:] == [DEAR, DEAR]:  # otherwise this machine may have been slower than the slow one
                break
        assert (set(served[:2]), served[2:]) == ({CHEAP, DEAR}, [DEAR, DEAR])


class TestConstraints:
    @pytest.mark.parametrize(
        ("routing", "expected"),
        [
            (lambda scene: Routing(kinds=["TeeTLS"]), WEAK),
            (lambda scene: Routing(deny=[scene.address(CHEAP)]), DEAR),
            (lambda scene: Routing(allow=[scene.address(DEAR), scene.address(OTHER)]), DEAR),
            (lambda scene: Routing(max_price=og("0.1"), require={"tools", "json_mode"}), CHEAP),
        ],
    )
    def test_hard_constraints_come_first(self, callers: Any, scene: Scene, routing: Any, expected: int) -> None:
        options = {**scene.options, "routing": routing(scene), "verify": "warn"}
        assert scene.where(callers(loop=False, stream=False).call(options, ask())) == expected

    @pytest.mark.parametrize(
        "routing",
        [Routing(max_price=og("0.001")), Routing(kinds=["standard"])],
    )
    def test_where_nothing_meets_them_nothing_is_sent(self, caller: Any, scene: Scene, routing: Routing) -> None:
        with pytest.raises(ConfigError) as caught:
            caller.call({**scene.options, "routing": routing}, ask())
        assert (caught.value.code, scene.asked) == ("no_candidate", [0] * 5)
        assert "explain()" in caught.value.hint

    def test_an_ability_counts_only_where_the_provider_says_that_it_has_it(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def entries() -> list[dict[str, Any]]:
            return [{"id": "m", "supported_parameters": ["seed"]}]

        monkeypatch.setattr(scene.net.providers[CHEAP]._state.upstream, "models", entries)
        options = {**scene.options, "routing": Routing(require={"tools"})}
        with ChatClient(**options) as client:
            assert scene.number(client.create(ask()).receipt.provider) == DEAR
            found = {scene.number(one.service.provider): one for one in client.explain()}
            assert (found[CHEAP].code, "tools" in found[CHEAP].reason) == ("missing_ability", True)
        for number in (DEAR, WEAK, UNFUNDED):
            monkeypatch.setattr(scene.net.providers[number]._state.upstream, "models", entries)
        with ChatClient(**options) as client, pytest.raises(InsufficientFunds):
            client.create(ask())  # of the unfunded one nobody has asked yet
        with ChatClient(**options) as client:
            assert {one.code for one in client.explain()} == {"missing_ability"}

    def test_only_a_funded_candidate_serves_and_the_error_names_the_command(self, scene: Scene) -> None:
        options = {**scene.options, "routing": Routing(allow=[scene.address(UNFUNDED)])}
        with ChatClient(**options) as client, pytest.raises(InsufficientFunds) as caught:
            client.create(ask())
        assert f"zerog transfer {scene.address(UNFUNDED)}" in caught.value.hint

    def test_without_any_account_the_cheapest_is_named(self, net: LocalNet, scene: Scene) -> None:
        options = {**scene.options, "private_key": net.new_wallet().private_key}
        with ChatClient(**options) as client, pytest.raises(InsufficientFunds) as caught:
            client.create(ask())
        assert scene.address(UNFUNDED) in caught.value.hint

    def test_a_model_that_nobody_serves(self, scene: Scene) -> None:
        with ChatClient(**{**scene.options, "model": "none"}) as client, pytest.raises(ModelNotServed) as caught:
            client.create(ask())
        assert "m, other" in caught.value.hint

    def test_the_model_of_a_call_counts(self, callers: Any, scene: Scene) -> None:
        assert scene.where(callers(loop=True, stream=True).call(scene.options, ask(model="other"))) == OTHER

    def test_without_a_model_there_is_nothing_to_choose_for(self, scene: Scene) -> None:
        with ChatClient(**{**scene.options, "model": None}) as client, pytest.raises(ConfigError) as caught:
            client.create(ask())
        assert caught.value.code == "no_target"

    def test_money_that_arrives_is_seen_by_the_next_call(self, net: LocalNet, scene: Scene) -> None:
        new = net.new_wallet()
        with ChatClient(**{**scene.options, "private_key": new.private_key}) as client:
            with pytest.raises(InsufficientFunds):
                client.create(ask())
            net.open_account(new, net.providers[DEAR])
            assert scene.number(client.create(ask()).receipt.provider) == DEAR

    def test_in_steady_state_nothing_is_read_from_the_chain(
        self, net: LocalNet, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ChatClient(**scene.options, record_age=60) as client:
            client.create(ask())
            calls: list[str] = []
            answer = net.chain.rpc
            monkeypatch.setattr(net.chain, "rpc", lambda method, params: calls.append(method) or answer(method, params))
            for _ in range(3):
                client.create(ask())
        assert calls == []

    def test_what_is_offered_is_read_again_beside_a_call(self, scene: Scene, clock: Clock) -> None:
        """The call that finds it old is answered from what was known; the next one knows what has changed."""
        with ChatClient(**scene.options, record_age=3600) as client:
            timed(client, clock).create(ask())
            market, dear = client._chooser._market, scene.net.providers[DEAR]
            refresh, done, prices = market._refresh, threading.Event(), dear.prices

            async def told(model: str) -> None:
                await refresh(model)
                done.set()

            market._refresh = told
            dear.set_price(GIGA, GIGA)
            try:
                clock.now += 130
                assert scene.number(client.create(ask()).receipt.provider) == CHEAP
                assert done.wait(PATIENCE)
                assert scene.number(client.create(ask()).receipt.provider) == DEAR
            finally:
                dear.set_price(*prices)

    def test_what_is_offered_is_read_before_a_call_where_it_is_too_old(self, scene: Scene, clock: Clock) -> None:
        with ChatClient(**scene.options, record_age=3600) as client:
            timed(client, clock).create(ask())
            calls = client.backend._chain.services
            read: list[int] = []

            async def noted() -> Any:
                read.append(threading.get_ident())
                return await calls()

            client.backend._chain.services = noted
            clock.now += 250
            client.create(ask())
            assert read == [threading.get_ident()]

    def test_while_the_chain_is_down_its_last_state_serves(
        self, scene: Scene, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from zg_core.errors import ChainError

        with ChatClient(**scene.options, record_age=3600) as client:
            timed(client, clock).create(ask())

            async def down(*_: Any) -> Any:
                raise ChainError("down", code="rpc_unavailable", retryable=True)

            monkeypatch.setattr(client.backend._chain.rpc, "batch", down)
            clock.now += 300
            assert scene.number(client.create(ask()).receipt.provider) == CHEAP
            clock.now += 400
            with pytest.raises(ChainError):
                client.create(ask())


class TestConversations:
    def test_a_conversation_stays_at_its_provider(self, callers: Any, scene: Scene) -> None:
        options = {**scene.options, "routing": Routing(sticky=True)}
        caller = callers(loop=False, stream=False)
        scene.fault(CHEAP, "rate_limited", times=1, reset=0)
        begun = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": f"Talk {id(scene)}"}]
        more = [*begun, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "What is 2 + 3?"}]
        assert scene.where(caller.call(options, {"messages": begun})) == DEAR
        assert scene.where(caller.call(options, {"messages": more})) == DEAR
        assert scene.where(caller.call(options, ask("Another one"))) == CHEAP

    def test_until_that_fails(self, callers: Any, scene: Scene) -> None:
        options = {**scene.options, "routing": Routing(sticky=f"talk {id(scene)}")}
        caller = callers(loop=True, stream=False)
        assert scene.where(caller.call(options, ask())) == CHEAP
        scene.fault(CHEAP, "unavailable", times=1)
        assert [scene.where(caller.call(options, ask(str(n)))) for n in range(2)] == [DEAR, DEAR]
        assert scene.asked[CHEAP] == 2


TABLE = """\
4 services of 'm', by price
   provider  kind    in / out (0G per million)  first byte  tokens/s  failed  why
1  CHEAP     TeeML   0.1 / 0.1                  ?           ?         ?       chosen: the lowest price
2  DEAR      TeeML   0.2 / 0.2                  ?           ?         ?       next: if those before it fail before they answer
-  WEAK      TeeTLS  0.3 / 0.3                  ?           ?         ?       weaker_kind: TeeTLS is weaker than the first choice, and no call fails over to a weaker kind
-  UNFUNDED  TeeML   0.01 / 0.01                  ?           ?         ?       no_account: USER has no sub-account at provider UNFUNDED; run `zerog deposit 3` if there is no ledger yet, then `zerog transfer UNFUNDED 1.1`"""  # noqa: E501


class TestExplain:
    def plain(self, scene: Scene, text: str) -> str:
        for name in ("CHEAP", "DEAR", "WEAK", "UNFUNDED"):
            text = text.replace(scene.address(globals()[name]), name)
        return re.sub(r"0x[0-9a-fA-F]{40}", "USER", text)

    def test_the_table(self, scene: Scene) -> None:
        with ChatClient(**scene.options) as client:
            shown = re.sub(r"  +", "  ", self.plain(scene, str(client.explain())))
        assert shown == re.sub(r"  +", "  ", TABLE)
        assert scene.asked == [0] * 5

    def test_async_says_the_same(self, scene: Scene) -> None:
        async def main() -> str:
            async with AsyncChatClient(**scene.options) as client:
                return str(await client.explain())

        with ChatClient(**scene.options) as client:
            assert str(client.explain()) == asyncio.run(main())

    @pytest.mark.parametrize(
        ("routing", "codes"),
        [
            (lambda s: Routing(max_price=og("0.15")), ["chosen", "too_dear", "too_dear", "no_account"]),
            (lambda s: Routing(kinds=["TeeTLS"]), ["kind_excluded", "kind_excluded", "chosen", "kind_excluded"]),
            (lambda s: Routing(deny=[s.address(CHEAP)]), ["denied", "chosen", "weaker_kind", "no_account"]),
            (
                lambda s: Routing(allow=[s.address(DEAR)]),
                ["not_allowed", "chosen", "not_allowed", "not_allowed"],
            ),
        ],
    )
    def test_every_candidate_has_its_reason(self, scene: Scene, routing: Any, codes: list[str]) -> None:
        with ChatClient(**{**scene.options, "routing": routing(scene)}) as client:
            found = {scene.number(one.service.provider): one.code for one in client.explain()}
        assert found == dict(zip((CHEAP, DEAR, WEAK, UNFUNDED), codes, strict=True))

    def test_it_tells_where_the_next_call_goes_after_a_failure(self, scene: Scene, clock: Clock) -> None:
        scene.fault(CHEAP, "unavailable")
        scene.fault(DEAR, "session_rejected")
        with ChatClient(**scene.options) as client:
            with pytest.raises(ProviderUnavailable):
                timed(client, clock).create(ask())
            explanation = client.explain()
            found = {scene.number(one.service.provider): one for one in explanation}
            assert scene.number(explanation.chosen.service.provider) == CHEAP  # due first
            assert found[DEAR].code in ("revoked", "session_rejected")
            scene.net.providers[DEAR].clear_faults()
            clock.now += 60
            assert scene.number(client.explain().chosen.service.provider) == scene.number(client.service().provider)

    def test_without_routing_it_names_the_one_that_every_call_goes_to(self, scene: Scene) -> None:
        with ChatClient(**{**scene.options, "routing": None}) as client:
            explanation = client.explain()
            assert explanation.chosen.service == client.service()
            found = {scene.number(one.service.provider): one.code for one in explanation}
        assert found == {CHEAP: "chosen", DEAR: "behind", WEAK: "behind", UNFUNDED: "no_account"}

    def test_with_a_provider_it_names_that(self, scene: Scene) -> None:
        options = {**scene.options, "routing": None, "model": None, "provider": scene.address(DEAR)}
        with ChatClient(**options) as client:
            assert scene.number(client.explain().chosen.service.provider) == DEAR

    def test_a_model_that_nobody_serves_has_no_candidates(self, scene: Scene) -> None:
        with ChatClient(**scene.options) as client:
            assert len(client.explain("none")) == 0

    def test_the_client_speaks_of_its_first_choice(self, scene: Scene) -> None:
        with ChatClient(**scene.options) as client:
            assert scene.number(client.service().provider) == CHEAP
            assert client.model_info().model == "m"
            assert client.token().reveal().startswith("app-sk-")


class TestSettings:
    def test_routing_and_a_provider_exclude_each_other(self, scene: Scene) -> None:
        for client in (ChatClient, AsyncChatClient):
            with pytest.raises(ConfigError) as caught:
                client(**scene.options, provider=scene.address(CHEAP))
            assert caught.value.code == "bad_routing"

    def test_but_it_wins_over_a_provider_of_the_environment(self, scene: Scene) -> None:
        environ = {"ZEROG_PROVIDER": scene.address(DEAR)}
        with ChatClient(**{**scene.options, "environ": environ}) as client:
            assert scene.number(client.service().provider) == CHEAP

    def test_an_api_key_is_for_one_provider(self, scene: Scene, wallet: LocalWallet) -> None:
        key = make_token(
            Wallet.from_key(wallet.private_key), scene.address(CHEAP), now_ms=0, token_id=7, generation=0, expires_at=0
        )
        with pytest.raises(ConfigError) as caught:
            ChatClient(**{**scene.options, "private_key": None, "api_key": key})
        assert caught.value.code == "bad_routing"

    @pytest.mark.parametrize("routing", ["price", {"sort": "price"}, 1])
    def test_something_else_is_refused(self, scene: Scene, routing: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            ChatClient(**{**scene.options, "routing": routing})
        assert caught.value.code == "bad_routing"

    def test_the_official_client_is_routed_as_well(self, scene: Scene) -> None:
        scene.fault(CHEAP, "unavailable")
        client = openai_client(**scene.options)
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}])
        assert [scene.number(receipt.provider) for receipt in client.receipts] == [CHEAP, DEAR]
        assert [receipt.outcome for receipt in client.receipts] == ["refused", "answered"]
        client.close()
