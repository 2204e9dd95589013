"""What a 402 asks for (opengradient §2.3), and whether it may be signed, decided before anything is. No I/O."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.crypto import checksum_address, is_address, same_address
from zg_core.errors import PaymentRequired
from zg_core.jsontext import parse_json
from zg_core.money import Amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.opengradient.options import OpenGradient

__all__ = ["HEADER", "Challenge", "Terms", "approved", "read"]

HEADER = "payment-required"
_MOST_BYTES = 64 * 1024
_MOST_TERMS = 16
_MOST_UNITS = 2**256
_AMOUNT = re.compile(r"0|[1-9][0-9]{0,77}")


@dataclass(frozen=True, slots=True)
class Terms:
    """One way to pay.

    Attributes:
        scheme: ``"upto"``, ``"exact"``, or what is not known here.
        network: The chain, ``"eip155:8453"``.
        asset: The token.
        amount: In the token's smallest unit: a cap with ``upto``, a price with ``exact``.
        pay_to: Who gets it.
        lifetime: Seconds for which a permit must be good.
        extra: What else the scheme needs.
        said: All of it as it came, to be echoed.
    """

    scheme: str
    network: str
    asset: str
    amount: int
    pay_to: str
    lifetime: int
    extra: Mapping[str, Any] = field(hash=False)
    said: Mapping[str, Any] = field(hash=False, repr=False)

    @property
    def permit2(self) -> bool:
        """Whether it is paid by a permit of Permit2; else by EIP-3009."""
        return self.scheme == "upto" or self.extra.get("assetTransferMethod") == "permit2"


@dataclass(frozen=True, slots=True)
class Challenge:
    """A 402.

    Attributes:
        terms: The ways to pay that it offers.
        error: Why it was sent.
        resource: What is paid for, as it came.
        extensions: What else may be said, as it came.
    """

    terms: tuple[Terms, ...]
    error: str = ""
    resource: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    extensions: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def identified(self) -> bool:
        """Whether a payment may carry an id, by which a repetition is known."""
        return isinstance(self.extensions.get("payment-identifier"), dict)


def read(headers: Mapping[str, str]) -> Challenge | None:
    """The challenge in the headers of a 402 (names in lower case); None where there is none, as for an old session.

    Raises:
        PaymentRequired: it cannot be read (code ``payment_malformed``), or is of another version of x402
            (``payment_version``).
    """
    said = headers.get(HEADER)
    if said is None:
        return None
    if len(said) > _MOST_BYTES:
        raise _malformed(f"it is larger than {_MOST_BYTES} bytes")
    try:
        value = parse_json(base64.b64decode(said, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _malformed("it is no JSON in Base64") from None
    if not isinstance(value, dict):
        raise _malformed("it is no object")
    if (version := value.get("x402Version")) != 2:
        raise PaymentRequired(
            f"the gateway asks for a payment of x402 version {version!r}; nothing was signed",
            code="payment_version",
            hint="version 2 is understood; choose another provider, or upgrade this package",
        )
    offered = value.get("accepts")
    if not isinstance(offered, list) or not 0 < len(offered) <= _MOST_TERMS:
        raise _malformed("it offers no way to pay")
    resource, extensions = value.get("resource"), value.get("extensions")
    error = value.get("error")
    return Challenge(
        tuple(_terms(each) for each in offered),
        error[:200] if isinstance(error, str) else "",
        resource if isinstance(resource, dict) else None,
        extensions if isinstance(extensions, dict) else {},
    )


def _terms(said: Any) -> Terms:
    if not isinstance(said, dict):
        raise _malformed("a way to pay is no object")
    texts = [said.get(name) for name in ("scheme", "network", "asset", "payTo")]
    lifetime, extra = said.get("maxTimeoutSeconds"), said.get("extra")
    if not all(isinstance(each, str) for each in texts):
        raise _malformed("a way to pay lacks a field")
    scheme, network, asset, pay_to = map(str, texts)
    amount = said.get("amount")
    if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
        raise _malformed("the amount is no whole number")
    if isinstance(lifetime, bool) or not isinstance(lifetime, int) or lifetime <= 0:
        raise _malformed("the lifetime is no number of seconds")
    units = int(amount)
    if not units < _MOST_UNITS:
        raise _malformed("the amount is no whole number of 256 bits")
    return Terms(scheme, network, asset, units, pay_to, lifetime, extra if isinstance(extra, dict) else {}, said)


def approved(challenge: Challenge, options: OpenGradient, payment_address: str) -> Terms:
    """The terms that may be signed: those of the first offer that every check lets pass.

    Args:
        challenge: What is asked.
        options: What is allowed.
        payment_address: Whom the registry names for this enclave.

    Raises:
        PaymentRequired: none may be. Its code names the check (``payment_scheme``, ``payment_network``,
            ``payment_asset``, ``payment_recipient``, ``payment_amount``, ``payment_lifetime``), its message what was
            asked and what is allowed.
    """
    refusals = [_objection(terms, options, payment_address) for terms in challenge.terms]
    for terms, refusal in zip(challenge.terms, refusals, strict=True):
        if refusal is None:
            return terms
    # The one that went furthest: of several offers it says most.
    rank = [code for code, _ in _CHECKS]
    refused = max((each for each in refusals if each is not None), key=lambda each: rank.index(each.code))
    raise refused


_CHECKS = (
    ("payment_scheme", "the gateway may speak a newer protocol: upgrade this package, or choose another provider"),
    ("payment_network", "allow another chain with OpenGradient(chain_id=…, token=…)"),
    ("payment_asset", "allow another token with OpenGradient(token=…)"),
    ("payment_recipient", "if you know it, allow it with OpenGradient(pay_to=[…])"),
    ("payment_amount", 'it is a cap, not a price; allow it with OpenGradient(cap=Amount("…", "OPG"))'),
    ("payment_lifetime", "allow it with OpenGradient(longest=…)"),
)
_HINTS = dict(_CHECKS)


def _objection(terms: Terms, options: OpenGradient, payment_address: str) -> PaymentRequired | None:
    def refuse(check: str, asked: object, allowed: object) -> PaymentRequired:
        word = check.removeprefix("payment_")
        return PaymentRequired(
            f"the gateway asks for the {word} {asked}, allowed is {allowed}; nothing was signed",
            code=check,
            hint=_HINTS[check],
            asked=str(asked),
            allowed=str(allowed),
        )

    if terms.scheme not in options.schemes:
        return refuse("payment_scheme", repr(terms.scheme[:60]), " or ".join(options.schemes))
    if terms.scheme == "upto" and not is_address(terms.extra.get("facilitatorAddress")):
        return refuse("payment_scheme", "'upto' without a facilitator", "one that names who may take the money")
    if terms.network != f"eip155:{options.chain_id}":
        return refuse("payment_network", repr(terms.network[:60]), f"eip155:{options.chain_id}")
    if not is_address(terms.asset) or not same_address(terms.asset, options.token):
        return refuse("payment_asset", terms.asset[:60], options.token)
    payees = (payment_address, *options.pay_to)
    if not is_address(terms.pay_to) or not any(same_address(terms.pay_to, each) for each in payees):
        allowed = f"{payment_address} (the registry's)" + "".join(f" or {each}" for each in options.pay_to)
        return refuse("payment_recipient", terms.pay_to[:60], allowed)
    if terms.amount > options.cap.units:
        return refuse("payment_amount", Amount(terms.amount, "OPG"), f"at most {options.cap}")
    if terms.lifetime > options.longest:
        return refuse("payment_lifetime", f"{terms.lifetime} s", f"at most {options.longest} s")
    return None


def facts_of(terms: Terms) -> dict[str, Any]:
    """What a receipt keeps of the terms that were signed."""
    facts: dict[str, Any] = {
        "scheme": terms.scheme,
        "network": terms.network,
        "asset": checksum_address(terms.asset),
        "cap": str(terms.amount),
        "pay_to": checksum_address(terms.pay_to),
    }
    if terms.scheme == "upto":
        facts["facilitator"] = checksum_address(str(terms.extra["facilitatorAddress"]))
    return facts


def _malformed(why: str) -> PaymentRequired:
    return PaymentRequired(
        f"the gateway asks for a payment that cannot be read: {why}; nothing was signed",
        code="payment_malformed",
        hint="choose another provider",
    )
