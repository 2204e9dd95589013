"""Networks, settings and secrets: what wins over what, and what is refused before anything is sent."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from dataclasses import replace

import pytest

from zg_core import ChatClient
from zg_core.config import NETWORKS, Environment, Network, Secret, SecretHeaders, Settings, check_url, is_loopback
from zg_core.errors import ConfigError

KEY = "0x" + "11" * 32
OTHER = "0x" + "22" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
PROVIDER = "0xa48f01287233509FD694a22Bf840225062E67836"


def reveal(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


class TestNetworks:
    @pytest.mark.parametrize(("name", "chain_id"), [("mainnet", 16661), ("testnet", 16602), ("local", 31337)])
    def test_have_their_chain_ids(self, name: str, chain_id: int) -> None:
        assert NETWORKS[name].name == name
        assert NETWORKS[name].chain_id == chain_id

    def test_the_default_is_the_one_without_real_money(self) -> None:
        assert Settings.resolve(environ={}).network is not NETWORKS["mainnet"]
        assert Settings.resolve(environ={}).network == NETWORKS["testnet"]

    def test_an_unknown_one_is_an_error_that_names_the_known(self) -> None:
        with pytest.raises(ConfigError, match="mainnet, testnet, local") as caught:
            Settings.resolve(network="mainet", environ={})
        assert caught.value.code == "unknown_network"

    def test_an_unknown_one_in_the_environment_is_an_error_too(self) -> None:
        with pytest.raises(ConfigError, match="ZEROG_NETWORK"):
            Settings.resolve(environ={"ZEROG_NETWORK": "moonnet"})

    def test_a_network_of_the_users_own_is_taken_as_it_is(self) -> None:
        own = Network("mine", 7, "http://127.0.0.1:1", ADDRESS, PROVIDER)
        environ = {"ZEROG_RPC_URL": "http://127.0.0.1:2", "ZEROG_LEDGER": PROVIDER, "ZEROG_INFERENCE": ADDRESS}
        assert Settings.resolve(network=own, environ=environ).network == own

    def test_arguments_change_a_network_of_the_users_own(self) -> None:
        own = Network("mine", 7, "http://127.0.0.1:1", ADDRESS, PROVIDER)
        changed = Settings.resolve(network=own, rpc_url="http://127.0.0.1:9/", environ={}).network
        assert (changed.chain_id, changed.rpc_url) == (7, "http://127.0.0.1:9")


ENVIRON = {
    "ZEROG_NETWORK": "local",
    "ZEROG_RPC_URL": "http://127.0.0.1:1234/",
    "ZEROG_LEDGER": ADDRESS.lower(),
    "ZEROG_INFERENCE": PROVIDER.lower(),
    "ZEROG_PRIVATE_KEY": KEY,
    "ZEROG_PROVIDER": PROVIDER.lower(),
    "ZEROG_MODEL": "env-model",
    "ZEROG_VERIFY": "require",
    "ZEROG_STORE": "sqlite:///x",
}


class TestSettings:
    def test_come_from_the_environment(self) -> None:
        settings = Settings.resolve(environ=ENVIRON)
        assert settings.network == Network("local", 31337, "http://127.0.0.1:1234", ADDRESS, PROVIDER)
        assert reveal(settings.private_key) == KEY
        assert (settings.provider, settings.model) == (PROVIDER, "env-model")
        assert (settings.verify, settings.store, settings.chosen) == ("require", "sqlite:///x", True)

    def test_arguments_win(self) -> None:
        settings = Settings.resolve(
            network="mainnet",
            rpc_url="https://rpc.example",
            ledger=PROVIDER,
            inference=ADDRESS,
            private_key=OTHER,
            provider=ADDRESS,
            model="mine",
            verify="off",
            store="memory:",
            environ=ENVIRON,
        )
        assert settings.network.chain_id == 16661
        assert settings.network.rpc_url == "https://rpc.example"
        assert (settings.network.ledger, settings.network.inference) == (PROVIDER, ADDRESS)
        assert reveal(settings.private_key) == OTHER
        assert (settings.provider, settings.model) == (ADDRESS, "mine")
        assert (settings.verify, settings.store) == ("off", "memory:")

    def test_empty_variables_count_as_unset(self) -> None:
        settings = Settings.resolve(environ=dict.fromkeys(ENVIRON, ""))
        assert settings == Settings(NETWORKS["testnet"], chosen=False)

    @pytest.mark.parametrize(
        ("arguments", "environ", "expected"),
        [
            ({}, {"ZEROG_PRIVATE_KEY": KEY, "PRIVATE_KEY": OTHER}, (KEY, None)),
            ({}, {"PRIVATE_KEY": OTHER, "ZG_PRIVATE_KEY": KEY}, (OTHER, None)),
            ({}, {"ZG_PRIVATE_KEY": KEY}, (KEY, None)),
            ({}, {"ZEROG_API_KEY": "app-sk-x"}, (None, "app-sk-x")),
            ({}, {"ZEROG_API_KEY": "app-sk-x", "ZEROG_PRIVATE_KEY": KEY}, (KEY, "app-sk-x")),
            ({"api_key": "app-sk-y"}, {"ZEROG_PRIVATE_KEY": KEY}, (None, "app-sk-y")),
            ({"private_key": OTHER}, {"ZEROG_API_KEY": "app-sk-x"}, (OTHER, None)),
            ({"private_key": Secret(OTHER)}, {}, (OTHER, None)),
            ({"private_key": ""}, {"ZEROG_PRIVATE_KEY": KEY, "ZEROG_API_KEY": "app-sk-x"}, (None, None)),
            ({}, {}, (None, None)),
        ],
    )
    def test_which_credential_is_used(
        self, arguments: dict[str, str], environ: dict[str, str], expected: tuple[str | None, str | None]
    ) -> None:
        settings = Settings.resolve(**arguments, environ=environ)
        assert (reveal(settings.private_key), reveal(settings.api_key)) == expected

    def test_the_old_name_of_the_rpc_variable_is_read(self) -> None:
        environ = {"ZG_RPC_ENDPOINT": "http://127.0.0.1:5"}
        assert Settings.resolve(environ=environ).network.rpc_url == "http://127.0.0.1:5"
        both = environ | {"ZEROG_RPC_URL": "http://127.0.0.1:6"}
        assert Settings.resolve(environ=both).network.rpc_url == "http://127.0.0.1:6"

    @pytest.mark.parametrize("name", ["ledger", "inference"])
    @pytest.mark.parametrize("text", ["0x12", "19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A", ADDRESS + "0", "vitalik.eth"])
    def test_a_malformed_address_is_an_error_that_names_the_setting(self, name: str, text: str) -> None:
        with pytest.raises(ConfigError, match=f"ZEROG_{name.upper()}") as caught:
            Settings.resolve(environ={f"ZEROG_{name.upper()}": text})
        assert caught.value.code == "bad_address"
        with pytest.raises(ConfigError, match=name):
            Settings.resolve(**{name: text}, environ={})

    @pytest.mark.parametrize("text", ["0x12", "19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A", ADDRESS + "0", "vitalik.eth"])
    def test_an_id_of_a_provider_is_an_address_only_where_providers_have_addresses(self, text: str) -> None:
        assert Settings.resolve(provider=text, environ={}).provider == text
        with pytest.raises(ConfigError, match="ZEROG_PROVIDER") as caught:
            ChatClient(environ={"ZEROG_PROVIDER": text, "ZEROG_PRIVATE_KEY": KEY})
        assert caught.value.code == "bad_address"
        with pytest.raises(ConfigError, match="provider"):
            ChatClient(provider=text, private_key=KEY, environ={})

    @pytest.mark.parametrize("text", ["two words", "x" * 129, "line\nbreak"])
    def test_what_can_be_no_id_is_refused_for_every_backend(self, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Settings.resolve(provider=text, environ={})
        assert caught.value.code == "bad_address"

    @pytest.mark.parametrize("name", ["ledger", "inference", "provider"])
    def test_a_mistyped_address_is_refused(self, name: str) -> None:
        typo = "0x2dE54c845Cd948B72D2e32e39586fe89607074E4"
        with pytest.raises(ConfigError, match=f"{name}: 0x.* is mistyped") as caught:
            Settings.resolve(**{name: typo}, environ={})
        assert caught.value.code == "bad_address"

    def test_a_mistyped_address_in_a_network_is_refused(self) -> None:
        wrong = replace(NETWORKS["mainnet"], ledger="0x2dE54c845Cd948B72D2e32e39586fe89607074E4")
        with pytest.raises(ConfigError, match="ledger"):
            Settings.resolve(network=wrong, environ={})

    @pytest.mark.parametrize(
        "url",
        [
            "https://rpc.example/v2/SECRET",
            "https://rpc.example/?key=SECRET",
            "https://rpc.example?SECRET",
            "https://rpc.example#SECRET",
        ],
    )
    def test_a_key_in_an_rpc_url_is_not_shown(self, url: str) -> None:
        settings = Settings.resolve(rpc_url=url, environ={})
        assert settings.network.rpc_url == url
        assert "SECRET" not in repr(settings) + repr(settings.network) + str(settings.network)

    @pytest.mark.parametrize(
        "url",
        [
            "wss://rpc.example/SECRET",
            "rpc.example/SECRET",
            "http://a:99999/SECRET",
            "http://a/ /SECRET",
            "ht tp://b://SECRET",
        ],
    )
    def test_nor_in_the_error_about_a_wrong_one(self, url: str) -> None:
        with pytest.raises(ConfigError, match="rpc_url is not an") as caught:
            Settings.resolve(rpc_url=url, environ={})
        assert "SECRET" not in "".join(traceback.format_exception(caught.value))

    def test_addresses_come_out_in_one_spelling(self) -> None:
        assert Settings.resolve(provider="0x" + PROVIDER[2:].upper(), environ={}).provider == PROVIDER

    def test_show_no_secret(self) -> None:
        shown = repr(Settings.resolve(private_key=KEY, environ={})) + repr(
            Settings.resolve(api_key="app-sk-x", environ={})
        )
        assert "11111111" not in shown
        assert "app-sk-x" not in shown


class TestCheckUrl:
    @pytest.mark.parametrize(
        ("url", "clean"),
        [
            ("https://provider.example", "https://provider.example"),
            ("https://provider.example:8443/base//", "https://provider.example:8443/base"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://localhost/", "http://localhost"),
            ("http://LocalHost:1", "http://LocalHost:1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ],
    )
    def test_accepts(self, url: str, clean: str) -> None:
        assert check_url(url, "the URL", private=True) == clean

    @pytest.mark.parametrize(
        "url",
        [
            "http://provider.example",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "http://10.0.0.1",
            "http://127.1",
            "http://0.0.0.0",
            "http://[::ffff:127.0.0.1]",
        ],
    )
    def test_refuses_plain_http_to_another_machine(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            check_url(url, "the URL")
        assert caught.value.code == "insecure_url"
        assert check_url(url, "rpc_url", secure=False) == url

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "provider.example",
            "ftp://provider.example",
            "javascript:alert(1)",
            "https://",
            "https:///path",
            "https://host:0",
            "https://host:99999",
            "https://[::1",
            "https://ho st",
            "https://host\n.example",
            "http://127.0.0.1\t.evil.example",
            " http://127.0.0.1",
            "http://127.0.0.1\\.evil.example",
            "https://ex\u0430mple.com",
            "http://127\u30020\u30020\u30021",
            "https://host/\x00",
            "https://user:password@host",
            "https://127.0.0.1@evil.example",
            "http://evil.example\\@127.0.0.1",
            None,
            5,
        ],
    )
    def test_refuses_what_two_parsers_could_read_differently(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            check_url(url, "the URL")
        assert caught.value.code == "bad_url"

    def test_does_not_repeat_a_password(self) -> None:
        with pytest.raises(ConfigError) as caught:
            check_url("https://user:hunter2@host", "rpc_url")
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://localhost/x", "http://[::1]"])
    def test_loopback_is_this_machine(self, url: str) -> None:
        assert is_loopback(url)

    @pytest.mark.parametrize("url", ["http://127.0.0.2", "https://provider.example/127.0.0.1", "http://localhost.x"])
    def test_nothing_else_is_loopback(self, url: str) -> None:
        assert not is_loopback(url)


class TestSecret:
    def test_gives_its_text_only_when_asked(self) -> None:
        secret = Secret("app-sk-hidden")
        assert secret.reveal() == "app-sk-hidden"
        assert "hidden" not in f"{secret!r} {secret} {secret!s:>40} {[secret]} { ({'k': secret}) }"

    def test_is_not_equal_to_another(self) -> None:
        assert Secret("a") != Secret("a")

    @pytest.mark.parametrize("again", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
    @pytest.mark.parametrize("made", [Secret("hidden"), SecretHeaders({"Authorization": "hidden"})], ids=repr)
    def test_is_not_copied(self, made: object, again: object) -> None:
        with pytest.raises(TypeError):
            again(made)  # type: ignore[operator]

    def test_headers_show_their_names(self) -> None:
        headers = SecretHeaders({"Authorization": "Bearer hidden"})
        assert repr(headers) == str(headers) == "SecretHeaders(Authorization)"
        assert {**headers} == {"Authorization": "Bearer hidden"}

    def test_an_environment_shows_no_variable(self) -> None:
        environ = Environment({"ZEROG_PRIVATE_KEY": "hidden"})
        assert "hidden" not in repr(environ)
        assert dict(environ) == {"ZEROG_PRIVATE_KEY": "hidden"}

    def test_the_default_environment_is_the_processs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZEROG_MODEL", "from-the-process")
        assert Settings.resolve().model == "from-the-process"
