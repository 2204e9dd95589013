"""The settings that the frameworks' models share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from zg_core import Policy, Routing, Timeouts, Wallet, og
from zg_core.frameworks.fields import (
    Later,
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


class TestLater:
    """Types that are imported when a value comes."""

    @pytest.fixture
    def model(self) -> type[BaseModel]:
        patience = Later.of("zg_core.http.timeouts", "Timeouts", from_dict=True)
        wallet = Later.of("zg_core.wallet", "Wallet")
        return create_model(
            "Settings", timeout=(float | patience | None, None), wallet=(wallet | None, None), __config__=ConfigDict()
        )

    def test_an_object_of_the_class_is_taken_as_it_is(self, model: Any) -> None:
        wallet, patience = Wallet.from_key("0x" + "22" * 32), Timeouts(read=5)
        made = model(wallet=wallet, timeout=patience)
        assert made.wallet is wallet
        assert made.timeout is patience

    def test_a_dictionary_makes_one_where_that_is_allowed(self, model: Any) -> None:
        assert model(timeout={"read": 5}).timeout == Timeouts(read=5)
        with pytest.raises(ValidationError, match="this is no Wallet"):
            model(wallet={})

    def test_the_other_types_of_the_field_keep_their_meaning(self, model: Any) -> None:
        assert model(timeout=3).timeout == 3.0
        assert model().timeout is None

    @pytest.mark.parametrize("value", ["text", object(), 5, [], type("Wallet", (), {})()])
    def test_anything_else_is_refused_without_being_shown_as_one(self, model: Any, value: Any) -> None:
        with pytest.raises(ValidationError, match="this is no Wallet"):
            model(wallet=value)


def test_a_routing_in_plain_data_becomes_one() -> None:
    routing = Routing(sort="latency", max_price=og("0.5"), kinds=["TeeML"], sticky=True)
    assert objects_from_plain({"routing": routing.to_dict()}) == {"routing": routing}
    assert objects_from_plain({"routing": routing}) == {"routing": routing}


@pytest.mark.parametrize(("given", "kept"), [(set(), None), ({"provider"}, "0x1")])
def test_a_routing_wins_over_a_provider_of_the_environment_only(given: set[str], kept: str | None) -> None:
    model = SimpleNamespace(
        model_fields_set=given, routing=Routing(), provider="0x1", wallet=None, private_key="k", api_key=None
    )
    keep_what_was_passed(model)
    assert model.provider == kept
