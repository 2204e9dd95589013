"""The encrypted key that `zerog login` keeps, and the words that a person types unseen."""

from __future__ import annotations

import getpass
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from zg_core.cli.terminal.remembered import keystore
from zg_core.config import KEY_NAMES, Secret
from zg_core.errors import ConfigError
from zg_core.wallet import Wallet, named_address, parse_private_key

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "PASSWORD",
    "address_of",
    "encrypted",
    "new_password",
    "own_wallet",
    "password_of",
    "read",
    "typed",
    "variable",
]

PASSWORD = "ZEROG_KEYSTORE_PASSWORD"  # noqa: S105 - the name of a variable
_LEAST = 8


def own_wallet() -> Wallet | None:
    """The wallet whose key `zerog login` kept; None where the environment has one, or nothing is kept."""
    path = keystore()
    if variable() or not path.exists():
        return None
    return Wallet.from_keystore(path, lambda: password_of(f"password of {address_of(path)}: "))


def variable() -> str | None:
    """The variable that holds a private key, if one does; it comes before what is kept."""
    return next((name for name in KEY_NAMES if os.environ.get(name, "").strip()), None)


def address_of(path: Path) -> str:
    """The address that a keystore file names; it is not proven before the file is opened."""
    return named_address(path) or "an address that the file does not name"


def read(path: Path) -> str:
    """The text of a keystore file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"cannot read the keystore file: {reason}", code="bad_keystore", hint="check the path"
        ) from None


def encrypted(key: Secret, password: Secret) -> tuple[str, str]:
    """The address of a key, and the text of a keystore file that holds it."""
    from eth_account import Account

    made: dict[str, Any] = Account.encrypt(parse_private_key(key.reveal()), password.reveal())
    return Wallet.from_key(key).address, json.dumps(made, indent=2) + "\n"


def new_password() -> Secret:
    """A password that was typed twice, or is in the environment.

    Raises:
        ConfigError: it is too short, or the two differ.
    """
    given = os.environ.get(PASSWORD)
    first = Secret(given if given is not None else typed("new password: ", f"a password ({PASSWORD})"))
    if len(first.reveal()) < _LEAST:
        raise ConfigError(
            f"the password is shorter than {_LEAST} characters", code="bad_password", hint="choose another"
        )
    if given is None and typed("again: ", "a password") != first.reveal():
        raise ConfigError("the passwords differ", code="bad_password", hint="try again; nothing was written")
    return first


def password_of(prompt: str) -> str:
    """The password of a kept key, from the environment or typed.

    Raises:
        ConfigError: there is nobody to ask.
    """
    given = os.environ.get(PASSWORD)
    if given is not None:
        return given
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            "the key is encrypted, and there is no terminal to ask for its password on",
            code="keystore_locked",
            hint=f"set {PASSWORD}, or ZEROG_PRIVATE_KEY",
        )
    return getpass.getpass(prompt, stream=sys.stderr)


def typed(prompt: str, what: str) -> str:
    """A line that is typed unseen at a terminal, else read from stdin.

    Raises:
        ConfigError: there is none.
    """
    if sys.stdin.isatty() and sys.stderr.isatty():
        return getpass.getpass(prompt, stream=sys.stderr)
    text = sys.stdin.readline().rstrip("\n")
    if not text:
        raise ConfigError(f"{what} was expected on stdin", code="no_input", hint="pipe it in, or run on a terminal")
    return text
