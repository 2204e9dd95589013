"""Keys as people paste them (eth-account#246, hardhat#2099, rollups-node#670, demo-eth-tx#11)."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from tests.cases.chain.field import Expectations, attempt, told
from zg_core import Broker, ConfigError, Wallet

K = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
W = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
ORDER = "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141"
WRONG: dict[str, tuple[Any, str | None]] = {
    "0X prefix": ("0X" + K, None),
    "quoted": (f'"0x{K}"', "quot"),
    "single quotes": (f"'{K}'", "quot"),
    "63 digits": ("0x" + K[:-1], "63"),
    "66 digits": ("0x" + K + "00", "66"),
    "an address": (W, "address"),
    "a mnemonic": ("test test test test test test test test test test test junk", "mnemonic"),
    "an app-sk- key": ("app-sk-abc", "API key"),
    "0x0x": ("0x0x" + K, None),
    "placeholder": ("0xYOUR_PRIVATE_KEY", None),
    "a file name": ("/keys/me/key.json", "keystore"),
    "keystore JSON": ('{"address":"x","crypto":{}}', "keystore"),
    "zero": ("0x" + "0" * 64, None),
    "curve order": (ORDER, None),
    "spaces between": (" ".join(K[i : i + 8] for i in range(0, 64, 8)), None),
    "zero-width space": (K + "\u200b", None),
    "byte order mark": ("\ufeff" + K, None),
    "full-width digits": (K.replace("4", "\uff14"), None),
    "bytes": (bytes.fromhex(K), None),
    "int": (int(K, 16), None),
    "None": (None, None),
    "empty": ("", None),
}


@pytest.mark.parametrize("key", [K, "0x" + K, K.upper(), f"0x{K}\n", K + "\r\n", f"  0x{K} ", "\t" + K])
def test_a_key_is_taken_however_it_was_pasted(key: str) -> None:
    assert Wallet.from_key(key).address == W


@pytest.mark.parametrize("name", WRONG)
def test_what_is_none_is_named_and_never_shown(name: str, expect: Expectations) -> None:
    key, word = WRONG[name]
    found, error = attempt(lambda: Wallet.from_key(key))
    text = "" if error is None else "".join(traceback.format_exception(error))
    secret = str(key)[2:40]
    expect("refused with an error of ours", isinstance(error, ConfigError), found)
    expect("the key is not shown", len(secret) < 20 or secret not in text, text)
    if word is not None:
        expect("what it looks like", word.lower() in str(error).lower(), error and told(error))


def test_the_environment_is_read_the_same_way(expect: Expectations) -> None:
    def address(**environ: str) -> tuple[Any, Exception | None]:
        return attempt(lambda: Broker(network="testnet", environ=environ).address)

    found, _ = address(ZEROG_PRIVATE_KEY="", PRIVATE_KEY=K)
    expect("an empty variable is none", found == W, found)
    for text in ("   ", f'"{K}"'):
        _, error = address(ZEROG_PRIVATE_KEY=text)
        expect("refused", isinstance(error, ConfigError) and K not in str(error), error)
