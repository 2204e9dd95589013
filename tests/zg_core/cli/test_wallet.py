"""``zerog login``, ``logout``, ``status`` and ``network``."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.cli.running import Zerog, zerog_of
from zg_core.localnet import LocalNet

PASSWORD = "correct horse"
TEN = {"ZEROG_KEYSTORE_PASSWORD": PASSWORD}


@pytest.fixture(autouse=True)
def _quick_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work that makes guessing a password dear is the standard's; a test needs little of it."""
    monkeypatch.setenv("ETH_ACCOUNT_KDF", "scrypt")
    import eth_keyfile.keyfile

    monkeypatch.setattr(eth_keyfile.keyfile, "get_default_work_factor_for_kdf", lambda _: 2)


@pytest.fixture
def alice(market: LocalNet, tmp_path: Path) -> tuple[Zerog, Any]:
    """A command line with no wallet of its own, and the wallet somebody may log in with."""
    wallet = market.new_wallet()
    zerog = zerog_of(market, tmp_path, None)
    zerog.secrets += [wallet.private_key, PASSWORD]
    return zerog, wallet


def test_who_logged_in_signs_with_an_encrypted_key_of_his_own(alice, tmp_path: Path) -> None:
    zerog, wallet = alice
    assert zerog("deposit", "3", "--yes", "--json", ok=False).error["code"] == "no_wallet"
    said = zerog("login", stdin=wallet.private_key + "\n", **TEN)
    assert wallet.address in said.out
    kept = tmp_path / "keystore.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert wallet.private_key.removeprefix("0x").encode() not in path.read_bytes().lower(), path
    assert json.loads(kept.read_text())["version"] == 3
    assert zerog.json("status")["wallet"] == wallet.address
    assert zerog.json("deposit", "3", "--yes", **TEN)["wallet"] == wallet.address


def test_without_the_password_nothing_is_signed(alice) -> None:
    zerog, wallet = alice
    zerog("login", stdin=wallet.private_key + "\n", **TEN)
    assert zerog.fails("deposit", "3", "--yes", code=1)["code"] == "keystore_locked"
    wrong = zerog.fails("deposit", "3", "--yes", code=1, ZEROG_KEYSTORE_PASSWORD="wrong horse")
    assert wrong["code"] == "bad_keystore"


@pytest.mark.parametrize("words", ["account", "settlements", "pending", "keys list", "budget show", "receipts list"])
def test_who_only_looks_needs_no_password(alice, words: str) -> None:
    zerog, wallet = alice
    zerog("login", stdin=wallet.private_key + "\n", **TEN)
    assert "encrypted" not in zerog(*words.split()).err
    if words == "account":
        assert zerog.json("account")["wallet"] == wallet.address


def test_key_and_password_come_from_a_pipe(alice) -> None:
    zerog, wallet = alice
    zerog("login", stdin=f"{wallet.private_key}\n{PASSWORD}\n{PASSWORD}\n")
    assert zerog.json("deposit", "3", "--yes", **TEN)["wallet"] == wallet.address
    other = zerog("login", "--yes", "--json", ok=False, stdin=f"{wallet.private_key}\n{PASSWORD}\nanother one\n")
    assert other.error["code"] == "bad_password"


def test_the_environment_comes_first(alice, market: LocalNet) -> None:
    zerog, wallet = alice
    other = market.new_wallet()
    zerog("login", stdin=wallet.private_key + "\n", **TEN)
    said = zerog.json("status", ZEROG_PRIVATE_KEY=other.private_key)
    assert (said["wallet"], said["wallet_from"]) == (other.address, "ZEROG_PRIVATE_KEY")


def test_the_file_of_another_program_is_taken_as_it_is(alice, tmp_path: Path) -> None:
    from eth_account import Account

    zerog, wallet = alice
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps(Account.encrypt(wallet.private_key, PASSWORD)))
    refused = zerog("login", "--keystore", str(theirs), "--json", ok=False, ZEROG_KEYSTORE_PASSWORD="wrong horse")
    assert refused.error["code"] == "bad_keystore"
    assert not (tmp_path / "keystore.json").exists()
    assert zerog.json("login", "--keystore", str(theirs), **TEN)["address"] == wallet.address
    assert (tmp_path / "keystore.json").read_text() == theirs.read_text()


@pytest.mark.parametrize(
    ("typed", "password", "code"),
    [
        ("", PASSWORD, "no_input"),
        ("0x1234", PASSWORD, "bad_private_key"),
        ("app-sk-abc", PASSWORD, "bad_private_key"),
        (None, "short", "bad_password"),
    ],
)
def test_what_is_no_key_or_no_password_is_refused(alice, tmp_path: Path, typed, password: str, code: str) -> None:
    zerog, wallet = alice
    typed = wallet.private_key if typed is None else typed
    ran = zerog("login", "--json", stdin=typed + "\n" if typed else "", ok=False, ZEROG_KEYSTORE_PASSWORD=password)
    assert ran.error["code"] == code
    assert not (tmp_path / "keystore.json").exists()


def test_a_key_is_not_replaced_or_deleted_unasked(alice, market: LocalNet, tmp_path: Path) -> None:
    zerog, wallet = alice
    other = market.new_wallet()
    zerog.secrets.append(other.private_key)
    zerog("login", stdin=wallet.private_key + "\n", **TEN)
    ran = zerog("login", "--json", stdin=other.private_key + "\n", ok=False, **TEN)
    assert (ran.code, ran.error["code"]) == (2, "not_confirmed")
    assert zerog("logout", "--json", ok=False).code == 2
    assert zerog.json("status")["wallet"] == wallet.address
    assert zerog.json("logout", "--yes") == {"address": wallet.address, "deleted": True, "warnings": []}
    assert not (tmp_path / "keystore.json").exists()
    assert zerog.json("status")["wallet"] is None
    assert zerog("logout").out == "no key is kept\n"


def test_a_network_is_remembered_and_forgotten(alice, tmp_path: Path) -> None:
    zerog, _ = alice
    del zerog.environ["ZEROG_NETWORK"]
    assert zerog.json("network")["network"] == "testnet"
    assert zerog.json("network", "mainnet")["remembered"] == "mainnet"
    assert zerog("network").out == "mainnet, remembered by `zerog network`\n"
    assert zerog.json("status")["network"] == "mainnet"
    assert zerog("network", ZEROG_NETWORK="local").out == "local, by ZEROG_NETWORK\n"
    assert zerog("network", "--network", "testnet").out == "testnet, by --network\n"
    assert zerog.fails("network", "atlantis", code=2)["code"] == "usage"
    assert zerog.json("network", "--forget")["remembered"] is None
    (tmp_path / "settings.json").write_text('{"network": "atlantis"}')
    assert zerog.fails("providers", code=1)["code"] == "bad_settings"


def test_a_remembered_network_is_the_one_that_is_asked(alice) -> None:
    zerog, _ = alice
    del zerog.environ["ZEROG_NETWORK"]
    zerog("network", "local")
    assert zerog.json("providers")["chain_id"] == 31337
