"""Wallets: a key from the environment, an encrypted keystore file, or a callable; and what it signs.

Signing uses coincurve; eth-account is loaded only to decrypt a keystore file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from zg_core.config import KEY_NAMES, Environment, Secret, conceal
from zg_core.crypto import CURVE_ORDER, address_of_public_key, personal_hash, sign_digest, typed_address
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json
from zg_core.shown.redaction import learn_key
from zg_core.shown.tracebacks import forgetful

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

__all__ = ["Wallet"]

_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_HEX = frozenset("0123456789abcdefABCDEF")


@forgetful
class Wallet:
    """An account that can sign. Its key is never shown, compared or pickled; a copy of a wallet is the wallet itself.

    Functions that hold a key or password return their errors for others to raise: a traceback can show the locals of
    every frame that an exception passes.

    Example:
        >>> Wallet.from_key("0x" + "11" * 32)
        Wallet('0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A')
    """

    __slots__ = ("_address", "_load", "_named", "_secret")

    def __init__(self, load: Callable[[], str], named: Callable[[], str] | None = None) -> None:
        self._load = load
        self._named = named
        self._secret: Secret | None = None
        self._address = ""

    @classmethod
    def from_key(cls, private_key: str | Secret) -> Wallet:
        """A wallet from 32 bytes of hex, with or without ``0x``.

        Raises:
            ConfigError: the key is malformed; the message never repeats it.
        """
        private_key = conceal(private_key) or Secret("")
        wallet = cls(private_key.reveal)
        wallet._unlock()
        return wallet

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Wallet:
        """A wallet from ``ZEROG_PRIVATE_KEY`` (or ``PRIVATE_KEY``, ``ZG_PRIVATE_KEY``).

        Raises:
            ConfigError: none of them is set, or the key is malformed.
        """
        environ = Environment(environ)
        key = conceal(environ.first(*KEY_NAMES))
        if key is None:
            raise missing_credential()
        return cls.from_key(key)

    @classmethod
    def from_keystore(cls, path: str | os.PathLike[str], password: str | Callable[[], str]) -> Wallet:
        """A wallet from an encrypted keystore file (Web3 Secret Storage); decrypted at the first signature.

        Until then its address is the one that the file names, if it names one; a key of another address signs nothing.

        Raises:
            ConfigError: at first use, when the file cannot be read, the password is wrong, or the key is not that of
                the address in the file.
        """
        source = Path(path)
        ask = password if callable(password) else Secret(password).reveal

        def load() -> str:
            key = _open_keystore(source, Secret(ask()))
            if isinstance(key, ConfigError):
                raise key
            return key.reveal()

        return cls(load, lambda: named_address(source))

    @classmethod
    def from_callable(cls, load: Callable[[], str]) -> Wallet:
        """A wallet whose key is fetched by `load` at the first signature, for example from a secrets manager."""
        return cls(load)

    @property
    def address(self) -> str:
        """The account's EIP-55 address."""
        if not self._address and self._named is not None:
            self._address = self._named()
        if not self._address:
            self._unlock()
        return self._address

    def unlock(self) -> str:
        """Fetch the key now, where no signature has needed it yet; its address.

        Raises:
            ConfigError: it cannot be had.
        """
        self._unlock()
        return self._address

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r‖s‖v over a 32-byte digest.

        Raises:
            ValueError: the digest has another length.
        """
        if len(digest) != 32:
            raise ValueError(f"a digest has 32 bytes, not {len(digest)}")
        return sign_digest(self._unlock(), digest)

    def sign_personal(self, message: bytes) -> str:
        """EIP-191 ``personal_sign``: ``0x`` and 130 hex digits."""
        return "0x" + self.sign_digest(personal_hash(message)).hex()

    def is_in(self, data: bytes) -> bool:
        """Whether the key, as hex digits, is part of `data`; False as long as it was not needed."""
        if self._secret is None:
            return False
        # Of either case: the two that people write.
        return self._secret.reveal().encode() in data or self._secret.reveal().upper().encode() in data

    def _digits(self) -> str:
        """The key as hex digits, to look for it where it may not be; "" as long as it was not needed."""
        return "" if self._secret is None else self._secret.reveal()

    def _unlock(self) -> bytes:
        if self._secret is None:
            key = parse_private_key(self._load())
            from coincurve import PrivateKey

            found = address_of_public_key(PrivateKey(key).public_key.format(compressed=False))
            if self._address not in ("", found):  # people were shown the other one
                named, key = self._address, b""
                raise ConfigError(
                    f"the keystore file names {named}, and its key is that of {found}",
                    code="bad_keystore",
                    hint="take the file from the program that wrote it again",
                )
            self._address = found
            self._secret = Secret(key.hex())
            learn_key(self._secret.reveal())
        return bytes.fromhex(self._secret.reveal())

    def __repr__(self) -> str:
        return f"Wallet({self._address!r})" if self._address else "Wallet(locked)"

    def __copy__(self) -> Wallet:
        return self

    def __deepcopy__(self, _: object) -> Wallet:
        return self

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("wallets are not pickled; pass the key through the environment")


def named_address(path: Path) -> str:
    """The address that a keystore file names, which its password alone can prove; nothing where it names none."""
    try:
        found = parse_json(path.read_bytes())
        return typed_address("0x" + str(found["address"]).lower().removeprefix("0x"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def parse_private_key(text: object) -> bytes:
    """The 32 bytes of a private key.

    Raises:
        ConfigError: not 64 hex digits, or not a key of the curve. The text is never part of the message.
    """
    key = _key_of(text)
    text = None
    if isinstance(key, ConfigError):
        raise key
    return key


def _key_of(text: object) -> bytes | ConfigError:
    hint = "a private key is 0x and 64 hex digits; set ZEROG_PRIVATE_KEY or pass private_key=…"
    if not isinstance(text, str) or _KEY.fullmatch(text.strip()) is None:
        return ConfigError(f"the private key is malformed: {_resembles(text)}", code="bad_private_key", hint=hint)
    key = bytes.fromhex(text.strip().removeprefix("0x"))
    if not 0 < int.from_bytes(key) < CURVE_ORDER:
        return ConfigError("the private key is not on the curve", code="bad_private_key", hint=hint)
    return key


def _resembles(text: object) -> str:
    """What was given instead of a key, in words that repeat nothing of it."""
    if not isinstance(text, str):
        return f"it is a {type(text).__name__}, not text"
    key = text.strip()
    digits = key.removeprefix("0x")
    words = key.split()
    if not key:
        return "it is empty"
    if key[0] in "'\"" or key[-1] in "'\"":
        return "it is in quotation marks, leave them out"
    if key[0] == "{":
        return "it looks like the text of a keystore file, open one with Wallet.from_keystore"
    if key.startswith(("app-sk-", "sk-", "mk-", "pk-")):
        return "it looks like an API key, which goes into api_key=… (ZEROG_API_KEY)"
    if len(words) >= 12 and all(word.isalpha() for word in words):
        return "it looks like a mnemonic, a wallet program shows the key that belongs to it"
    if "/" in key or "\\" in key or key.endswith(".json"):
        return "it looks like a file name, a keystore file is opened with Wallet.from_keystore"
    if digits and all(digit in _HEX for digit in digits):
        return f"it has {len(digits)} hex digits" + (", like an address" if len(digits) == 40 else "")
    return f"it has {len(key)} characters, and some are no hex digits"


def _open_keystore(path: Path, password: Secret) -> Secret | ConfigError:
    from eth_account import Account

    try:
        return Secret("0x" + bytes(Account.decrypt(parse_json(path.read_bytes()), password.reveal())).hex())
    except OSError as error:
        message = f"cannot read the keystore file: {error.strerror}"
        return ConfigError(message, code="bad_keystore", hint="check the path")
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, NotImplementedError, RecursionError):
        message = "the keystore file does not open with this password"
        return ConfigError(message, code="bad_keystore", hint="check the password, and that it is a keystore file")


def missing_credential() -> ConfigError:
    """The error for a call that has neither wallet nor API key."""
    return ConfigError(
        "neither a wallet nor an API key is set",
        code="no_credential",
        hint="set ZEROG_PRIVATE_KEY (wallet) or ZEROG_API_KEY (app-sk-…), or pass private_key=… or api_key=…",
    )
