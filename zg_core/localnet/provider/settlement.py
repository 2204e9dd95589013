"""Turning unsettled fees into one signed transaction (0g-direct §2.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.keys import keccak256

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.localnet.base.keys import Key
    from zg_core.localnet.provider.billing import BillingEntry

MAX_USERS = 50
"""Items one settleFeesWithTEE call may carry."""
STATUSES = (
    "SUCCESS",
    "PARTIAL",
    "PROVIDER_MISMATCH",
    "NO_TEE_SIGNER",
    "INVALID_NONCE",
    "INVALID_SIGNATURE",
)
_DOMAIN_TYPE = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_SETTLEMENT_TYPE = keccak256(
    b"TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)"
)


@dataclass(frozen=True)
class UserSettlement:
    """What one user pays in one settlement. Fee in neuron."""

    user: str
    provider: str
    total_fee: int
    requests_hash: bytes
    nonce: int
    request_ids: tuple[str, ...]


@dataclass(frozen=True)
class SettledUser:
    """How the contract answered for one user. Amounts in neuron; `status` is one of `STATUSES`."""

    user: str
    status: str
    total_fee: int
    paid: int
    unsettled: int
    nonce: int
    requests_hash: bytes


@dataclass(frozen=True)
class SettlementRecord:
    """One settlement transaction."""

    tx_hash: str
    block: int
    users: tuple[SettledUser, ...]

    @property
    def total_paid(self) -> int:
        """Neuron collected from all users."""
        return sum(user.paid for user in self.users)


def requests_hash(entries: Iterable[BillingEntry]) -> bytes:
    """keccak256 over request id, user, fee, input fee and output fee of every request, as decimal text."""
    parts = [
        part
        for entry in entries
        for part in (entry.request_id, entry.user, str(entry.fee), str(entry.input_fee), str(entry.output_fee))
    ]
    return keccak256("".join(parts).encode())


def _word(value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(32, "big")
    if isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x")).rjust(32, b"\0")
    return value.rjust(32, b"\0")


def domain_separator(chain_id: int, contract: str) -> bytes:
    """The EIP-712 domain of an InferenceServing proxy."""
    return keccak256(
        _DOMAIN_TYPE + keccak256(b"0G Inference Serving") + keccak256(b"1") + _word(chain_id) + _word(contract)
    )


def struct_hash(item: UserSettlement) -> bytes:
    """The EIP-712 hash of one TEESettlement."""
    return keccak256(
        _SETTLEMENT_TYPE
        + _word(item.requests_hash)
        + _word(item.nonce)
        + _word(item.provider)
        + _word(item.user)
        + _word(item.total_fee)
    )


def settlement_digest(item: UserSettlement, *, chain_id: int, contract: str) -> bytes:
    """What the enclave's key signs for one user."""
    return keccak256(b"\x19\x01" + domain_separator(chain_id, contract) + struct_hash(item))


def call_data(items: Iterable[UserSettlement], key: Key, *, chain_id: int, contract: str) -> list[dict[str, Any]]:
    """The TEESettlementData tuples of a settleFeesWithTEE call, by field name, in the contract's order."""
    return [
        {
            "user": item.user,
            "provider": item.provider,
            "totalFee": item.total_fee,
            "requestsHash": item.requests_hash,
            "nonce": item.nonce,
            "signature": key.sign_digest(settlement_digest(item, chain_id=chain_id, contract=contract)),
        }
        for item in items
    ]
