"""Balance, allowance and approval of the token on the payment chain: exact integers, never without a limit (§2.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.backends.opengradient.places import PERMIT2
from zg_core.chain.failures import RpcFailure
from zg_core.chain.rpc import data_of, quantity
from zg_core.crypto import keccak256
from zg_core.errors import ChainError, ConfigError, InsufficientFunds, WrongChain
from zg_core.money import Amount

if TYPE_CHECKING:
    from zg_core.chain.rpc import JsonRpc

__all__ = ["Approval", "Funds", "approve_call", "funds_of", "short_of", "wanted"]

_WORD = 32
_UNLIMITED = 2**255


@dataclass(frozen=True, slots=True)
class Funds:
    """What an account has.

    Attributes:
        balance: Of the token.
        allowance: What of it payments may take.
        gas: Of the chain's own coin, in wei.
    """

    balance: Amount
    allowance: Amount
    gas: int


@dataclass(frozen=True, slots=True)
class Approval:
    """What `ensure_opg_approval` came to.

    Attributes:
        before: The allowance before.
        after: The allowance now.
        transaction: Hash of the transaction, "" where none was needed.
    """

    before: Amount
    after: Amount
    transaction: str = ""


def approve_call(amount: int) -> bytes:
    """The data of the transaction that lets payments take `amount`."""
    return keccak256(b"approve(address,uint256)")[:4] + _address(PERMIT2) + amount.to_bytes(_WORD)


async def funds_of(rpc: JsonRpc, token: str, chain_id: int, payer: str) -> Funds:
    """What `payer` has.

    Raises:
        ChainError: the chain cannot be read.
        WrongChain: the endpoint answers for another one.
    """
    held = keccak256(b"balanceOf(address)")[:4] + _address(payer)
    allowed = keccak256(b"allowance(address,address)")[:4] + _address(payer) + _address(PERMIT2)
    calls: list[tuple[str, list[Any]]] = [
        ("eth_chainId", []),
        *(("eth_call", [{"to": token, "data": "0x" + each.hex()}, "latest"]) for each in (held, allowed)),
        ("eth_getBalance", [payer, "latest"]),
    ]
    answers = await rpc.batch(calls)
    for answer in answers:
        if isinstance(answer, RpcFailure):
            raise ChainError(f"the token cannot be read: {answer.message}", code="rpc_refused", hint=_HINT)
    if (found := quantity(answers[0], "eth_chainId")) != chain_id:
        raise WrongChain(f"the payment chain's RPC answers for chain {found}, not {chain_id}", hint=_HINT)
    words = [data_of(each, "eth_call") for each in answers[1:3]]
    if any(len(word) < _WORD for word in words):
        raise ChainError(f"there is no token at {token}", code="no_contract", hint="check OpenGradient(token=…)")
    balance, allowance = (Amount(int.from_bytes(word[:_WORD]), "OPG") for word in words)
    return Funds(balance, allowance, quantity(answers[3], "eth_getBalance"))


def short_of(funds: Funds, cap: int) -> InsufficientFunds | None:
    """Why a permit for `cap` would not be accepted; None where it would be."""
    need = Amount(cap, "OPG")
    if funds.balance.units < cap:
        return InsufficientFunds(
            f"the gateway asks for a permit of {need}, and the account holds {funds.balance}; nothing was signed",
            code="opg_insufficient",
            hint=f"buy OPG on Base; {need} is a cap that must be there, not a price",
            balance=str(funds.balance),
            needed=str(need),
            of_payer=True,
        )
    if funds.allowance.units < cap:
        return InsufficientFunds(
            f"the gateway asks for a permit of {need}, and {funds.allowance} are approved for payments; "
            "nothing was signed",
            code="opg_not_approved",
            hint=f"zerog opengradient approve {need._text()}, or ensure_opg_approval(…)",  # noqa: SLF001 - its digits
            approved=str(funds.allowance),
            needed=str(need),
            of_payer=True,
        )
    return None


def wanted(min_allowance: Any, approve_amount: Any) -> tuple[int, int]:
    """The least allowance and what is approved where it is less, in the token's smallest unit.

    Args:
        min_allowance: An `Amount` of OPG, or whole OPG as an int or text.
        approve_amount: The same; None is twice as much.

    Raises:
        ConfigError: one is none, unlimited, or the second less than the first (code ``bad_amount``).
    """
    least = _units(min_allowance, "min_allowance")
    most = 2 * least if approve_amount is None else _units(approve_amount, "approve_amount")
    if most < least:
        hint = "approve at least as much as is needed"
        raise ConfigError("approve_amount is less than min_allowance", code="bad_amount", hint=hint)
    return least, most


def _units(value: Any, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Amount(str(value), "OPG")
    elif isinstance(value, str):
        value = Amount(value, "OPG")
    if not isinstance(value, Amount) or value.currency != "OPG":
        kind = value.currency if isinstance(value, Amount) else type(value).__name__
        hint = f'{name}=Amount("5", "OPG"), or "5"; floats are not exact'
        raise ConfigError(f"{name} is no amount of OPG but a {kind}", code="bad_amount", hint=hint)
    if not 0 < value.units < _UNLIMITED:
        hint = "approve what you mean to spend: an approval without a limit is never made"
        raise ConfigError(f"{name} is {value}", code="bad_amount", hint=hint)
    return value.units


def _address(text: str) -> bytes:
    return bytes(12) + bytes.fromhex(text.removeprefix("0x"))


_HINT = "check ZEROG_BASE_RPC_URL (OpenGradient(rpc_url=…))"
