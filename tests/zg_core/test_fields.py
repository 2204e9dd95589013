"""The settings that the frameworks' models share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from zg_core import Policy
from zg_core.fields import (
    client_settings,
    from_env,
    keep_what_was_passed,
    objects_from_plain,
    reject_unknown,
    secret_from_env,
)


def test_the_first_variable_that_is_set_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST", "")
    monkeypatch.setenv("SECOND", "second")
    assert from_env("FIRST", "SECOND")() == "second"
    assert from_env("FIRST")() is None
    secret = secret_from_env("SECOND")()
    assert secret is not None
    assert secret.get_secret_value() == "second"
    assert "second" not in repr(secret)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("verfy", "did you mean 'verify'? (put it elsewhere)"),
        ("base_url", "pass provider"),
        ("zzz", "put it elsewhere"),
    ],
)
def test_an_unknown_argument_is_named_with_what_to_do(name: str, said: str) -> None:
    with pytest.raises(TypeError) as caught:
        reject_unknown(
            "Model", ["verify", name], {"verify"}, advice="put it elsewhere", elsewhere={"base_url": "pass provider"}
        )
    assert str(caught.value) == f"Model got an unexpected argument {name!r}: {said}"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (set(), "private_key"),  # of the environment's two, the wallet
        ({"api_key"}, "api_key"),
        ({"private_key"}, "private_key"),
        ({"wallet"}, "wallet"),
    ],
)
def test_one_credential_is_kept(given: set[str], kept: str) -> None:
    wallet = "w" if "wallet" in given else None
    model = SimpleNamespace(model_fields_set=given, routing=None, wallet=wallet, private_key="k", api_key="a")
    keep_what_was_passed(model)
    assert [name for name in ("wallet", "private_key", "api_key") if getattr(model, name) is not None] == [kept]


def test_limits_are_passed_only_where_they_are_said() -> None:
    model: Any = SimpleNamespace(limits="auto", provider="p", model="m")
    assert client_settings(model, ("provider",), environ={}) == {"provider": "p", "environ": {}}
    model.limits = None
    assert client_settings(model, ("model",)) == {"model": "m", "limits": None}


def test_a_policy_in_plain_data_becomes_one() -> None:
    policy = Policy("require", kinds=["TeeML"])  # type: ignore[arg-type]
    made = objects_from_plain({"verify": policy.to_dict(), "model": "m"})
    assert made["model"] == "m"
    assert made["verify"].to_dict() == policy.to_dict()
    assert objects_from_plain({"verify": "off"}) == {"verify": "off"}
