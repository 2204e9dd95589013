"""The commands of `zerog`: which there are, and where each lives."""

import sys
from typing import Annotated

import typer

from zg_core.cli.terminal.later import Later, LaterCommands

__all__ = ["app", "cli"]

ASK, MONEY, LOCAL = "Ask", "Money", "On this machine"


class _Zerog(LaterCommands):
    later = {  # noqa: RUF012 - never changed
        "providers": Later(
            "market",
            ASK,
            "List the providers on chain, the strongest kind and the lowest price first. Needs no wallet.",
        ),
        "models": Later(
            "market",
            ASK,
            "List what a provider serves, in its own words. Needs no wallet, and nothing of it is proven.",
        ),
        "verify": Later(
            "verify",
            ASK,
            "Check a provider's attestation. Exit code 0: it holds; 1: it does not; 3: it could not be checked.",
        ),
        "chat": Later("chat", ASK, "Ask one question. The answer goes to stdout; chat id, fee and verdict to stderr."),
        "image": Later(
            "media", ASK, "Make images, or edit one, and write them to files. Chat id, fee and verdict go to stderr."
        ),
        "transcribe": Later(
            "media", ASK, "Write a recording down. The words go to stdout; chat id, fee and verdict to stderr."
        ),
        "check": Later(
            "media",
            ASK,
            "Judge an exchange that another program made: with a key of `zerog keys` or `zerog token`, say.",
        ),
        "compare": Later(
            "compare", ASK, "Send the same prompts to several providers and compare answers, verdicts, times and fees."
        ),
        "token": Later(
            "chat",
            ASK,
            "Print a session token for a provider: the API key to give to an OpenAI client. "
            "It is a secret, valid for 24 h.",
        ),
        "account": Later("accounts", MONEY, "Show the wallet, its ledger, and its sub-accounts at providers."),
        "deposit": Later("money", MONEY, "Move 0G from the wallet into its ledger; the first time at least 3."),
        "transfer": Later(
            "money",
            MONEY,
            "Move 0G from the ledger to the sub-account at a provider, which also acknowledges its signer.",
        ),
        "retrieve": Later(
            "money",
            MONEY,
            "Collect refunds that are free into the ledger, and ask back all the rest of the sub-accounts.",
        ),
        "refund": Later("money", MONEY, "Pay out from the ledger to the wallet; nothing or at least 3 0G may stay."),
        "acknowledge": Later("money", MONEY, "Acknowledge the provider's TEE signer; a transfer does that, too."),
        "pending": Later(
            "money", MONEY, "List transactions that had no clear end, and what the chain shows of them now."
        ),
        "settlements": Later(
            "accounts",
            MONEY,
            "List what providers charged on chain, the newest first, with the TEE key that signed for it.",
        ),
        "login": Later(
            "wallet",
            LOCAL,
            "Keep the wallet's key, encrypted with a password; later commands ask for the password when they sign.",
        ),
        "logout": Later(
            "wallet",
            LOCAL,
            "Delete the encrypted key that `zerog login` kept. Whoever has no other copy loses the wallet.",
        ),
        "status": Later(
            "wallet", LOCAL, "Say which wallet, network and store commands use, and where each comes from. Asks nobody."
        ),
        "network": Later(
            "wallet",
            LOCAL,
            "Show the network that commands use, or remember one. --network and ZEROG_NETWORK come first.",
        ),
        "demo": Later(
            "local",
            LOCAL,
            "Run the main job on a local network: fund, ask, verify, settle, and catch a lying provider.",
        ),
        "adapters": Later("adapters", ASK, "Fine-tuned adapters (LoRA); the name of one is a model."),
        "keys": Later("keys", ASK, "API keys (app-sk-…) of the wallet's sub-accounts."),
        "serve": Later("serve", ASK, "An OpenAI-compatible server whose answers are paid, recorded and verified."),
        "budget": Later("budget", MONEY, "What budgets hold, and what was charged beyond all receipts."),
        "receipts": Later("receipts.commands", MONEY, "Receipts of calls: list, show, export, verify, audit."),
        "opengradient": Later("opengradient", MONEY, "OpenGradient: pay from a wallet on Base, look at enclaves."),
        "router": Later("router", MONEY, "0G Router: balance, usage and keys (needs a management key)."),
        "localnet": Later("local", LOCAL, "A 0G network on this machine."),
        "notebooks": Later("notebooks.commands", LOCAL, "Notebooks that run on a local network by themselves."),
    }


cli = typer.Typer(
    cls=_Zerog,
    name="zerog",
    help="Provable LLM inference on 0G: discover, fund, call, verify.",
    epilog="Exit codes: 0 done, 1 error, 2 usage or not confirmed, 3 could not be verified, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from zg_core import __version__

        sys.stdout.write(f"zerog {__version__}\n")
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Provable LLM inference on 0G: discover, fund, call, verify."""


def app() -> None:
    """Run the command line of this process and exit."""
    cli(prog_name="zerog")
