"""The path drives any backend by its eight methods: what each of them says is what happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.zg_core import raw_server
from tests.zg_core.calls.test_path import EVENT, GOOD, Backend, World, outcomes
from tests.zg_core.raw_server import HEAD, answer, chunk
from zg_core import Amount, Budget, Store
from zg_core.backends.base import Body, Grant, Route, Service
from zg_core.budget import Spending
from zg_core.calls.call import Call, Slot
from zg_core.config import SecretHeaders
from zg_core.errors import BudgetExceeded, ConfigError, PaymentRequired, VerificationUnavailable, ZeroGError
from zg_core.http.transport import SyncTransport, run
from zg_core.money import Fee
from zg_core.verify.policy import Policy
from zg_core.verify.verdict import Status

END = chunk(b"data: [DONE]\n\n") + chunk(b"")


@pytest.fixture
def world() -> Iterator[World]:
    server = raw_server.Server()
    yield World(server)
    server.stop()


class Reaching(Backend):
    """Can prove no more than it says."""

    best = Status.CLAIMED

    async def route(self, service: Service, model: str) -> Route:
        return Route(replace(self.service, reach=self.best), model or "m")


class TestReach:
    @pytest.mark.parametrize(
        ("best", "policy", "code"),
        [
            (Status.CLAIMED, Policy("require"), "out_of_reach"),
            (Status.RESPONSE_BOUND, Policy("require"), "out_of_reach"),
            (Status.NOT_VERIFIABLE, Policy("require"), "not_verifiable"),
            (Status.SIGNER_ONLY, Policy("require", minimum=Status.RESPONSE_BOUND), "out_of_reach"),
        ],
    )
    def test_what_cannot_be_proven_is_refused_before_the_prompt_leaves(
        self, world: World, best: Status, policy: Policy, code: str
    ) -> None:
        backend = Reaching(world.server.url)
        backend.best = best
        with pytest.raises(VerificationUnavailable) as caught:
            world.create(backend=backend, policy=policy)
        assert caught.value.code == code
        assert caught.value.hint
        assert (world.server.received, backend.authorised) == ([], 0)

    @pytest.mark.parametrize("policy", [Policy("warn"), Policy("off"), Policy("require", minimum=Status.CLAIMED)])
    def test_what_nobody_demands_is_sent(self, world: World, policy: Policy) -> None:
        world.server.script = [[answer(GOOD)]]
        world.create(backend=Reaching(world.server.url), policy=policy)
        assert outcomes(world) == ["answered"]


class Paying(Backend):
    """Asks for a payment first, as x402 does: a challenge costs nothing, a permit has a cap."""

    paid = 0

    async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
        if error is None:
            return Grant(SecretHeaders({}), most=Amount(0, "OPG"))
        if not isinstance(error, PaymentRequired) or (call.grant is not None and call.grant.facts):
            return None
        self.paid += 1
        return Grant(SecretHeaders({"X-PAYMENT": "p" * 40}), most=Amount(500, "OPG"), facts={"permit": "1"})

    def refusal(self, call: Call, status: int, headers: Any, body: bytes) -> ZeroGError:
        return PaymentRequired("pay", status=status) if status == 402 else super().refusal(call, status, headers, body)

    def fee(self, call: Call) -> Fee:
        return Fee(Amount(call.heard["cost"], "OPG"), exact=True)

    def hear(self, call: Call, said: dict[str, Any]) -> dict[str, Any] | None:
        call.heard["cost"] = said.pop("cost", call.heard.get("cost", 0))
        return said


class TestPayment:
    BILLED = json.dumps({**json.loads(GOOD), "cost": 300}).encode()

    def test_a_challenge_is_paid_once_and_each_request_has_its_receipt(self, world: World) -> None:
        world.server.script = [[answer(b"{}", "402 Pay")], [answer(self.BILLED)]]
        backend = Paying(world.server.url)
        spending = Spending(Budget(per_run=Amount(600, "OPG"), per_call=Amount(500, "OPG")), Store("memory:"), "x402:1")
        reply = world.create(backend=backend, spending=spending)
        assert (outcomes(world), backend.paid) == (["refused", "answered"], 1)
        assert "cost" not in reply.body
        assert (reply.receipt.fee.amount, dict(reply.receipt.grant)) == (Amount(300, "OPG"), {"permit": "1"})
        assert spending.left(reply.receipt.payer, reply.receipt.provider)["per_run"] == Amount(300, "OPG")

    def test_a_cap_that_the_budget_does_not_have_is_not_sent(self, world: World) -> None:
        world.server.script = [[answer(b"{}", "402 Pay")]]
        spending = Spending(Budget(per_run=Amount(499, "OPG")), Store("memory:"), "x402:1")
        with pytest.raises(BudgetExceeded):
            world.create(backend=Paying(world.server.url), spending=spending)
        assert len(world.server.received) == 1

    def test_a_cap_bounds_what_is_not_known(self, world: World) -> None:
        world.server.script = [[answer(b"{}", "402 Pay")], [raw_server.CLOSE]]
        with pytest.raises(ZeroGError):
            world.create(backend=Paying(world.server.url))
        fee = next(receipt.fee for receipt in world.receipts if receipt.outcome == "unknown")
        assert (fee.amount.currency, fee.exact, fee.upper) == ("OPG", False, 500)

    def test_a_second_challenge_is_the_answer(self, world: World) -> None:
        world.server.script = [[answer(b"{}", "402 Pay")]] * 2
        backend = Paying(world.server.url)
        with pytest.raises(PaymentRequired):
            world.create(backend=backend)
        assert (backend.paid, outcomes(world)) == (1, ["refused", "refused"])

    def test_a_backend_that_grants_nothing_at_first_is_at_fault(self, world: World) -> None:
        class Mute(Backend):
            async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
                return None

        with pytest.raises(ConfigError) as caught:
            world.create(backend=Mute(world.server.url))
        assert caught.value.code == "no_grant"


class Sealing(Backend):
    """Seals by adding one to each byte of the text, and swallows what is no answer."""

    def body(self, route: Route, task: Any, payload: Any, data: bytes | None = None) -> Body:
        return Body(b'{"sealed":true}', key="key")

    def hear(self, call: Call, said: dict[str, Any]) -> dict[str, Any] | None:
        if "sealed" not in said:
            call.heard["extra"] = said
            return None
        opened: dict[str, Any] = json.loads(bytes(code - 1 for code in said["sealed"].encode("latin-1")))
        return opened


def sealed(plain: bytes) -> bytes:
    return json.dumps({"sealed": bytes(code + 1 for code in plain).decode("latin-1")}).encode()


class TestHearing:
    def test_a_sealed_answer_is_opened_for_its_caller_and_hashed_as_it_came(self, world: World) -> None:
        body = sealed(GOOD)
        world.server.script = [[answer(body)]]
        reply = world.create(backend=Sealing(world.server.url))
        assert reply.text == "hi"
        assert reply.receipt.response_bytes == len(body)
        assert world.server.received[0].body == b'{"sealed":true}'

    def test_sealed_events_are_opened_and_what_is_no_answer_is_swallowed(self, world: World) -> None:
        events = [sealed(EVENT.split(b"data: ")[1].strip()), b'{"attestation":"x"}']
        world.server.script = [[HEAD + b"".join(chunk(b"data: " + each + b"\n\n") for each in events) + END]]
        slot = Slot()
        seen = world.stream(slot, backend=Sealing(world.server.url))
        assert len(seen) == 1
        assert seen[0]["choices"]
        assert slot.call is not None
        assert slot.call.heard["extra"] == {"attestation": "x"}

    def test_who_asks_for_bytes_gets_those_of_what_was_opened(self, world: World) -> None:
        world.server.script = [[answer(sealed(GOOD))]]
        transport = SyncTransport()

        async def relayed() -> bytes:
            calls = world.calls(transport, backend=Sealing(world.server.url))
            _, chunks = await calls.relay(b'{"messages":[]}')
            return b"".join([part async for part in chunks])

        assert json.loads(run(relayed())) == json.loads(GOOD)
        transport.close()
