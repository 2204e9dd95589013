"""Whatever goes wrong and in whatever order: no call is served, and paid for, twice.

Each schedule is a seeded run of calls with faults between; the gateways count what they served and metered, the chain
what was taken, the client what it has receipts for.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.effort import tries
from tests.zg_core.backends.opengradient.conftest import arguments
from zg_core import ChatClient
from zg_core.errors import ZeroGError
from zg_core.localnet.opengradient.faults import Fault
from zg_core.localnet.opengradient.network import OpenGradientNet

FAULTS = (
    Fault.SESSION_EXPIRED,
    Fault.UNAVAILABLE,
    Fault.CUT,
    Fault.CUT_BEFORE_ANSWER,
    Fault.MID_STREAM_ERROR,
    Fault.TAMPER,
    Fault.NO_SIGNATURE,
    Fault.PAYMENT_REFUSED,
    Fault.GREEDY_AMOUNT,
    Fault.WRONG_PAYEE,
    Fault.GZIP,
)
CALLS = 6


def ask(client: ChatClient, number: int, *, stream: bool) -> tuple[bool, list[Any]]:
    """One call: whether it was answered, and its receipts."""
    payload = {"messages": [{"role": "user", "content": f"What is 2+{number}?"}], "max_tokens": 20}
    try:
        if not stream:
            return True, [client.create(payload).receipt]
        with client.stream(payload) as events:
            list(events)
        return True, [events.receipt]
    except ZeroGError as error:
        return False, [] if error.receipt is None else [error.receipt]


def schedule(net: OpenGradientNet, seed: int) -> None:
    """One run; a failure says which."""
    chosen = random.Random(seed)
    with net.clean():
        wallet = net.new_wallet(approved=100 * 10**18)
        receipts: list[Any] = []
        settings: dict[str, Any] = {"private_key": wallet.private_key, "max_retries": 2, "retry_deadline": 5.0}
        with ChatClient(**arguments(net, on_receipt=receipts.append, **settings)) as client:
            for _ in range(CALLS):
                for gateway in net.gateways:
                    if chosen.random() < 0.4:
                        gateway.fail(chosen.choice(FAULTS))
                before = [gateway.served for gateway in net.gateways]
                together = chosen.choice((1, 1, 3))
                streams = [chosen.random() < 0.5 for _ in range(together)]
                with ThreadPoolExecutor(together) as pool:
                    ended = list(pool.map(lambda n: ask(client, n, stream=streams[n]), range(together)))  # noqa: B023
                served = sum(gateway.served for gateway in net.gateways) - sum(before)
                assert served <= together, f"seed {seed}: {together} calls were served {served} times"
                assert served >= sum(answered for answered, _ in ended), f"seed {seed}: answered and not served"
        before_settling = net.tokens(wallet.address)
        for gateway in net.gateways:
            gateway.behave()
        net.settle()
        taken = before_settling - net.tokens(wallet.address)
        metered = sum(gateway.metered for gateway in net.gateways)
        assert taken == metered, f"seed {seed}: {taken} was taken, {metered} metered"
        answered = [each for each in receipts if each.outcome == "answered"]
        assert len({each.id for each in receipts}) == len(receipts)
        assert sum(each.fee.amount.units for each in answered) <= metered, f"seed {seed}"
        most = sum(each.fee.most for each in receipts if each.outcome != "refused" and each.fee.most is not None)
        assert metered <= most, f"seed {seed}: more was metered than all receipts together allow"


@pytest.mark.filterwarnings("ignore::zg_core.errors.VerificationWarning")
@pytest.mark.fuzz
@pytest.mark.parametrize("block", range(5))
def test_no_call_is_paid_twice(og, block):
    for number in range(tries(200, 10)):
        schedule(og, 1000 * block + number)
