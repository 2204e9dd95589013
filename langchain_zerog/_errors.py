"""The errors of zg_core as LangChain's own: every class here is both.

``except zg_core.RateLimited`` and ``except ModelRateLimitError`` catch the same error, and what LangChain retries by
itself follows `is_retryable`, which is ours: a call that may have been paid, or a reply that failed its check, is never
repeated unasked.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from zg_core import errors
from zg_core.errors import never_served

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NeverServed", "as_model_error", "model_errors"]


class ZeroGError(errors.ZeroGError, ModelError):
    """Any other error of a call."""


class ConfigError(errors.ConfigError, ModelError):
    """A setting or argument is missing or malformed; nothing was sent."""


class CredentialError(errors.ConfigError, ModelAuthenticationError):
    """The private key or API key is missing or malformed; nothing was sent."""


class InvalidRequest(errors.ConfigError, ModelInvalidRequestError):
    """The messages or parameters cannot be sent."""


class ArgumentError(errors.ArgumentError, ModelInvalidRequestError):
    """An argument that nobody takes there; nothing was sent."""


class ChainError(errors.ChainError, ModelError):
    """The chain could not be read, or what it says forbids the call."""


class ChainUnavailable(errors.ChainError, ModelConnectionError):
    """The chain's RPC endpoint does not answer."""


class InsufficientFunds(errors.InsufficientFunds, ModelPermissionDeniedError):
    """There is no ledger or sub-account, or too little in it."""


class NotAcknowledged(errors.NotAcknowledged, ModelPermissionDeniedError):
    """The provider's TEE signer is not acknowledged."""


class TransactionReverted(errors.TransactionReverted, ModelError):
    """A contract call reverted."""


class WrongChain(errors.WrongChain, ModelError):
    """The RPC endpoint answers for another chain."""


class RequestError(errors.RequestError, ModelAPIError):
    """The provider failed, or answered what is no answer."""


class RequestRefused(errors.RequestError, ModelInvalidRequestError):
    """The provider refused the request as invalid."""


class ContextOverflow(errors.RequestError, ContextOverflowError):
    """The messages are longer than the model's context."""


class SessionRejected(errors.SessionRejected, ModelAuthenticationError):
    """The provider did not accept the session token or API key."""


class RateLimited(errors.RateLimited, ModelRateLimitError):
    """Too many requests."""


class ProviderUnavailable(errors.ProviderUnavailable, ModelAPIError):
    """The provider is overloaded or failing."""


class ProviderUnreachable(errors.ProviderUnavailable, ModelConnectionError):
    """No connection to the provider could be made."""


class PaymentRequired(errors.PaymentRequired, ModelPermissionDeniedError):
    """The backend asks for a payment that was not made."""


class ModelNotServed(errors.ModelNotServed, ModelNotFoundError):
    """The provider does not serve this model, or nobody does."""


class StreamTruncated(errors.StreamTruncated, ModelAPIError):
    """The reply ended before its end."""


class OutcomeUnknown(errors.OutcomeUnknown, ModelConnectionError):
    """The request was sent and the connection lost: it may have been billed."""


class ResponseTimeout(errors.OutcomeUnknown, ModelTimeoutError):
    """The request was sent and no answer came in time: it may have been billed."""


class BudgetExceeded(errors.BudgetExceeded, ModelError):
    """The call would cost more than is left; nothing was sent."""


class VerificationFailed(errors.VerificationFailed, ModelError):
    """Evidence contradicts the reply."""


class VerificationUnavailable(errors.VerificationUnavailable, ModelError):
    """The evidence that the policy asks for cannot be had."""


class AttestationError(errors.AttestationError, ModelError):
    """The attestation of the provider's enclave does not hold."""


# Where one class of ours stands for several of LangChain's, the code decides.
_BY_CODE: dict[str, type[errors.ZeroGError]] = {
    "bad_api_key": CredentialError,
    "bad_keystore": CredentialError,
    "bad_private_key": CredentialError,
    "no_credential": CredentialError,
    "wrong_key": CredentialError,
    "bad_message": InvalidRequest,
    "bad_request_body": InvalidRequest,
    "bad_headers": InvalidRequest,
    "secret_in_request": InvalidRequest,
    "rpc_junk": ChainUnavailable,
    "rpc_rate_limited": ChainUnavailable,
    "rpc_unavailable": ChainUnavailable,
    "context_length_exceeded": ContextOverflow,
    "refused": RequestRefused,
    "too_large": RequestRefused,
    "connect_failed": ProviderUnreachable,
    "connection_lost": ProviderUnreachable,
    "timeout": ResponseTimeout,
}
# The one that takes every code, per class of ours.
_BY_CLASS: dict[type[errors.ZeroGError], type[errors.ZeroGError]] = {
    errors.ZeroGError: ZeroGError,
    errors.ConfigError: ConfigError,
    errors.ArgumentError: ArgumentError,
    errors.ChainError: ChainError,
    errors.InsufficientFunds: InsufficientFunds,
    errors.NotAcknowledged: NotAcknowledged,
    errors.TransactionReverted: TransactionReverted,
    errors.WrongChain: WrongChain,
    errors.RequestError: RequestError,
    errors.SessionRejected: SessionRejected,
    errors.RateLimited: RateLimited,
    errors.ProviderUnavailable: ProviderUnavailable,
    errors.PaymentRequired: PaymentRequired,
    errors.ModelNotServed: ModelNotServed,
    errors.StreamTruncated: StreamTruncated,
    errors.OutcomeUnknown: OutcomeUnknown,
    errors.BudgetExceeded: BudgetExceeded,
    errors.VerificationFailed: VerificationFailed,
    errors.VerificationUnavailable: VerificationUnavailable,
    errors.AttestationError: AttestationError,
}


def as_model_error(error: errors.ZeroGError) -> errors.ZeroGError:
    """`error` as LangChain's own kind of error, with its traceback, code, hint, text and receipt.

    Raise the result ``from error.__cause__``, so that the traceback shows it once.
    """
    if isinstance(error, ModelError):
        return error
    by_code = _BY_CODE.get(error.code)
    ours = type(error)
    chosen = by_code if by_code is not None and issubclass(by_code, ours) else _class_for(ours)
    result = chosen(
        error.message,
        code=error.code,
        hint=error.hint,
        retryable=error.retryable,
        receipt=error.receipt,
        text=error.text,
        **error.details,
    )
    if isinstance(result, ModelError):
        result.is_retryable = error.retryable
    return result.with_traceback(error.__traceback__)


@contextmanager
def model_errors() -> Iterator[None]:
    """Whatever our error inside is, it leaves as LangChain's own kind."""
    try:
        yield
    except errors.ZeroGError as error:
        raise as_model_error(error) from error.__cause__


def _class_for(ours: type[errors.ZeroGError]) -> type[errors.ZeroGError]:
    return next(_BY_CLASS[base] for base in ours.__mro__ if base in _BY_CLASS)


class _ByAnswer(type):
    def __instancecheck__(cls, error: object) -> bool:
        return isinstance(error, BaseException) and never_served(error)


class NeverServed(Exception, metaclass=_ByAnswer):
    """Every error of which `never_served` is true is an instance; older versions of LangChain retry by class only."""
