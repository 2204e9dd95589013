"""The settings that the frameworks' models share: every setting of the client, and what was passed wins."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from zg_core import ConfigError, Policy, Retention, Routing, Store, Timeouts, Wallet, og
from zg_core.client import SETTINGS, ChatClient
from zg_core.config import KEY_NAMES
from zg_core.frameworks.environment import EnvText
from zg_core.frameworks.fields import ClientFields, Later
from zg_core.receipts.model import Receipt

KEY, OTHER = "0x" + "22" * 32, "0x" + "33" * 32
ADDRESS = "0x" + "11" * 20
VARIABLES = (*KEY_NAMES, "ZG_RPC_ENDPOINT", *(f"ZEROG_{name}" for name in (
    "API_KEY", "PROVIDER", "MODEL", "NETWORK", "RPC_URL", "LEDGER", "INFERENCE", "VERIFY", "STORE",
)))  # fmt: skip


class Model(ClientFields):
    """A model object of no framework."""

    _advice = "put it elsewhere"
    _elsewhere = {"base_url": "pass provider"}  # noqa: RUF012 - as the frameworks' classes

    def _relay(self) -> Callable[[Receipt], None]:
        return print


class Apart(Model):
    """One whose provider and model no variable names."""

    provider: str | None = None
    model: str | None = None


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine, and somebody who pays."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZEROG_PRIVATE_KEY", KEY)


def settings_of(model: ClientFields) -> dict[str, Any]:
    """What the client of `model` would be made with, the environment's variables among them."""
    settings = model._client_settings()
    environ = settings.pop("environ")
    return settings | {f"${name}": environ.get(name) for name in VARIABLES if environ.get(name)}


def test_every_setting_of_the_client_is_a_field_with_a_docstring() -> None:
    # Under other names: the policy of streams; what a framework wraps; what is no setting of one model.
    fields = set(ClientFields.model_fields) - {"stream_policy", "http_async_client"}
    assert fields | {"stream", "service_type", "environ"} == SETTINGS
    source = inspect.getsource(ClientFields)
    for name in ClientFields.model_fields:
        _, _, after = source.partition(f"\n    {name}:")
        declaration, _, docstring = after.partition('"""')
        assert docstring, name
        assert "\n    def " not in declaration, f"{name} has no docstring"


def test_the_settings_are_arguments_of_the_client() -> None:
    model = Model(provider=ADDRESS, limits=None, timeout=(5, 60), max_retries=None)
    client = ChatClient(**{**model._client_settings(), "private_key": KEY})
    assert client.backend.provider == ADDRESS
    client.close()


def test_limits_and_retries_are_passed_only_where_they_are_said() -> None:
    assert "limits" not in settings_of(Model())
    assert settings_of(Model(limits=None))["limits"] is None
    assert settings_of(Model())["max_retries"] == 2
    assert "max_retries" not in settings_of(Model(max_retries=None))


@pytest.mark.parametrize("name", ClientFields.model_fields)
def test_a_client_is_made_anew_when_anything_it_was_made_of_has_changed(name: str) -> None:
    model = Model(provider=ADDRESS)
    before = model._said()
    assert model._said() == before
    model.__dict__[name] = object()
    assert model._said() != before
    again = Model(provider=ADDRESS)
    again.__pydantic_fields_set__ ^= {name}
    assert again._said() != before


def test_one_client_serves_until_a_setting_is_another() -> None:
    with Model(provider=ADDRESS) as model:
        first = model._client()
        model.timeout = model.timeout  # said now, and the same
        assert model._client() is first
        model.timeout = 5
        second = model._client()
        assert second is not first
        assert model._client() is second
        first.close()


# arguments and environment


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [
        ("provider", "ZEROG_PROVIDER", ADDRESS),
        ("model", "ZEROG_MODEL", "a-model"),
        ("network", "ZEROG_NETWORK", "local"),
        ("rpc_url", "ZEROG_RPC_URL", "http://127.0.0.1:1"),
        ("rpc_url", "ZG_RPC_ENDPOINT", "http://127.0.0.1:2"),
        ("ledger", "ZEROG_LEDGER", ADDRESS),
        ("inference", "ZEROG_INFERENCE", ADDRESS),
        ("verify", "ZEROG_VERIFY", "require"),
        ("store", "ZEROG_STORE", "memory:"),
        ("private_key", "PRIVATE_KEY", OTHER),
        ("api_key", "ZEROG_API_KEY", "app-sk-x"),
    ],
)
class TestEnvironment:
    """One setting, said by a variable or by an argument."""

    def test_it_fills_a_field_and_reaches_the_client_under_its_own_name(
        self, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, value: str
    ) -> None:
        monkeypatch.delenv("ZEROG_PRIVATE_KEY")
        if name not in ("private_key", "api_key"):
            monkeypatch.setenv("ZEROG_API_KEY", "app-sk-y")
        monkeypatch.setenv(variable, value)
        model = Model()
        shown = getattr(model, name)
        assert (shown if isinstance(shown, str) else shown.get_secret_value()) == value
        made = settings_of(model)
        assert name not in made
        assert made[f"${variable}"] == value
        monkeypatch.delenv(variable)
        assert settings_of(model)[f"${variable}"] == value, "it was read when the object was made"

    def test_an_argument_wins_and_so_does_a_none(
        self, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, value: str
    ) -> None:
        monkeypatch.setenv(variable, "of the environment" if name != "verify" else "off")
        made = settings_of(Model(**{name: value}))
        given = made[name]
        assert (given if isinstance(given, str) else given.get_secret_value()) == value
        without = settings_of(Model(**{name: None}))
        assert f"${variable}" not in without
        assert without.get(name) is None

    def test_objects_made_of_anothers_values_know_what_nobody_passed(
        self, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, value: str
    ) -> None:
        monkeypatch.delenv("ZEROG_PRIVATE_KEY")
        if name not in ("private_key", "api_key"):
            monkeypatch.setenv("ZEROG_API_KEY", "app-sk-y")
        monkeypatch.setenv(variable, value)
        first = Model()
        monkeypatch.delenv(variable)  # as from here on nothing may be read
        values = {field: first.__dict__[field] for field in Model.model_fields}
        for made in (Model(**values), copy.copy(first), copy.deepcopy(first), first.model_copy()):
            assert settings_of(made)[f"${variable}"] == value
            assert name not in made.model_fields_set


class TestWhoAnswers:
    """Provider and model are said together."""

    @pytest.fixture(autouse=True)
    def both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZEROG_PROVIDER", ADDRESS)
        monkeypatch.setenv("ZEROG_MODEL", "of-the-environment")

    @pytest.mark.parametrize(
        ("passed", "held"),
        [
            ({}, (ADDRESS, "of-the-environment")),
            ({"model": "b"}, (None, "b")),
            ({"model_name": "b"}, (None, "b")),
            ({"provider": None, "model": "b"}, (None, "b")),
            ({"provider": OTHER}, (OTHER, None)),
            ({"provider": OTHER, "model": "b"}, (OTHER, "b")),
            ({"provider": None}, (None, "of-the-environment")),
            ({"model": None}, (ADDRESS, None)),
            ({"routing": Routing()}, (None, "of-the-environment")),
            ({"routing": Routing(), "model": "b"}, (None, "b")),
        ],
        ids=str,
    )
    def test_an_argument_for_one_replaces_both_variables(
        self, passed: dict[str, Any], held: tuple[str | None, str | None]
    ) -> None:
        model = Model(**passed)
        assert (model.provider, model.model) == held
        again = Model(**{name: model.__dict__[name] for name in Model.model_fields})
        assert (again.provider, again.model) == held

    def test_what_is_changed_later_was_passed(self) -> None:
        configured = Model(**{**{name: Model().__dict__[name] for name in Model.model_fields}, "model": "b"})
        assert (configured.provider, configured.model) == (None, "b")
        assigned = Model()
        assigned.model = "b"
        for model in (assigned, Model().model_copy(update={"model": "b"})):
            assert settings_of(model)["model"] == "b"

    def test_a_class_may_be_named_by_no_variable(self) -> None:
        model = Apart()
        assert (model.provider, model.model) == (None, None)
        assert not {"$ZEROG_PROVIDER", "$ZEROG_MODEL"} & set(settings_of(model))


@pytest.mark.parametrize(
    ("environ", "passed", "kept"),
    [
        ({"ZEROG_API_KEY": "app-sk-x"}, {}, "private_key"),
        ({"ZEROG_API_KEY": "app-sk-x"}, {"api_key": "app-sk-y"}, "api_key"),
        ({"ZEROG_API_KEY": "app-sk-x"}, {"private_key": OTHER}, "private_key"),
        ({"ZEROG_API_KEY": "app-sk-x"}, {"wallet": Wallet.from_key(KEY)}, "wallet"),
        ({"ZEROG_API_KEY": "app-sk-x"}, {"private_key": None}, "api_key"),
    ],
    ids=["environment", "api key", "private key", "wallet", "no private key"],
)
def test_one_credential_is_kept(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], passed: dict[str, Any], kept: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    model = Model(**passed)
    assert [name for name in ("wallet", "private_key", "api_key") if getattr(model, name) is not None] == [kept]


def test_a_missing_key_is_an_error_of_the_constructor_unless_it_is_said_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    with pytest.raises(ConfigError) as caught:
        Model(model="m")
    assert caught.value.code == "no_credential"
    for later in ({"private_key": None}, {"api_key": None}, {"wallet": None}):
        model = Model(model="m", **later)
        with pytest.raises(ConfigError, match="ZEROG_PRIVATE_KEY"):
            model._client()


@pytest.mark.parametrize(
    ("passed", "code", "line"),
    [
        ({"budget": "0.5"}, "bad_budget", 'budget=Budget(per_day=og("0.5"))'),
        ({"budget": 2}, "bad_budget", 'budget=Budget(per_day=og("2"))'),
        ({"budget": og("0.25")}, "bad_budget", 'budget=Budget(per_day=og("0.25"))'),
        ({"budget": "much"}, "bad_budget", 'budget=Budget(per_day=og("0.1"))'),
        ({"wallet": KEY}, "bad_wallet", 'private_key="0x…", or wallet=Wallet.from_key("0x…")'),
        ({"wallet": b"key"}, "bad_wallet", "Wallet.from_key"),
        ({"routing": "latency"}, "bad_routing", 'routing=Routing(sort="latency")'),
        ({"routing": 1}, "bad_routing", 'routing=Routing(sort="price")'),
        ({"limits": 10}, "bad_limits", "limits=Limits(per_minute=10)"),
        ({"limits": "10"}, "bad_limits", "limits=Limits(per_minute=10)"),
        ({"receipts": 30}, "bad_receipts", "receipts=Retention(max_age=timedelta(days=30))"),
        ({"attestation": "2"}, "bad_attestation", "attestation=AttestationOptions("),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_text_or_number_where_an_object_belongs_is_answered_with_the_line_to_write(
    passed: dict[str, Any], code: str, line: str
) -> None:
    for make in (lambda: Model(**passed), lambda: ChatClient(private_key=KEY, environ={}, **passed)):
        with pytest.raises(ConfigError) as caught:
            make()
        assert caught.value.code == code
        assert line in caught.value.hint
        assert KEY[2:] not in str(caught.value)


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
        Model(**{"verify": "off", name: "secret"})
    assert str(caught.value) == f"Model got an unexpected argument {name!r}: {said}"


@pytest.mark.parametrize(
    ("passed", "meant"),
    [
        ({"timeout": 5}, 5.0),
        ({"request_timeout": 5}, 5.0),
        ({"timeout": (5, 60)}, Timeouts(connect=5, read=60)),
        ({"timeout": {"read": 5}}, Timeouts(read=5)),
        ({"timeout": Timeouts(read=5)}, Timeouts(read=5)),
    ],
    ids=str,
)
def test_a_timeout_is_taken_in_every_form(passed: dict[str, Any], meant: object) -> None:
    assert Model(**passed).timeout == meant


def test_headers_have_the_name_that_others_give_them_too() -> None:
    assert Model(default_headers={"X-Team": "a"}).headers == {"X-Team": "a"}
    assert settings_of(Model(headers={"X-Team": "a"}))["headers"] == {"X-Team": "a"}


# as data


def test_an_object_is_written_as_plain_data_and_made_again_of_it(tmp_path: Any) -> None:
    routing = Routing(sort="latency", max_price=og("0.5"), kinds=["TeeML"], sticky=True)
    policy = Policy("require", kinds=["TeeML"])  # type: ignore[arg-type]
    first = Model(
        model="m", network="local", verify=policy, routing=routing, timeout=Timeouts(read=5),
        receipts=Retention(max_count=5), store=Store.open(f"sqlite:///{tmp_path}/x.db"), keep_bytes=True,
    )  # fmt: skip
    again = Model(**first.model_dump(mode="json", exclude={"receipts"}))
    assert again.routing == routing
    assert Policy.of(again.verify).to_dict() == policy.to_dict()  # type: ignore[arg-type]
    assert (again.timeout, again.keep_bytes) == (Timeouts(read=5), True)
    assert first.model_dump()["receipts"]["max_count"] == 5
    assert "store" not in first.model_dump()


def test_texts_of_the_environment_are_written_as_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROG_PROVIDER", ADDRESS)
    monkeypatch.setenv("ZEROG_NETWORK", "local")
    model = Model()
    assert isinstance(model.provider, EnvText)
    assert {type(value) for value in model.model_dump().values() if isinstance(value, str)} == {str}


def test_a_pickle_holds_no_secret_and_pays_with_the_key_of_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Model(provider=ADDRESS, private_key=KEY, rpc_url="http://127.0.0.1:1/a-key", headers={"X-Key": "a-key"})
    data = pickle.dumps(first)
    assert KEY[2:].encode() not in data
    assert b"a-key" not in data
    monkeypatch.setenv("ZEROG_PRIVATE_KEY", OTHER)
    monkeypatch.setenv("ZEROG_RPC_URL", "http://127.0.0.1:2")
    again = pickle.loads(data)
    made = settings_of(again)
    assert (made["provider"], made["$ZEROG_PRIVATE_KEY"], made["$ZEROG_RPC_URL"]) == (
        ADDRESS,
        OTHER,
        "http://127.0.0.1:2",
    )


def test_what_shows_the_settings_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROG_API_KEY", "app-sk-of-the-environment")
    for model in (Model(), Model(private_key=KEY), Model(api_key="app-sk-of-the-environment")):
        shown = f"{model!r} {model} {model._client_settings()!r} {model.model_dump()} {vars(model)!r}"
        assert KEY[2:] not in shown
        assert "app-sk-" not in shown


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


class Hurried(Model):
    """One that another thread changes while its client is made."""

    changes: ClassVar[list[str]] = []

    def _client_settings(self, *, asynchronous: bool = False) -> dict[str, Any]:
        self.verify = self.changes.pop() if self.changes else self.verify
        return super()._client_settings(asynchronous=asynchronous)


def test_a_field_that_changes_while_the_client_is_made_is_not_what_its_client_is_known_by() -> None:
    model = Hurried(provider=ADDRESS, network="local", verify="require")
    Hurried.changes.append("off")
    assert model._client().policy.mode == "off"
    model.verify = "require"
    assert model._client().policy.mode == "require"
    assert model._client() is model._client()


async def test_nor_is_that_of_the_async_client() -> None:
    model = Hurried(provider=ADDRESS, network="local", verify="require")
    Hurried.changes.append("off")
    assert model._async_client().policy.mode == "off"
    model.verify = "require"
    assert model._async_client().policy.mode == "require"


def test_a_field_that_is_changed_in_place_is_heeded() -> None:
    model = Model(provider=ADDRESS, network="local", kinds=["TeeML", "standard"], headers={"X-A": "1"})
    client = model._client()
    assert model._client() is client
    model.kinds.remove("standard")  # type: ignore[union-attr]
    assert model._client().policy.to_dict() == Policy.of("warn", kinds=["TeeML"]).to_dict() != client.policy.to_dict()
    client = model._client()
    model.headers["X-A"] = "2"  # type: ignore[index]
    assert model._client() is not client
    assert model._client() is model._client()
