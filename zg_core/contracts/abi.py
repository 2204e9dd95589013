"""Calls and answers of the serving contracts that this package reads, encoded with eth_abi (loaded at first use).

Types and their order: 0g-direct §2.2, 0g-abi.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.contracts.reverts import decode_revert
from zg_core.crypto import checksum_address, keccak256
from zg_core.types import ServiceRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Account", "Call", "Ledger", "Refund", "decode_error"]

# Texts are decoded as bytes: a provider may register any, and one that is no UTF-8 must not spoil the list for all.
_SERVICE = "(address,bytes,bytes,uint256,uint256,uint256,bytes,bytes,bytes,address,bool)"
_REFUND = "(uint256,uint256,uint256,bool)"
_ACCOUNT = f"(address,address,uint256,uint256,uint256,{_REFUND}[],bytes,bool,uint256,uint256,uint256)"
_LEDGER = "(address,uint256,uint256,bytes)"


@dataclass(frozen=True, slots=True)
class Refund:
    """A pending withdrawal: `amount` neuron asked back at `created_at` (unix seconds)."""

    amount: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Account:
    """A sub-account: what one user holds at one provider (0g-direct §2.2). Amounts are neuron."""

    user: str
    provider: str
    nonce: int
    balance: int
    pending_refund: int
    refunds: tuple[Refund, ...]
    acknowledged: bool
    generation: int
    revoked_bitmap: int

    @property
    def usable(self) -> int:
        """What the provider counts on: balance less pending refunds."""
        return self.balance - self.pending_refund

    def is_revoked(self, token_id: int) -> bool:
        """Whether the API key with this id is revoked."""
        return bool(self.revoked_bitmap >> token_id & 1)


@dataclass(frozen=True, slots=True)
class Ledger:
    """A user's ledger; amounts are neuron."""

    user: str
    available: int
    total: int

    @property
    def locked(self) -> int:
        """What lies in sub-accounts."""
        return self.total - self.available


@dataclass(frozen=True, slots=True)
class Call:
    """One read: where to, and how its answer is decoded."""

    to: str
    data: str
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, to: str, signature: str, arguments: Sequence[Any], *outputs: str) -> Call:
        """Encode a call of ``name(types)`` with `arguments`."""
        from eth_abi.abi import encode

        selector = keccak256(signature.encode())[:4]
        inner = signature[signature.index("(") + 1 : -1]
        types = inner.split(",") if inner else []
        return cls(to, "0x" + (selector + encode(types, list(arguments))).hex(), outputs)

    def decode(self, result: str) -> tuple[Any, ...]:
        """Decode the hex answer.

        Raises:
            ValueError: it is not an answer of this call.
        """
        from eth_abi.abi import decode
        from eth_abi.exceptions import DecodingError

        try:
            return decode(self.outputs, bytes.fromhex(result.removeprefix("0x")))
        except (DecodingError, OverflowError, UnicodeDecodeError) as error:
            raise ValueError(f"the answer does not decode: {error}") from error


def get_service(inference: str, provider: str) -> Call:
    """``getService(provider)``."""
    return Call.of(inference, "getService(address)", [provider], _SERVICE)


def get_all_services(inference: str, offset: int, limit: int) -> Call:
    """``getAllServices(offset, limit)``; limit at most 50."""
    return Call.of(inference, "getAllServices(uint256,uint256)", [offset, limit], f"{_SERVICE}[]", "uint256")


def get_account(inference: str, user: str, provider: str) -> Call:
    """``getAccount(user, provider)``."""
    return Call.of(inference, "getAccount(address,address)", [user, provider], _ACCOUNT)


def get_accounts_by_user(inference: str, user: str, offset: int, limit: int) -> Call:
    """``getAccountsByUser(user, offset, limit)``; limit at most 50."""
    signature = "getAccountsByUser(address,uint256,uint256)"
    return Call.of(inference, signature, [user, offset, limit], f"{_ACCOUNT}[]", "uint256")


def get_ledger(ledger: str, user: str) -> Call:
    """``getLedger(user)``."""
    return Call.of(ledger, "getLedger(address)", [user], _LEDGER)


def get_service_info(ledger: str, contract: str) -> Call:
    """``getServiceInfo(contract)``: how the ledger knows a serving contract."""
    info = "(address,address,bytes,bytes,bytes,bytes,bool,uint256)"
    return Call.of(ledger, "getServiceInfo(address)", [contract], info)


def lock_time(inference: str) -> Call:
    """``lockTime()``: seconds until a retrieved amount is free."""
    return Call.of(inference, "lockTime()", [], "uint256")


def service(value: tuple[Any, ...], *, private: bool = False) -> ServiceRecord:
    """A `Service` from its decoded tuple; `private` as there."""
    provider, service_type, url, input_price, output_price, updated_at, model, verifiability, info, signer, ack = value
    return ServiceRecord(
        checksum_address(provider),
        _text(service_type),
        _text(url).rstrip("/"),
        input_price,
        output_price,
        updated_at,
        _text(model),
        _text(verifiability),
        _text(info),
        checksum_address(signer),
        ack,
        private,
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def account(value: tuple[Any, ...]) -> Account:
    """An `Account` from its decoded tuple; the dead tail of `refunds` is cut (0g-contracts C3.6)."""
    user, provider, nonce, balance, pending, refunds, _, acknowledged, live, generation, bitmap = value
    return Account(
        checksum_address(user),
        checksum_address(provider),
        nonce,
        balance,
        pending,
        tuple(Refund(amount, created_at) for _, amount, created_at, _ in refunds[:live]),
        acknowledged,
        generation,
        bitmap,
    )


def ledger(value: tuple[Any, ...]) -> Ledger:
    """A `Ledger` from its decoded tuple."""
    user, available, total, _ = value
    return Ledger(checksum_address(user), available, total)


def decode_error(data: str) -> tuple[str, tuple[Any, ...]]:
    """Name and arguments of a revert; the name is ``""`` for one this package does not know."""
    revert = decode_revert(data)
    return revert.name, tuple(revert.arguments.values())
