"""Wallets: every way to give a key, what is refused, and that a key is neither shown nor read too early."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from zg_core.config import Secret
from zg_core.crypto import CURVE_ORDER, personal_hash
from zg_core.errors import ConfigError
from zg_core.wallet import Wallet

KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
PASSWORD = "correct horse battery staple"


def keystore(folder: Path) -> Path:
    path = folder / "key.json"
    path.write_text(json.dumps(Account.encrypt(KEY, PASSWORD, kdf="pbkdf2", iterations=100)))
    return path


class TestFromKey:
    @pytest.mark.parametrize("text", [KEY, KEY[2:], KEY.upper().replace("0X", "0x"), f"  {KEY}\n", Secret(KEY)])
    def test_takes_hex_with_or_without_0x(self, text: str) -> None:
        assert Wallet.from_key(text).address == ADDRESS

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0x",
            "0x11",
            KEY[:-1],
            KEY + "1",
            "0x" + "zz" * 32,
            "0x" + "00" * 32,
            hex(CURVE_ORDER),
            "0x" + "ff" * 32,
            "word " * 12,
            None,
            17,
            bytes(32),
        ],
    )
    def test_refuses_anything_else_without_repeating_it(self, text: Any) -> None:
        with pytest.raises(ConfigError, match="ZEROG_PRIVATE_KEY") as caught:
            Wallet.from_key(text)
        assert caught.value.code == "bad_private_key"
        assert not text or text == "0x" or str(text) not in str(caught.value)

    def test_the_largest_key_is_one(self) -> None:
        assert Wallet.from_key(hex(CURVE_ORDER - 1)).address == Account.from_key(CURVE_ORDER - 1).address


class TestFromEnv:
    def test_reads_the_names_in_their_order(self) -> None:
        other = "0x" + "22" * 32
        names = ["ZEROG_PRIVATE_KEY", "PRIVATE_KEY", "ZG_PRIVATE_KEY"]
        for position, name in enumerate(names):
            environ = {name: KEY} | dict.fromkeys(names[position + 1 :], other)
            assert Wallet.from_env(environ).address == ADDRESS, name

    def test_without_one_says_what_to_set(self) -> None:
        with pytest.raises(ConfigError, match="ZEROG_PRIVATE_KEY") as caught:
            Wallet.from_env({"ZEROG_PRIVATE_KEY": ""})
        assert caught.value.code == "no_credential"


class TestFromKeystore:
    def test_opens_with_the_password(self, tmp_path: Path) -> None:
        assert Wallet.from_keystore(keystore(tmp_path), PASSWORD).address == ADDRESS

    def test_asks_for_the_password_once_and_not_before_it_is_needed(self, tmp_path: Path) -> None:
        asked = []
        wallet = Wallet.from_keystore(keystore(tmp_path), lambda: asked.append(1) or PASSWORD)
        assert asked == []
        assert repr(wallet) == "Wallet(locked)"
        wallet.sign_personal(b"a")
        wallet.sign_personal(b"b")
        assert (wallet.address, asked) == (ADDRESS, [1])

    def test_a_wrong_password_is_an_error_at_first_use(self, tmp_path: Path) -> None:
        wallet = Wallet.from_keystore(keystore(tmp_path), "wrong-password")
        with pytest.raises(ConfigError, match="check the password") as caught:
            wallet.sign_personal(b"a")
        assert caught.value.code == "bad_keystore"
        assert "wrong-password" not in str(caught.value)

    def test_a_missing_file_is_an_error_at_first_use(self, tmp_path: Path) -> None:
        wallet = Wallet.from_keystore(tmp_path / "nowhere.json", PASSWORD)
        with pytest.raises(ConfigError, match="No such file"):
            _ = wallet.address

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"not json",
            b"\xff\xfe",
            b"[]",
            b"{}",
            b'"text"',
            b'{"version": 9}',
            b'{"version": 3}',
            b'{"version": 3, "crypto": []}',
            b'{"version": 3, "crypto": {"kdf": "md5"}}',
            b'{"version": 3, "crypto": {"kdf": "pbkdf2", "kdfparams": {"prf": "x", "salt": "00", "c": 1, "dklen": 1}}}',
            b"[" * 100_000,
        ],
    )
    def test_a_file_that_is_no_keystore_is_the_same_error(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "junk.json"
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            _ = Wallet.from_keystore(path, PASSWORD).address
        assert caught.value.code == "bad_keystore"

    def test_an_error_of_the_password_callable_comes_through(self, tmp_path: Path) -> None:
        def refuse() -> str:
            raise PermissionError("the vault is sealed")

        wallet = Wallet.from_keystore(keystore(tmp_path), refuse)
        for use in (wallet.unlock, lambda: wallet.sign_personal(b"a")):
            with pytest.raises(PermissionError, match="sealed"):
                use()

    def test_its_address_asks_nobody_for_a_password(self, tmp_path: Path) -> None:
        def refuse() -> str:
            raise PermissionError("nobody is there")

        assert Wallet.from_keystore(keystore(tmp_path), refuse).address == ADDRESS

    @pytest.mark.parametrize("named", ["", "0x" + "11" * 20])
    def test_a_file_that_names_no_address_or_another_one_never_signs_for_it(self, tmp_path: Path, named: str) -> None:
        path = keystore(tmp_path)
        path.write_text(json.dumps({**json.loads(path.read_text()), "address": named.removeprefix("0x")}))
        wallet = Wallet.from_keystore(path, PASSWORD)
        if not named:
            assert wallet.address == ADDRESS
            return
        assert wallet.address.lower() == named
        with pytest.raises(ConfigError, match="its key is that of") as caught:
            wallet.sign_personal(b"a")
        assert caught.value.code == "bad_keystore"


class TestWhatIsNoKey:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (f'"{KEY}"', "in quotation marks"),
            (f"'{KEY}'", "in quotation marks"),
            (KEY[:-1], "63 hex digits"),
            (KEY + "00", "66 hex digits"),
            (ADDRESS, "40 hex digits, like an address"),
            ("test " * 11 + "junk", "looks like a mnemonic"),
            ("app-sk-abc", "looks like an API key"),
            ("/keys/mine.json", "looks like a file name"),
            ('{"address": "x", "crypto": {}}', "keystore"),
            ("0x0x" + KEY[2:], "no hex digits"),
            ("0xYOUR_PRIVATE_KEY", "no hex digits"),
            ("", "is empty"),
            (5, "a int, not text"),
        ],
    )
    def test_is_told_by_what_it_looks_like_and_never_shown(self, text: Any, said: str) -> None:
        with pytest.raises(ConfigError, match=said) as caught:
            Wallet.from_key(text)
        assert caught.value.code == "bad_private_key"
        shown = "".join(traceback.format_exception(caught.value))
        assert str(text)[3:30] not in shown or len(str(text)) < 12


class TestFromCallable:
    def test_is_asked_once_and_late(self) -> None:
        asked = []
        wallet = Wallet.from_callable(lambda: asked.append(1) or KEY)
        assert asked == []
        assert wallet.address == ADDRESS
        assert wallet.sign_personal(b"a").startswith("0x")
        assert asked == [1]

    def test_a_malformed_key_is_refused(self) -> None:
        with pytest.raises(ConfigError):
            _ = Wallet.from_callable(lambda: "secret-but-wrong").address

    def test_works_from_many_threads(self) -> None:
        wallet = Wallet.from_callable(lambda: KEY)
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(wallet.sign_personal(b"m"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1


class TestSigning:
    @pytest.mark.parametrize("message", [b"", b"hello", bytes(32), "g\u00e9".encode() * 100])
    def test_equals_personal_sign_of_eth_account(self, message: bytes) -> None:
        theirs = Account.sign_message(encode_defunct(message), KEY).signature
        assert Wallet.from_key(KEY).sign_personal(message) == "0x" + bytes(theirs).hex()

    def test_a_digest_is_signed_as_it_is(self) -> None:
        wallet = Wallet.from_key(KEY)
        assert "0x" + wallet.sign_digest(personal_hash(b"m")).hex() == wallet.sign_personal(b"m")

    @pytest.mark.parametrize("length", [0, 31, 33])
    def test_a_digest_of_another_length_is_refused(self, length: int) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            Wallet.from_key(KEY).sign_digest(bytes(length))


class TestSecrecy:
    def test_shows_its_address_only(self) -> None:
        assert repr(Wallet.from_key(KEY)) == f"Wallet({ADDRESS!r})"

    @pytest.mark.parametrize("again", [pickle.dumps, json.dumps, vars])
    def test_is_not_written_out(self, again: Any) -> None:
        with pytest.raises(TypeError):
            again(Wallet.from_key(KEY))

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])
    def test_a_copy_is_the_wallet_itself(self, again: Any) -> None:
        wallet = Wallet.from_key(KEY)
        assert again(wallet) is wallet
