"""Signing what was approved, with x402's own client (opengradient §2.4); what it made is compared before it is used."""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.backends.opengradient.challenge import facts_of
from zg_core.backends.opengradient.places import PROXIES
from zg_core.config import Secret
from zg_core.crypto import keccak256, same_address
from zg_core.errors import ConfigError, PaymentRequired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.opengradient.challenge import Challenge, Terms
    from zg_core.wallet import Wallet

__all__ = ["HEADER", "Permit", "signed", "warm"]

HEADER = "PAYMENT-SIGNATURE"
_MOMENT = 60  # seconds that signing may take on a machine that is busy


@dataclass(frozen=True, slots=True)
class Permit:
    """A signed payment.

    Attributes:
        header: The value of `HEADER`; whoever has it can be paid by it.
        facts: What a receipt keeps: number, end, cap, who is paid.
        cap: The most that it allows.
        deadline: When it ends, unix seconds.
    """

    header: Secret = field(repr=False)
    facts: Mapping[str, Any] = field(hash=False)
    cap: int
    deadline: int


class _Signer:
    """A wallet in the form that x402 takes; it can neither read a chain nor sign a transaction."""

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet

    @property
    def address(self) -> str:
        return self._wallet.address

    def sign_typed_data(self, domain: Any, types: dict[str, Any], primary_type: str, message: dict[str, Any]) -> bytes:
        from eth_account.messages import encode_typed_data

        if not isinstance(domain, dict):
            known = {"name": "name", "version": "version", "chain_id": "chainId"}
            known["verifying_contract"] = "verifyingContract"
            domain = {said: getattr(domain, name) for name, said in known.items() if getattr(domain, name, None)}
        fields = {
            name: [each if isinstance(each, dict) else {"name": each.name, "type": each.type} for each in listed]
            for name, listed in types.items()
            if name != "EIP712Domain"
        }
        if primary_type not in fields:
            raise ValueError("nothing of that type is to be signed")
        encoded = encode_typed_data(domain, fields, message)
        return self._wallet.sign_digest(keccak256(b"\x19" + encoded.version + encoded.header + encoded.body))


def warm() -> None:
    """Load what signing needs, which takes a moment.

    Raises:
        ConfigError: the extra ``opengradient`` is not installed (code ``missing_extra``).
    """
    _scheme("upto")


def _scheme(name: str) -> Any:
    try:
        if name == "upto":
            from x402.mechanisms.evm.upto.client import UptoEvmScheme

            return UptoEvmScheme
        from x402.mechanisms.evm.exact.client import ExactEvmScheme

        return ExactEvmScheme
    except ImportError:
        raise ConfigError(
            "payments of OpenGradient need the package x402",
            code="missing_extra",
            hint='pip install "zerog-integrations[opengradient]"',
        ) from None


def signed(challenge: Challenge, terms: Terms, wallet: Wallet) -> Permit:
    """Sign `terms` of `challenge`; they were approved.

    Raises:
        PaymentRequired: they cannot be signed (code ``payment_malformed``).
        ConfigError: the extra is not installed.
    """
    from x402.schemas import PaymentRequirements

    try:
        wanted = PaymentRequirements.model_validate(dict(terms.said))
        payload: dict[str, Any] = _scheme(terms.scheme)(_Signer(wallet)).create_payment_payload(wanted)
    except (ValueError, TypeError, KeyError) as error:
        message = f"the payment cannot be made: {type(error).__name__}; nothing was sent"
        raise PaymentRequired(message, code="payment_malformed", hint="choose another provider") from None
    permit = payload.get("permit2Authorization") or payload.get("authorization") or {}
    if not _as_approved(permit, terms, wallet.address):
        message = "the payment that was made is not the one that was approved; nothing was sent"
        raise PaymentRequired(message, code="payment_altered", hint="this package and x402 may not fit: upgrade both")
    said: dict[str, Any] = {"x402Version": 2, "payload": payload, "accepted": dict(terms.said)}
    if challenge.resource is not None:
        said["resource"] = dict(challenge.resource)
    facts: dict[str, Any] = facts_of(terms)
    if challenge.identified:
        identifier = f"pay_{secrets.token_hex(16)}"
        declared = dict(challenge.extensions["payment-identifier"])
        info = declared.get("info")
        declared["info"] = {**(info if isinstance(info, dict) else {}), "id": identifier}
        said["extensions"] = {"payment-identifier": declared}
        facts["identifier"] = identifier
    deadline = int(permit.get("deadline") or permit["validBefore"])
    facts |= {"payer": wallet.address, "nonce": str(permit["nonce"]), "deadline": deadline}
    header = base64.b64encode(json.dumps(said, separators=(",", ":")).encode()).decode()
    return Permit(Secret(header), facts, terms.amount, deadline)


def _ends(permit: Mapping[str, Any], terms: Terms) -> bool:
    """Whether a permit ends when it was asked to, seen from now."""
    left = int(permit.get("deadline") or permit["validBefore"]) - time.time()
    return terms.lifetime - _MOMENT <= left <= terms.lifetime + 1


def _as_approved(permit: Mapping[str, Any], terms: Terms, payer: str) -> bool:
    """Whether what was signed is what was approved, field by field."""
    try:
        if not same_address(permit["from"], payer) or not _ends(permit, terms):
            return False
        if not terms.permit2:
            return bool(same_address(permit["to"], terms.pay_to) and int(permit["value"]) == terms.amount)
        witness, permitted = permit["witness"], permit["permitted"]
        facilitated = terms.scheme != "upto" or same_address(
            witness["facilitator"], str(terms.extra["facilitatorAddress"])
        )
        return bool(
            facilitated
            and same_address(permit["spender"], PROXIES[terms.scheme])
            and same_address(permitted["token"], terms.asset)
            and int(permitted["amount"]) == terms.amount
            and same_address(witness["to"], terms.pay_to)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
