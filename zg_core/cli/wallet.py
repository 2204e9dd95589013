"""``zerog login``, ``logout`` and ``status``: an encrypted key instead of one in the environment.

The key is kept as Web3 Secret Storage, which every wallet program reads; it is nowhere in plain text.
"""

import getpass
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zg_core.cli import remembered
from zg_core.cli.failures import NotConfirmed
from zg_core.cli.options import Yes, command, consent
from zg_core.cli.run import Run
from zg_core.config import KEY_NAMES, NETWORKS, Secret
from zg_core.crypto import typed_address
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json
from zg_core.wallet import Wallet, parse_private_key

__all__ = ["PASSWORD", "login", "logout", "network", "own_wallet", "status"]

PASSWORD = "ZEROG_KEYSTORE_PASSWORD"  # noqa: S105 - the name of a variable
_LEAST = 8


@command
def login(
    run: Run,
    keystore: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the encrypted key of another program's keystore file.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace the key that is kept now.")] = False,
) -> None:
    """Keep the wallet's key, encrypted with a password; later commands ask for the password when they sign.

    The key is read from the terminal, unseen, or from stdin. ZEROG_KEYSTORE_PASSWORD answers for a password prompt.
    """
    path = remembered.keystore()
    if path.exists() and not yes:
        raise NotConfirmed(f"a key is kept already: {_address_of(path)}", hint="--yes replaces it; `zerog status`")
    if keystore is not None:
        text = _read(keystore)
        address = Wallet.from_keystore(keystore, lambda: _password(f"password of {keystore}: ")).address
    else:
        key = Secret(_typed("private key (not shown): ", "a private key").strip())
        parse_private_key(key.reveal())
        password = _new_password()
        with run.out.waiting("encrypting"):
            address, text = _encrypted(key, password)
    remembered.keep(path, text)
    run.out.facts(("wallet", address), ("kept in", f"{path}, encrypted"))
    if _variable():
        run.out.note(f"{_variable()} is set and comes first; unset it to use this key")
    run.out.document({"address": address, "keystore": str(path), "overruled_by": _variable()})


@command
def logout(run: Run, yes: Yes = False) -> None:
    """Delete the encrypted key that `zerog login` kept. Whoever has no other copy loses the wallet."""
    path = remembered.keystore()
    if not path.exists():
        run.out.line("no key is kept")
        run.out.document({"address": None, "deleted": False})
        return
    address = _address_of(path)
    consent(yes, f"delete the key of {address}")
    if not yes:
        sys.stderr.write(f"delete the key of {address}? Without another copy its money is lost. [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise NotConfirmed("not confirmed, nothing was deleted", hint="answer y, or give --yes")
    path.unlink()
    run.out.line(f"deleted the key of {address}")
    run.out.document({"address": address, "deleted": True})


@command
def status(run: Run) -> None:
    """Say which wallet, network and store commands use, and where each comes from. Asks nobody."""
    path, variable = remembered.keystore(), _variable()
    wallet, source = None, None
    if variable:
        wallet, source = Wallet.from_env().address, variable
    elif path.exists():
        wallet, source = _address_of(path), f"{path} (zerog login)"
    where = run.where
    network, of_network = run.network_source()
    store = where["store"]
    run.out.facts(
        ("wallet", "none; `zerog login`, or set ZEROG_PRIVATE_KEY" if wallet is None else f"{wallet}, from {source}"),
        ("network", f"{network}, {of_network}"),
        ("store", _shown_store(store)),
    )
    run.out.document(
        {
            "wallet": wallet,
            "wallet_from": source,
            "network": network,
            "network_from": of_network,
            "store": _shown_store(store),
        }
    )


@command
def network(
    run: Run,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help=f"Use it from now on: {', '.join(NETWORKS)}.")
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Go back to the default.")] = False,
) -> None:
    """Show the network that commands use, or remember one. --network and ZEROG_NETWORK come first."""
    if name is not None and name not in NETWORKS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(NETWORKS)}", param_hint="NAME")
    if name is not None and forget:
        raise typer.BadParameter("either a NAME or --forget", param_hint="--forget")
    if name is not None or forget:
        remembered.remember_network(name)
        run = run.at()
    used, source = run.network_source()
    run.out.line(f"{used}, {source}")
    if name is not None and used != name:
        run.out.note(f"{name} is remembered, but {source} comes first")
    run.out.document({"network": used, "from": source, "remembered": remembered.network()})


def own_wallet() -> Wallet | None:
    """The wallet whose key `zerog login` kept; None where the environment has one, or nothing is kept."""
    path = remembered.keystore()
    if _variable() or not path.exists():
        return None
    return Wallet.from_keystore(path, lambda: _password(f"password of {_address_of(path)}: "))


def _variable() -> str | None:
    return next((name for name in KEY_NAMES if os.environ.get(name, "").strip()), None)


def _address_of(path: Path) -> str:
    """The address that a keystore file names; it is not proven before the file is opened."""
    try:
        found = parse_json(_read(path).encode())
        return typed_address("0x" + str(found["address"]).lower().removeprefix("0x"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return "an address that the file does not name"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"cannot read the keystore file: {reason}", code="bad_keystore", hint="check the path"
        ) from None


def _encrypted(key: Secret, password: Secret) -> tuple[str, str]:
    from eth_account import Account

    made: dict[str, Any] = Account.encrypt(parse_private_key(key.reveal()), password.reveal())
    return Wallet.from_key(key).address, json.dumps(made, indent=2) + "\n"


def _new_password() -> Secret:
    given = os.environ.get(PASSWORD)
    first = Secret(given if given is not None else _typed("new password: ", f"a password ({PASSWORD})"))
    if len(first.reveal()) < _LEAST:
        raise ConfigError(
            f"the password is shorter than {_LEAST} characters", code="bad_password", hint="choose another"
        )
    if given is None and _typed("again: ", "a password") != first.reveal():
        raise ConfigError("the passwords differ", code="bad_password", hint="try again; nothing was written")
    return first


def _password(prompt: str) -> str:
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


def _typed(prompt: str, what: str) -> str:
    if sys.stdin.isatty() and sys.stderr.isatty():
        return getpass.getpass(prompt, stream=sys.stderr)
    text = sys.stdin.readline().rstrip("\n")
    if not text:
        raise ConfigError(f"{what} was expected on stdin", code="no_input", hint="pipe it in, or run on a terminal")
    return text


def _shown_store(url: str) -> str:
    from zg_core.config import shown_url

    return url if url.startswith(("sqlite:", "memory:")) else shown_url(url)
