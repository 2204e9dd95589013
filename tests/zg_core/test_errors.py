"""The error tree: what its docstring draws, what every error carries, and that nothing is lost on the way."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import zg_core
from zg_core import errors
from zg_core.errors import ConfigError, RateLimited, StreamTruncated, VerificationFailed, ZeroGError
from zg_core.money import Amount, Fee
from zg_core.receipts.model import Receipt
from zg_core.types import Kind
from zg_core.verify.verdict import Reason, Status, Verdict

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, ZeroGError)]


def drawn_tree() -> dict[str, str]:
    """Each class that the module's docstring draws, and the one it hangs under."""
    block = (errors.__doc__ or "").partition("::\n")[2].partition("\n\nEvery error")[0]
    parents: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in filter(str.strip, block.splitlines()):
        name = line.lstrip(" │├└─").split()[0]
        depth = line.index(name)
        while stack and stack[-1][0] >= depth:
            stack.pop()
        parents[name] = stack[-1][1] if stack else "Exception"
        stack.append((depth, name))
    return parents


def test_the_docstring_draws_the_tree_of_the_classes() -> None:
    assert drawn_tree() == {c.__name__: c.__bases__[0].__name__ for c in CLASSES}


def test_every_class_is_exported_from_the_module_and_the_package() -> None:
    names = {c.__name__ for c in CLASSES} | {"VerificationWarning"}
    assert names == set(errors.__all__)
    assert names <= set(zg_core.__all__)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
class TestEveryError:
    def test_has_a_code_a_hint_and_says_whether_to_retry(self, cls: type[ZeroGError]) -> None:
        error = cls("it went wrong")
        assert error.code == cls.default_code != ""
        assert error.retryable is cls.default_retryable
        assert (error.hint, error.text, error.receipt, error.details) == ("", "", None, {})
        assert str(error) == "it went wrong"

    def test_takes_its_own_code_hint_and_retryable(self, cls: type[ZeroGError]) -> None:
        error = cls("m", code="special", hint="run `zerog`", retryable=not cls.default_retryable, status=429)
        assert (error.code, error.retryable, error.details) == ("special", not cls.default_retryable, {"status": 429})
        assert str(error) == "m (hint: run `zerog`)"

    @pytest.mark.parametrize(
        "again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"]
    )
    def test_survives_being_copied(self, cls: type[ZeroGError], again: object) -> None:
        error = cls("m", code="c", hint="h", retryable=True, receipt=receipt(), text="partial", retry_after=2.5)
        other = again(error)  # type: ignore[operator]
        assert type(other) is cls
        assert (str(other), other.args, other.code, other.hint) == (str(error), error.args, "c", "h")
        assert (other.retryable, other.text, other.details) == (True, "partial", {"retry_after": 2.5})
        assert other.receipt.to_dict() == error.receipt.to_dict()  # type: ignore[union-attr]


def receipt() -> Receipt:
    record = Receipt(
        backend="direct",
        network="local",
        chain_id=31337,
        provider="0x" + "ab" * 20,
        model="m",
        kind=Kind.TEE_ML,
        request_sha256="00" * 32,
        input_price=1,
        output_price=2,
        fee=Fee(Amount(3), exact=True),
    )
    record.settle(Verdict(Status.FAILED, Reason.CONTENT_MISMATCH, Kind.TEE_ML))
    return record


def test_codes_are_not_shared() -> None:
    codes = [c.default_code for c in CLASSES]
    assert len(set(codes)) == len(codes)


def test_a_config_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no wallet"):
        raise ConfigError("no wallet")


def test_only_what_may_pass_by_itself_is_retryable() -> None:
    assert {c.__name__ for c in CLASSES if c.default_retryable} == {"RateLimited", "ProviderUnavailable"}


def test_one_except_clause_catches_them_all() -> None:
    for error in (RateLimited("a"), StreamTruncated("b"), VerificationFailed("c")):
        with pytest.raises(ZeroGError):
            raise error


def test_the_warning_is_no_error() -> None:
    assert issubclass(errors.VerificationWarning, UserWarning)
    assert not issubclass(errors.VerificationWarning, ZeroGError)
