"""The real contracts, and ours, put at the addresses every client knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eth_account import Account

from zg_core.localnet.chain import abi
from zg_core.localnet.chain.genesis import DESCRIPTION, LOCK_TIME, REGISTERED_AT, SERVICE_TYPE, VERSION

from .sides import Transaction
from .stage import GAS, LEDGER, OG, PRICE, SERVING, Stage, clone_code


def deploy(stage: Stage, numbers: Sequence[int]) -> None:
    """Put the contracts behind EIP-1167 proxies on some of the sides, at the addresses every client knows.

    The implementations are the deployer's transactions 0 and 4, the proxies 2 and 6 (localnet §2); where the official
    deployment makes beacons, 1 and 5, it sends nothing to itself.
    """
    owner = stage.owner
    nonce = 0

    def send(to: str | None, data: Callable[[int], bytes]) -> str | None:
        nonlocal nonce
        fields = {"chainId": abi.CHAIN_ID, "nonce": nonce, "gas": GAS, "gasPrice": PRICE, "value": 0}
        fields |= {} if to is None else {"to": to}
        created = None
        for number in numbers:
            code = data(number)
            signed = bytes(Account.sign_transaction(fields | {"data": code}, owner.secret).raw_transaction)
            # The registration's time can be read back: it is that of the packaged genesis.
            outcome = stage.sides[number].send(
                Transaction(signed, owner.address, to, code, 0, returns=False), REGISTERED_AT
            )
            assert outcome.status == 1, f"{stage.sides[number].name}: transaction {nonce}: {outcome}"
            created = outcome.created
        nonce += 1
        return created

    def behind_proxy(contract: abi.Contract) -> None:
        implementation = send(None, lambda number: stage.codes[number](contract.name))
        assert implementation is not None
        send(owner.address, lambda _: b"")
        proxy = send(None, lambda _: clone_code(implementation))
        assert proxy == contract.address.lower(), f"{contract.name} is at {proxy}"

    def call(contract: abi.Contract, function: str, *args: Any) -> None:
        send(contract.address, lambda _: contract.encode(function, *args))

    behind_proxy(LEDGER)
    call(LEDGER, "initialize", owner.address)
    behind_proxy(SERVING)
    call(SERVING, "initialize", LOCK_TIME, LEDGER.address, owner.address)
    call(LEDGER, "registerService", SERVICE_TYPE, VERSION, SERVING.address, DESCRIPTION)
    call(LEDGER, "setRecommendedService", SERVICE_TYPE, VERSION)


def prepare(stage: Stage) -> None:
    """Bring every side to the same start: coins for everybody, and the deployer's next nonce."""
    for side in stage.sides:
        for person in stage.names:
            side.set_balance(person, 10**6 * OG)
    stage.nonces[stage.owner.address] = 10
    stage.compare_lists()
