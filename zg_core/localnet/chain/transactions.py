"""Signing transactions with a key the chain was handed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from eth_typing import Address
from eth_utils.exceptions import ValidationError

from zg_core.localnet.chain.pool import Waiting, accept
from zg_core.localnet.chain.pyevm import CREATE_CONTRACT_ADDRESS, CancunTransactionBuilder, PrivateKey

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY_HEX: Final = re.compile(r"(?:0[xX])?[0-9a-fA-F]{64}\Z")


def read_key(private_key: str | bytes) -> PrivateKey:
    """Read 32 bytes or their hex form.

    Raises:
        ValueError: if it is not a private key; the message does not show it.
    """
    if isinstance(private_key, str) and _KEY_HEX.match(private_key):
        private_key = bytes.fromhex(private_key[-64:])
    if not isinstance(private_key, bytes) or len(private_key) != 32:
        raise ValueError("a private key is 32 bytes, or 64 hex digits with or without 0x prefix")
    try:
        return PrivateKey(private_key)
    except (ValueError, ValidationError):
        raise ValueError("the private key is not in the range of the secp256k1 curve") from None


def sign(
    private_key: str | bytes,
    next_nonce: Callable[[bytes], int],
    *,
    chain_id: int,
    to: bytes | None,
    data: bytes,
    value: int,
    gas: int,
    max_fee: int,
    priority_fee: int,
) -> Waiting:
    """Build and sign an EIP-1559 transaction, and check it as one from outside but for the signature.

    Args:
        private_key: of the sender.
        next_nonce: tells the nonce for a sender's address.
        chain_id: of the chain.
        to: receiver, None to create a contract.
        data: input, or the new contract's init code.
        value: neuron.
        gas: limit.
        max_fee: neuron per gas.
        priority_fee: neuron per gas.

    Raises:
        ValueError: if the key is not one or the transaction could never be mined.
    """
    key = read_key(private_key)
    sender = key.public_key.to_canonical_address()
    unsigned = CancunTransactionBuilder.new_unsigned_dynamic_fee_transaction(
        chain_id=chain_id,
        nonce=next_nonce(sender),
        max_priority_fee_per_gas=priority_fee,
        max_fee_per_gas=max_fee,
        gas=gas,
        to=CREATE_CONTRACT_ADDRESS if to is None else Address(to),
        value=value,
        data=data,
        access_list=(),
    )
    signed = unsigned.as_signed_transaction(key)
    return accept(signed, signed.encode(), chain_id, sender)
