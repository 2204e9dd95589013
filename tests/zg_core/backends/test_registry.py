"""Which backend a client uses: the argument, the key, the environment, a wallet; and what none of them names."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core import ChatClient, ConfigError
from zg_core.backends.direct.options import Direct
from zg_core.backends.registry import BACKENDS, chosen, options_named
from zg_core.config import Secret

KEY = "0x" + "11" * 32


def named(backend: Any = None, key: str | None = None, said: str | None = None) -> str:
    return chosen(backend, key=None if key is None else Secret(key), said=said).name


@pytest.mark.parametrize(
    ("backend", "key", "said", "name"),
    [
        (None, None, None, "direct"),
        (None, None, "opengradient", "opengradient"),
        (None, "app-sk-x", "opengradient", "direct"),
        (None, "app-sk-x", None, "direct"),
        (None, "something", "direct", "direct"),
        ("opengradient", "app-sk-x", "direct", "opengradient"),
        (Direct(), "sk-x", "opengradient", "direct"),
    ],
)
def test_the_argument_wins_then_the_key_then_the_environment_then_a_wallet(
    backend: Any, key: str | None, said: str | None, name: str
) -> None:
    assert named(backend, key, said) == name


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_has_options_that_name_it_and_show_no_secret(name: str) -> None:
    options = options_named(name)
    assert options.name == name
    assert repr(options)
    assert options == options_named(name)


@pytest.mark.parametrize("backend", ["rooter", "", "Direct", Direct, 5, object()])
def test_what_is_no_backend_is_refused_with_those_there_are(backend: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        named(backend)
    assert caught.value.code == "unknown_backend"
    assert "opengradient" in caught.value.hint


@pytest.mark.parametrize("key", ["mk-0123456789", "pk-0123456789"])
def test_a_key_that_manages_an_account_is_told_which_one_to_make(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ChatClient(api_key=key, model="m", environ={})
    assert caught.value.code == "wrong_key"
    assert "sk-" in caught.value.hint
    assert key[3:] not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "environ", "name"),
    [
        ({"private_key": KEY}, {}, "direct"),
        ({"private_key": KEY}, {"ZEROG_BACKEND": "opengradient"}, "opengradient"),
        ({"private_key": KEY, "backend": "direct"}, {"ZEROG_BACKEND": "opengradient"}, "direct"),
        ({"private_key": KEY}, {"ZEROG_API_KEY": "sk-0123456789abcdef"}, "direct"),
    ],
)
def test_arguments_win_over_the_environment(arguments: dict[str, Any], environ: dict[str, str], name: str) -> None:
    with ChatClient(model="openai/gpt-5", environ=environ, **arguments) as client:
        assert client.backend.name == name


def test_a_variable_that_names_no_backend_is_blamed() -> None:
    with pytest.raises(ConfigError) as caught:
        ChatClient(model="m", environ={"ZEROG_BACKEND": "rooter", "ZEROG_PRIVATE_KEY": KEY})
    assert "ZEROG_BACKEND" in caught.value.hint


def test_settings_of_direct_are_its_own() -> None:
    other = "0x" + "ab" * 20
    with ChatClient(backend=Direct(ledger=other, record_age=5), model="m", private_key=KEY, environ={}) as client:
        assert client.network.ledger.lower() == other
    with pytest.raises(ConfigError):
        Direct(ledger="nonsense")
    with pytest.raises(ConfigError):
        Direct(record_age=-1)
