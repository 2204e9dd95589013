"""The errors of this package, one tree.

::

    ZeroGError
    ├── ConfigError               a setting, key or argument is missing or malformed
    │   └── ArgumentError         an argument that nobody takes there, such as a client setting in a request
    ├── ChainError                the chain could not be read, or says no
    │   ├── InsufficientFunds     no ledger, no sub-account, or too little in it
    │   ├── NotAcknowledged       the TEE signer is not acknowledged by owner or user
    │   ├── TransactionReverted   a contract reverted; carries the decoded custom error
    │   └── WrongChain            the RPC answers for another chain id
    ├── RequestError              the provider refused, failed or broke off
    │   ├── SessionRejected       the session token or API key was not accepted
    │   ├── RateLimited           slow down; `retry_after` says how long
    │   ├── ProviderUnavailable   not reachable, overloaded or failing
    │   ├── PaymentRequired       the backend asks for a payment that was not made
    │   ├── ModelNotServed        no such model at this provider
    │   ├── StreamTruncated       the reply ended before its end; `text` holds what came
    │   └── OutcomeUnknown        sent, not answered: it may have been billed
    ├── BudgetExceeded            the call would cost more than is left
    ├── VerificationFailed        evidence contradicts the reply
    ├── VerificationUnavailable   the evidence the policy asks for cannot be had
    └── AttestationError          the enclave's attestation does not hold

Every error has a machine `code`, says whether a retry can help (`retryable`), names the fix (`hint`) and keeps what was
already had: the partial `text` and the `receipt` of the call, when money may have been spent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.shown.escaping import line
from zg_core.shown.redaction import blot

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt  # circle: what a caller reads of `error.receipt` is typed

__all__ = [
    "ArgumentError",
    "AttestationError",
    "BudgetExceeded",
    "ChainError",
    "ConfigError",
    "InsufficientFunds",
    "ModelNotServed",
    "NotAcknowledged",
    "OutcomeUnknown",
    "PaymentRequired",
    "ProviderUnavailable",
    "RateLimited",
    "RequestError",
    "SessionRejected",
    "StreamTruncated",
    "TransactionReverted",
    "VerificationFailed",
    "VerificationUnavailable",
    "VerificationWarning",
    "WrongChain",
    "ZeroGError",
]


class ZeroGError(Exception):
    """Base of all errors of this package.

    Args:
        message: One sentence for people. Strangers' words may be in it: what could command a terminal is replaced, and
            secrets that were sent are blotted out, as in `hint` and `text`.
        code: Stable machine-readable reason, such as ``"content_mismatch"``; each class has a default.
        hint: What to run or change, naming the command or argument.
        retryable: Whether the same call can succeed later without a change; each class has a default.
        receipt: The receipt of the call, when one exists.
        text: The part of the answer that arrived before the error.
        details: Further facts, such as ``retry_after`` (seconds) or ``status`` (HTTP).

    Example:
        >>> error = ConfigError("no wallet", hint="set ZEROG_PRIVATE_KEY")
        >>> error.code, error.retryable, str(error)
        ('config', False, 'no wallet (hint: set ZEROG_PRIVATE_KEY)')
    """

    default_code = "error"
    default_retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        retryable: bool | None = None,
        receipt: Receipt | None = None,
        text: str = "",
        **details: Any,
    ) -> None:
        message, hint, text = line(blot(message)), line(blot(hint)), blot(text)
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint
        self.retryable = self.default_retryable if retryable is None else retryable
        self.receipt = receipt
        self.text = text
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message,), self.__dict__.copy())

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        self.__dict__.update(state or {})


class ConfigError(ZeroGError, ValueError):
    """A setting, key or argument is missing or malformed; nothing was sent."""

    default_code = "config"


class ArgumentError(ConfigError, TypeError):
    """An argument or request parameter that nobody takes there; nothing was sent.

    A `TypeError` too, as for any function that is called with a name it does not know.
    """

    default_code = "bad_argument"


class ChainError(ZeroGError):
    """The chain could not be read, or what it says forbids the call."""

    default_code = "chain"


class InsufficientFunds(ChainError):
    """There is no ledger or sub-account for this provider, or too little in it."""

    default_code = "insufficient_funds"


class NotAcknowledged(ChainError):
    """The provider's TEE signer is not acknowledged by the contract owner or by the user."""

    default_code = "not_acknowledged"


class TransactionReverted(ChainError):
    """A contract call reverted; ``details["transaction"]`` is the hash if it was mined all the same.

    Example:
        >>> TransactionReverted("refused", name="LedgerExists", arguments={"user": "0x…"}).name
        'LedgerExists'
    """

    default_code = "reverted"

    @property
    def name(self) -> str:
        """The contract's custom error, "" if it is not known."""
        return str(self.details.get("name", ""))

    @property
    def arguments(self) -> dict[str, Any]:
        """The error's arguments by name."""
        return dict(self.details.get("arguments", {}))

    @property
    def meaning(self) -> str:
        """What the error means, in words."""
        return str(self.details.get("meaning", ""))


class WrongChain(ChainError):
    """The RPC endpoint answers for another chain than the selected network."""

    default_code = "wrong_chain"


class RequestError(ZeroGError):
    """The provider refused the request, failed, or broke off; `details["status"]` is the HTTP status."""

    default_code = "request"


class SessionRejected(RequestError):
    """The provider did not accept the session token or API key."""

    default_code = "session_rejected"


class RateLimited(RequestError):
    """Too many requests; `details["retry_after"]` is the number of seconds to wait when known."""

    default_code = "rate_limited"
    default_retryable = True


class ProviderUnavailable(RequestError):
    """The provider cannot be reached, is overloaded or failing; nothing was answered."""

    default_code = "provider_unavailable"
    default_retryable = True


class PaymentRequired(RequestError):
    """The backend asks for a payment that was not made."""

    default_code = "payment_required"


class ModelNotServed(RequestError):
    """The provider does not serve this model, or nobody does."""

    default_code = "model_not_served"


class StreamTruncated(RequestError):
    """The reply ended before its end; `text` holds what arrived and the receipt what is known of the cost."""

    default_code = "stream_truncated"


class OutcomeUnknown(RequestError):
    """The request left this machine and no answer came back: it may have been served and billed."""

    default_code = "outcome_unknown"


class BudgetExceeded(ZeroGError):
    """The call would cost more than the budget has left; nothing was sent."""

    default_code = "budget_exceeded"


class VerificationFailed(ZeroGError):
    """Evidence contradicts the reply: do not trust `text`. `code` is the verdict's reason."""

    default_code = "verification_failed"


class VerificationUnavailable(ZeroGError):
    """The evidence that the policy asks for cannot be had."""

    default_code = "verification_unavailable"


class AttestationError(ZeroGError):
    """The attestation of the provider's enclave does not hold."""

    default_code = "attestation"


def never_served(error: BaseException) -> bool:
    """Whether `error` means that nothing was served, so that trying again pays once.

    Another status of the 500s may come from a gateway in front of a provider that goes on and bills.
    """
    if not isinstance(error, ZeroGError) or not error.retryable:
        return False
    return error.code in _NEVER_SENT or error.details.get("status") in (429, 503, *NEVER_REACHED)


NEVER_REACHED = frozenset({521, 522, 523, 525, 526, 530})
"""Statuses of a content network that could not even connect to the server behind it."""
# A read of the chain comes before a request, or beside one that was refused.
# The Router's word that every provider failed before a byte came (0g-router §7) means that it charges nothing.
_NEVER_SENT = frozenset(
    {
        "all_failed",
        "connect_failed",
        "future_generation",
        "no_turn",
        "provider_error",
        "rpc_junk",
        "rpc_rate_limited",
        "rpc_unavailable",
    }
)


class VerificationWarning(UserWarning):
    """A reply stayed below the policy's minimum verdict; issued once per provider and reason."""
