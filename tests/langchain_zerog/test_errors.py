"""Every error of ours is also LangChain's."""

from __future__ import annotations

import inspect
import pickle
import traceback
from collections.abc import Callable

import pytest
from langchain_core import exceptions
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda

from langchain_zerog import _errors
from langchain_zerog._errors import as_model_error
from zg_core import errors
from zg_core.receipts.model import Receipt

OURS = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.ZeroGError) and value.__module__ == "zg_core.errors"
]
CODES = [
    (errors.ConfigError, "no_credential", exceptions.ModelAuthenticationError),
    (errors.ConfigError, "bad_private_key", exceptions.ModelAuthenticationError),
    (errors.ConfigError, "bad_api_key", exceptions.ModelAuthenticationError),
    (errors.ConfigError, "bad_message", exceptions.ModelInvalidRequestError),
    (errors.ConfigError, "bad_request_body", exceptions.ModelInvalidRequestError),
    (errors.ChainError, "rpc_unavailable", exceptions.ModelConnectionError),
    (errors.InsufficientFunds, "no_account", exceptions.ModelPermissionDeniedError),
    (errors.NotAcknowledged, "not_acknowledged", exceptions.ModelPermissionDeniedError),
    (errors.PaymentRequired, "payment_required", exceptions.ModelPermissionDeniedError),
    (errors.SessionRejected, "expired", exceptions.ModelAuthenticationError),
    (errors.RateLimited, "rate_limited", exceptions.ModelRateLimitError),
    (errors.ProviderUnavailable, "provider_unavailable", exceptions.ModelAPIError),
    (errors.ProviderUnavailable, "connect_failed", exceptions.ModelConnectionError),
    (errors.ProviderUnavailable, "connection_lost", exceptions.ModelConnectionError),
    (errors.OutcomeUnknown, "connection_lost", exceptions.ModelConnectionError),
    (errors.OutcomeUnknown, "timeout", exceptions.ModelTimeoutError),
    (errors.ModelNotServed, "model_not_served", exceptions.ModelNotFoundError),
    (errors.RequestError, "refused", exceptions.ModelInvalidRequestError),
    (errors.RequestError, "too_large", exceptions.ModelInvalidRequestError),
    (errors.RequestError, "context_length_exceeded", exceptions.ContextOverflowError),
    (errors.RequestError, "malformed_reply", exceptions.ModelAPIError),
    (errors.StreamTruncated, "stream_truncated", exceptions.ModelAPIError),
]


@pytest.mark.parametrize("ours", OURS, ids=lambda ours: ours.__name__)
def test_every_error_of_the_core_has_a_class_that_is_both(ours: type[errors.ZeroGError]) -> None:
    made = as_model_error(ours("it broke"))
    assert isinstance(made, ours)
    assert isinstance(made, ModelError)
    assert made.code == ours.default_code


@pytest.mark.parametrize(("ours", "code", "theirs"), CODES)
def test_the_code_decides_which_of_langchains_errors_it_is(
    ours: type[errors.ZeroGError], code: str, theirs: type[Exception]
) -> None:
    made = as_model_error(ours("it broke", code=code))
    assert isinstance(made, ours)
    assert isinstance(made, theirs), f"{ours.__name__} with code {code!r} is {type(made).__mro__}"


def test_a_code_never_changes_which_of_our_errors_it_is() -> None:
    made = as_model_error(errors.VerificationFailed("it broke", code="timeout"))
    assert isinstance(made, errors.VerificationFailed)
    assert not isinstance(made, errors.OutcomeUnknown)


def test_nothing_that_the_error_knows_is_lost(make_receipt: Callable[..., Receipt]) -> None:
    receipt = make_receipt()
    error = errors.RateLimited(
        "too fast", code="rate_limited", hint="wait", receipt=receipt, text="half an ans", retry_after=3.0, status=429
    )
    made = as_model_error(error)
    assert (made.message, made.code, made.hint, made.text) == ("too fast", "rate_limited", "wait", "half an ans")
    assert made.receipt is receipt
    assert made.details == {"retry_after": 3.0, "status": 429}
    assert str(made) == str(error) == "too fast (hint: wait)"


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("ours", OURS, ids=lambda ours: ours.__name__)
def test_what_langchain_retries_by_itself_is_what_we_call_retryable(
    ours: type[errors.ZeroGError], retryable: bool
) -> None:
    made = as_model_error(ours("it broke", retryable=retryable))
    assert isinstance(made, ModelError)
    assert made.is_retryable is retryable


@pytest.mark.parametrize(
    "error",
    [
        errors.OutcomeUnknown("lost", code="timeout"),
        errors.StreamTruncated("cut"),
        errors.VerificationFailed("forged"),
        errors.VerificationUnavailable("unproven"),
        errors.BudgetExceeded("spent"),
        errors.RateLimited("blocked for an hour", code="model_blocked", retryable=False),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_second_payment_or_a_forged_reply_is_never_retried_unasked(error: errors.ZeroGError) -> None:
    made = as_model_error(error)
    assert isinstance(made, ModelError)
    assert not made.is_retryable


def test_an_error_that_is_both_already_stays_what_it_is() -> None:
    made = as_model_error(errors.RateLimited("too fast"))
    assert as_model_error(made) is made


def test_a_subclass_of_somebody_else_becomes_its_nearest_class() -> None:
    class Mine(errors.RateLimited):
        pass

    assert isinstance(as_model_error(Mine("too fast")), exceptions.ModelRateLimitError)


def test_the_traceback_shows_where_it_broke_and_the_message_once() -> None:
    def place_that_breaks() -> None:
        raise errors.ProviderUnavailable("it broke")

    def call() -> None:
        try:
            place_that_breaks()
        except errors.ZeroGError as error:
            raise as_model_error(error) from error.__cause__

    with pytest.raises(exceptions.ModelAPIError) as caught:
        call()
    shown = "".join(traceback.format_exception(caught.value))
    assert "place_that_breaks" in shown
    assert shown.count("it broke") == 2, shown  # the line of code, and the message


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in vars(_errors).items()
        if inspect.isclass(value) and issubclass(value, errors.ZeroGError) and value.__module__ == _errors.__name__
    ],
)
def test_errors_survive_pickling(name: str) -> None:
    error = getattr(_errors, name)("it broke", code="why", hint="do this", text="part", status=500)
    error.is_retryable = True
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.code, again.text, again.details) == (str(error), "why", "part", {"status": 500})
    assert again.is_retryable is True


def test_with_retry_and_with_fallbacks_know_our_errors() -> None:
    calls: list[int] = []

    def limited(_: str) -> AIMessage:
        calls.append(1)
        if len(calls) < 3:
            raise as_model_error(errors.RateLimited("too fast"))
        return AIMessage("ok")

    retrying = RunnableLambda(limited).with_retry(
        retry_if_exception_type=(exceptions.ModelRateLimitError,), wait_exponential_jitter=False
    )
    assert retrying.invoke("x").content == "ok"
    assert len(calls) == 3

    def failing(_: str) -> AIMessage:
        raise as_model_error(errors.ProviderUnavailable("down"))

    falling_back = RunnableLambda(failing).with_fallbacks(
        [RunnableLambda(lambda _: AIMessage("second"))], exceptions_to_handle=(errors.ProviderUnavailable,)
    )
    assert falling_back.invoke("x").content == "second"
