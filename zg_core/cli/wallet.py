"""``zerog login``, ``logout`` and ``status``: an encrypted key instead of one in the environment.

The key is kept as Web3 Secret Storage, which every wallet program reads; it is nowhere in plain text.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zg_core.cli.terminal import remembered
from zg_core.cli.terminal.failures import NotConfirmed
from zg_core.cli.terminal.keystore import address_of, encrypted, new_password, password_of, read, typed, variable
from zg_core.cli.terminal.options import Yes, command, consent
from zg_core.cli.terminal.output import shown_store
from zg_core.cli.terminal.run import Run
from zg_core.config import NETWORKS, Secret
from zg_core.wallet import Wallet, parse_private_key

__all__ = ["login", "logout", "network", "status"]


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
        raise NotConfirmed(f"a key is kept already: {address_of(path)}", hint="--yes replaces it; `zerog status`")
    if keystore is not None:
        text = read(keystore)
        address = Wallet.from_keystore(keystore, lambda: password_of(f"password of {keystore}: ")).unlock()
    else:
        key = Secret(typed("private key (not shown): ", "a private key").strip())
        parse_private_key(key.reveal())
        password = new_password()
        with run.out.waiting("encrypting"):
            address, text = encrypted(key, password)
    remembered.keep(path, text)
    run.out.facts(("wallet", address), ("kept in", f"{path}, encrypted"))
    if variable():
        run.out.note(f"{variable()} is set and comes first; unset it to use this key")
    run.out.document({"address": address, "keystore": str(path), "overruled_by": variable()})


@command
def logout(run: Run, yes: Yes = False) -> None:
    """Delete the encrypted key that `zerog login` kept. Whoever has no other copy loses the wallet."""
    path = remembered.keystore()
    if not path.exists():
        run.out.line("no key is kept")
        run.out.document({"address": None, "deleted": False})
        return
    address = address_of(path)
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
    path = remembered.keystore()
    wallet, source = None, variable()
    if source:
        wallet = Wallet.from_env().address
    elif path.exists():
        wallet, source = address_of(path), f"{path} (zerog login)"
    where = run.where
    network, of_network = run.network_source()
    store = where["store"]
    run.out.facts(
        ("wallet", "none; `zerog login`, or set ZEROG_PRIVATE_KEY" if wallet is None else f"{wallet}, from {source}"),
        ("network", f"{network}, {of_network}"),
        ("store", shown_store(store)),
    )
    run.out.document(
        {
            "wallet": wallet,
            "wallet_from": source,
            "network": network,
            "network_from": of_network,
            "store": shown_store(store),
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
