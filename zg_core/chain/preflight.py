"""Before anything is signed: whether the call would succeed, what it costs, and whether the wallet can pay for it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zg_core.chain.failures import RpcFailure
from zg_core.chain.fees import PRICES, Lid, quoted
from zg_core.chain.results import refusal
from zg_core.chain.rpc import quantity
from zg_core.errors import ChainError, InsufficientFunds, WrongChain
from zg_core.money import Amount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.chain.encoding import Fees
    from zg_core.chain.results import Contracts
    from zg_core.chain.rpc import Call, JsonRpc
    from zg_core.chain.sending import Sending
    from zg_core.config import Network
    from zg_core.http.transport import Transport

__all__ = ["Preflight"]

_UNLIKE = 4096  # units of gas, of which none is paid that is not used; and neuron
_PAUSES = (0.3, 0.9)
_LONGEST_PAUSE = 10.0


class Preflight:
    """Reads what has to be known before a transaction of one account is signed."""

    def __init__(
        self, network: Network, transport: Transport, rpc: JsonRpc, *, sending: Sending, contracts: Contracts
    ) -> None:
        self._network = network
        self._transport = transport
        self._rpc = rpc
        self._sending = sending
        self._contracts = contracts

    async def read(self, calls: Sequence[Call]) -> list[Any]:
        """Answers to `calls`, asked again where the node fails for a moment: nothing is sent yet."""
        for pause in _PAUSES:
            try:
                return await self._rpc.batch(calls)
            except ChainError as error:
                wait = max(float(error.details.get("retry_after") or 0.0), pause)
                if not error.retryable or wait > _LONGEST_PAUSE:
                    raise
            await self._transport.sleep(wait)
        return await self._rpc.batch(calls)

    async def check(self, what: str, call: dict[str, str]) -> tuple[int, Fees]:
        """Units of gas and what one may cost.

        Raises:
            WrongChain: the RPC answers for another chain.
            InsufficientFunds: the wallet cannot pay value and gas.
            TransactionReverted: the contract refuses.
            ChainError: the chain cannot be read, or gas is above the caps (``gas_too_expensive``).
        """
        chain_id, balance, outcome, estimate, *prices = await self.read(
            [
                ("eth_chainId", []),
                ("eth_getBalance", [call["from"], "latest"]),
                ("eth_call", [call, "latest"]),
                ("eth_estimateGas", [call]),
                *PRICES,
            ]
        )
        if (found := quantity(chain_id, "eth_chainId")) != self._network.chain_id:
            name, wanted = self._network.name, self._network.chain_id
            raise WrongChain(
                f"the RPC endpoint answers for chain {found}, network {name!r} is {wanted}",
                hint="set ZEROG_NETWORK (network=…) and ZEROG_RPC_URL (rpc_url=…) to the same chain",
            )
        money, value = quantity(balance, "eth_getBalance"), int(call["value"], 16)
        if money < value:
            raise self._too_poor(what, call["from"], money, value)
        for answer in (outcome, estimate):
            if isinstance(answer, RpcFailure):
                raise refusal(what, answer, self._contracts, call["from"], self._network)
        gas = quantity(estimate, "eth_estimateGas") * (100 + self._sending.gas_margin) // 100
        # Two equal transactions of two programs would have one hash, and each would take the other's for its own.
        gas += secrets.randbelow(_UNLIKE)
        fees, needed = quoted(prices)
        fees = Lid(self._sending, gas).on(replace(fees, cap=fees.cap + secrets.randbelow(_UNLIKE)), needed)
        if money < value + gas * fees.cap:
            raise self._too_poor(what, call["from"], money, value + gas * fees.cap)
        return gas, fees

    def _too_poor(self, what: str, payer: str, money: int, needed: int) -> InsufficientFunds:
        return InsufficientFunds(
            f"{what} takes up to {Amount(needed)} with gas, the wallet {payer} holds {Amount(money)}",
            code="wallet_too_small",
            hint=f"send 0G to {payer} on {self._network.name}, or spend less",
        )
