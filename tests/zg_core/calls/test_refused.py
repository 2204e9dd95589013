"""Requests that were refused: on record, to be disputed, counted against one call, and not as spent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.zg_core.calls.test_path import GOOD, Backend, outcomes
from tests.zg_core.calls.test_retries import Calling
from tests.zg_core.raw_server import CLOSE, answer
from zg_core import Budget, ConfigError, Store, neuron
from zg_core.backends.base import Grant, Route, Service
from zg_core.budget import Spending
from zg_core.calls.call import Call
from zg_core.calls.limits import Limits
from zg_core.crypto import sha256_hex
from zg_core.errors import (
    BudgetExceeded,
    ChainError,
    InsufficientFunds,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    ZeroGError,
)
from zg_core.receipts.model import Receipt
from zg_core.receipts.stored import ReceiptStore
from zg_core.receipts.totals import spent_in, totals_of

BUSY = [answer(b"", "503 Busy", Retry_After="0")]
POOR = [answer(b'{"error":"validate request: insufficient balance: 0"}', "400 Bad")]
SLOW = [answer(b"", "429 Slow", Retry_After="7")]
NO = b'{"error":"validate session: session token has been revoked"}'
REFUSALS = {
    "429 Slow": (b'{"error":"slow down"}', RateLimited),
    "503 Busy": (b'{"error":"busy"}', ProviderUnavailable),
    "522 Unreached": (b"<html></html>", ProviderUnavailable),
    "400 Bad": (b'{"error":"validate request: insufficient balance: 0"}', InsufficientFunds),
    "401 No": (b"", SessionRejected),
    "403 No": (b"no", RequestError),
    "302 Moved": (b"", RequestError),
}


def spending(**limits: int) -> Spending:
    return Spending(
        Budget(**{name: neuron(units) for name, units in limits.items()}, completion_tokens=10),
        Store("memory:"),
        31337,
    )


@pytest.fixture(params=[(False, False), (False, True), (True, False), (True, True)], ids=str)
def calling(request: pytest.FixtureRequest, server: Any) -> Calling:
    loop, stream = request.param
    return Calling(server, loop=loop, stream=stream)


def hold_of(calling: Calling) -> int:
    """What one request holds in a budget."""
    plenty = spending(per_run=10**9)
    calling.script([CLOSE])
    with pytest.raises(OutcomeUnknown):
        calling.call(spending=plenty)
    (held,) = plenty.held()
    calling.world.server.received.clear()
    calling.world.receipts = type(calling.world.receipts)()
    return held.upper.units


class TestReceipts:
    @pytest.mark.parametrize("status", REFUSALS)
    def test_are_left_by_every_refusal(self, calling: Calling, status: str, tmp_path: Any) -> None:
        body, error = REFUSALS[status]
        calling.script([answer(body, status, ZG_Res_Key="a-b")])
        store = Store(f"sqlite:///{tmp_path}/store.db")
        stored = ReceiptStore(store)
        budget = spending(per_run=10**9)
        heard: list[Receipt] = []
        with pytest.raises(error) as caught:
            calling.call(spending=budget, stored=stored, store=store, on_receipt=heard.append)
        (receipt,) = calling.world.receipts
        assert caught.value.receipt is receipt is heard[0]  # type: ignore[attr-defined]
        assert (receipt.outcome, str(receipt.verdict)) == ("refused", "not_checked (refused)")
        assert (receipt.response_sha256, receipt.chat_id) == (sha256_hex(body), "a-b")
        fee = receipt.fee
        assert (fee.amount.units, fee.exact, fee.reason, fee.lower) == (0, False, "refused", 0)
        assert fee.upper is not None
        assert fee.upper > 0
        assert budget.held() == []
        assert budget.left(receipt.payer, receipt.provider)["per_run"] == neuron(10**9)
        (kept,) = stored.select()
        assert kept.to_dict() == receipt.to_dict()
        store.close()

    def test_say_what_may_be_disputed_and_are_no_part_of_what_is_spent(self, calling: Calling) -> None:
        calling.script(BUSY, BUSY, calling.good)
        calling.call(max_retries=2, spending=spending(per_run=10**9))
        refused = [receipt for receipt in calling.world.receipts if receipt.outcome == "refused"]
        (total,) = totals_of(calling.world.receipts)
        assert (total.calls, total.refused) == (1, 2)
        assert total.disputable == neuron(sum(receipt.fee.upper or 0 for receipt in refused))
        (answered,) = (receipt for receipt in calling.world.receipts if receipt.outcome == "answered")
        assert total.upper == total.lower == total.amount == answered.fee.amount
        assert "2 refused" in str(total)
        assert spent_in(refused).amount == neuron(0)

    def test_without_a_bound_say_so(self, calling: Calling) -> None:
        calling.script([answer(b"", "429 Slow")])
        with pytest.raises(RateLimited):
            calling.call()
        (total,) = totals_of(calling.world.receipts)
        assert (calling.world.receipts.last.fee.upper, total.disputable) == (None, None)  # type: ignore[union-attr]


class TestPerCall:
    """Each attempt may have been billed, so all of them count against what one call may cost."""

    def test_all_attempts_fit(self, calling: Calling) -> None:
        one = hold_of(calling)
        calling.script(BUSY, BUSY, calling.good)
        calling.call(max_retries=2, spending=spending(per_call=3 * one))
        assert outcomes(calling.world) == ["refused", "refused", "answered"]

    @pytest.mark.parametrize("fits", [1, 2])
    def test_the_refusal_is_raised_where_one_more_does_not(self, calling: Calling, fits: int) -> None:
        one = hold_of(calling)
        calling.script(SLOW, SLOW, calling.good)
        with pytest.raises(RateLimited, match="per_call") as caught:
            calling.call(max_retries=5, spending=spending(per_call=(fits + 1) * one - 1))
        assert caught.value.details["retry_after"] == 7
        assert outcomes(calling.world) == ["refused"] * fits
        assert caught.value.receipt is calling.world.receipts.last
        assert calling.waits == [7] * (fits - 1), "it waited for a turn that it could not take"

    def test_the_hint_is_silent_where_nothing_would_be_sent_again(self, calling: Calling) -> None:
        one = hold_of(calling)
        calling.script(SLOW)
        with pytest.raises(RateLimited) as caught:
            calling.call(max_retries=0, spending=spending(per_call=one))
        assert "per_call" not in str(caught.value)

    def test_a_wait_that_the_provider_asks_for_is_kept(self, calling: Calling) -> None:
        one = hold_of(calling)
        calling.script(SLOW, calling.good)
        calling.call(max_retries=1, spending=spending(per_call=2 * one))
        assert calling.waits == [7]

    @pytest.mark.parametrize(("fits", "waits"), [(2, [120]), (3, [60, 60]), (4, [40, 40, 40]), (30, [5, 5, 5, 5])])
    def test_attempts_last_until_our_own_deposit_is_seen(self, calling: Calling, fits: int, waits: list[float]) -> None:
        class Lagging(Backend):
            async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
                left = max(120.0 - sum(calling.waits), 0.0)
                return await super().grant(call) if error is None else left

        one = hold_of(calling)
        calling.script(*[POOR] * len(waits), calling.good)
        backend = Lagging(calling.world.server.url)
        calling.call(backend=backend, spending=spending(per_call=fits * one))
        assert calling.waits == waits
        assert outcomes(calling.world) == ["refused"] * len(waits) + ["answered"]

        calling.waits.clear()
        calling.script(POOR)
        with pytest.raises(InsufficientFunds, match=r"does not see your last transaction yet.*per_call"):
            calling.call(backend=backend, spending=spending(per_call=2 * one - 1))
        assert calling.waits == []

    def test_a_session_signed_anew_counts_as_well(self, calling: Calling) -> None:
        one = hold_of(calling)
        for limit in (2 * one, 2 * one - 1):
            backend = Backend(calling.world.server.url, renewals=1)
            calling.script([answer(NO, "400 Bad")], calling.good)
            if limit == 2 * one:
                calling.call(backend=backend, spending=spending(per_call=limit))
            else:
                with pytest.raises(SessionRejected, match="per_call"):
                    calling.call(backend=backend, spending=spending(per_call=limit))
        assert outcomes(calling.world) == ["refused", "answered", "refused"]

    def test_an_unknown_outcome_counts_as_well(self, calling: Calling) -> None:
        one = hold_of(calling)
        calling.script([CLOSE], calling.good)
        with pytest.raises(OutcomeUnknown):
            calling.call(max_retries=5, retry_unknown=True, spending=spending(per_call=2 * one - 1))
        assert outcomes(calling.world) == ["unknown"]

    def test_another_limit_that_was_used_up_meanwhile_raises_the_refusal_too(self, calling: Calling) -> None:
        one = hold_of(calling)
        budget = spending(per_run=one)
        calling.script(SLOW, calling.good)

        class Greedy(Spending):
            def release(self, receipt: Receipt) -> None:
                """Somebody else takes what is given back."""

        budget.__class__ = Greedy
        with pytest.raises(RateLimited, match="per_run") as caught:
            calling.call(max_retries=1, spending=budget)
        assert isinstance(caught.value.__cause__, BudgetExceeded)

    def test_what_our_own_gate_holds_back_was_never_sent(self, calling: Calling) -> None:
        one = hold_of(calling)
        reset = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "50s"}
        calling.script([answer(b"", "429 Slow", **reset)], calling.good)
        changes: dict[str, Any] = {
            "limits": Limits(per_minute=600, burst=10),
            "payer": lambda: f"gate {calling.loop}{calling.stream}",
            "spending": spending(per_call=one),
            "retry_deadline": 20,
        }
        with pytest.raises(RateLimited) as caught:
            calling.call(**changes)
        assert caught.value.receipt is not None
        with pytest.raises(RateLimited) as caught:
            calling.call(max_retries=3, **changes)
        assert (caught.value.code, caught.value.receipt) == ("no_turn", None)
        assert "per_call" not in str(caught.value)
        assert outcomes(calling.world) == ["refused"]


class TestTheChainBefore:
    """A read before anything was sent is repeated like a connection that could not be made."""

    class Blinking(Backend):
        blinks = 1
        code = "rpc_unavailable"

        async def route(self, service: Service, model: str) -> Route:
            self.blink()
            return await super().route(service, model)

        def blink(self) -> None:
            self.blinks -= 1
            if self.blinks >= 0:
                raise ChainError("the chain's RPC endpoint does not answer", code=self.code, retryable=True)

    class AtTheSession(Blinking):
        async def route(self, service: Service, model: str) -> Route:
            return await Backend.route(self, service, model)

        async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
            self.blink()
            return await super().grant(call, error)

    @pytest.mark.parametrize("kind", [Blinking, AtTheSession])
    @pytest.mark.parametrize("code", ["rpc_unavailable", "rpc_junk"])
    def test_is_read_again_within_the_retries_of_the_call(self, calling: Calling, kind: Any, code: str) -> None:
        backend = kind(calling.world.server.url)
        backend.code, backend.blinks = code, 2
        calling.script(calling.good)
        calling.call(backend=backend, max_retries=2)
        assert outcomes(calling.world) == ["answered"]
        assert len(calling.waits) == 2

    @pytest.mark.parametrize("kind", [Blinking, AtTheSession])
    def test_is_given_up_after_them(self, calling: Calling, kind: Any) -> None:
        backend = kind(calling.world.server.url)
        backend.blinks = 9
        with pytest.raises(ChainError):
            calling.call(backend=backend, max_retries=2)
        assert backend.blinks == 6
        assert calling.world.server.received == []
        assert outcomes(calling.world) == []

    @pytest.mark.parametrize("error", [InsufficientFunds("too little"), ConfigError("no")])
    def test_what_the_chain_says_is_not_asked_again(self, calling: Calling, error: ZeroGError) -> None:
        class Poor(Backend):
            async def route(self, service: Service, model: str) -> Route:
                self.renewals += 1
                raise error

        backend = Poor(calling.world.server.url)
        with pytest.raises(type(error)):
            calling.call(backend=backend, max_retries=2)
        assert backend.renewals == 1


def test_a_refusal_whose_body_never_ends_is_one_all_the_same(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.zg_core.raw_server import STALL

    monkeypatch.setattr("zg_core.calls.sending._REFUSAL_SECONDS", 0.1)
    calling = Calling(server, loop=False, stream=False)
    calling.script([b"HTTP/1.1 429 Slow\r\nContent-Length: 99\r\n\r\n{", STALL])
    with pytest.raises(RateLimited):
        calling.call()
    assert outcomes(calling.world) == ["refused"]


def test_a_good_answer_is_one(server: Any) -> None:
    calling = Calling(server, loop=False, stream=False)
    calling.script([answer(GOOD)])
    assert calling.call().receipt.attempts == 1
