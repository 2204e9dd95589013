"""``zerog token`` and ``zerog chat``: the key to a provider's door, and one question with its receipt."""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from zg_core.backends.direct.changes import CHANGES
from zg_core.backends.registry import BACKENDS
from zg_core.cli.terminal.failures import Interrupted
from zg_core.cli.terminal.options import MostSpent, budget_of, command, parse_provider
from zg_core.cli.terminal.output import Output, money
from zg_core.cli.terminal.run import Run
from zg_core.cli.terminal.trust import local_attestation
from zg_core.client import ChatClient
from zg_core.errors import VerificationFailed, VerificationWarning, ZeroGError
from zg_core.receipts.model import Receipt
from zg_core.verify.verdict import Status

__all__ = [
    "MODES",
    "Model",
    "OptionalProvider",
    "chat",
    "check_mode",
    "expect_lag",
    "settle_verdict",
    "show_receipt",
    "token",
    "told",
]

MODES = ("off", "warn", "require")
_BACKGROUND_SECONDS = 120.0
OptionalProvider = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", parser=parse_provider, help="Provider address; default ZEROG_PROVIDER."),
]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Model; alone, a funded provider of it is chosen.")]


@command
def token(run: Run, provider: OptionalProvider = None, model: Model = None) -> None:
    """Print a session token for a provider: the API key to give to an OpenAI client. It is a secret, valid for 24 h."""
    with run.client(provider=provider, model=model) as client, run.out.waiting("reading the account"):
        from zg_core.backends.direct.session import read_token

        secret, service = client.token(), client.service()
        claims = read_token(secret)
    until = (
        datetime.fromtimestamp(claims.expires_at / 1000, UTC).isoformat(timespec="seconds")
        if claims.expires_at
        else None
    )
    run.out.line(secret.reveal())
    run.out.note(
        f"this is a secret: whoever has it can spend the sub-account at {service.provider}"
        + (f" until {until}" if until else "; it never expires")
    )
    run.out.note(f"base URL: {service.url}")
    run.out.document(
        {
            "token": secret.reveal(),
            "provider": service.provider,
            "base_url": service.url,
            "address": claims.address,
            "token_id": claims.token_id,
            "expires_at": until,
        }
    )


def _parse_backend(text: str) -> str:
    if text not in BACKENDS:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(BACKENDS)}")
    return text


@command
def chat(
    run: Run,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The question; - or nothing reads it from stdin.")
    ] = None,
    provider: OptionalProvider = None,
    model: Model = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(BACKENDS)}; default what ZEROG_API_KEY is for, else ZEROG_BACKEND, else direct.",
            parser=_parse_backend,
            autocompletion=lambda: list(BACKENDS),
        ),
    ] = None,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Print the answer as it comes (default without --json).")
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="With --stream, print nothing before the verdict.")] = False,
    verify: Annotated[
        str | None, typer.Option(metavar="MODE", help=f"{', '.join(MODES)}; default ZEROG_VERIFY, else warn.")
    ] = None,
    minimum: Annotated[
        str | None, typer.Option(metavar="VERDICT", help="Least verdict that will do: verified (default), …")
    ] = None,
    accept_model: Annotated[
        list[str] | None,
        typer.Option(metavar="ASKED=FORWARDED", help="The provider's name stands for the model asked for; repeatable."),
    ] = None,
    nonce: Annotated[
        bool, typer.Option("--nonce", help="Make the request unlike any other, so that no old answer can fit it.")
    ] = False,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="Encrypt to the provider's attested enclave; never sent in the clear.")
    ] = False,
    local_root: Annotated[
        bool,
        typer.Option("--local-root", help="Local network: believe in its made-up hardware, for --sealed."),
    ] = False,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")] = None,
    budget: MostSpent = None,
) -> None:
    """Ask one question. The answer goes to stdout; chat id, fee and verdict to stderr.

    It is paid from the sub-account at the provider, without asking. Exit code 1 if the evidence contradicts the
    answer, 3 if less was proven than --minimum asks for.
    """
    check_mode(verify)
    text = _question(prompt)
    payload: dict[str, Any] = {"messages": [{"role": "system", "content": system}] if system else []}
    payload["messages"].append({"role": "user", "content": text})
    if max_tokens is not None:
        payload["max_tokens"] = max_tokens
    as_it_comes = not run.out.as_json if stream is None else stream
    options: dict[str, Any] = {
        "verify": verify,
        "stream": "hold" if hold else None,
        "minimum": minimum,
        "accept_models": _renames(accept_model or []),
        "nonce": nonce,
        "backend": backend,
        "sealed": sealed,
        "attestation": local_attestation(run) if local_root else None,
        "budget": budget_of(budget),
    }
    receipts: list[Receipt] = []
    with run.client(provider=provider, model=model, on_receipt=receipts.append, **options) as client:
        if sealed and not local_root and client.network.is_local:
            run.out.note("the hardware of a local network is made up: --local-root believes in it")
        with told(run.out, receipts):
            expect_lag(client)
            answer = _streamed(run.out, client, payload) if as_it_comes else _whole(run.out, client, payload)
        receipt = receipts[-1]
        settle_verdict(client, receipt, answer)
        ended(run, client, receipt, {"answer": answer})


def check_mode(verify: str | None) -> None:
    """Refuse a value of ``--verify`` that is none.

    Raises:
        typer.BadParameter: it is none.
    """
    if verify is not None and verify not in MODES:
        raise typer.BadParameter(f"{verify!r} is none of {', '.join(MODES)}", param_hint="--verify")


@contextmanager
def told(out: Output, receipts: Sequence[Receipt]) -> Iterator[None]:
    """Show the receipt of a call that goes wrong; the verdict is shown in any case, so no warning is.

    Args:
        out: Where it is shown.
        receipts: Of the calls that left so far.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VerificationWarning)
            yield
    except ZeroGError as error:
        if error.receipt is not None:
            show_receipt(out, error.receipt)
        raise
    except KeyboardInterrupt:  # it left, so it may be billed
        if not receipts:
            raise
        show_receipt(out, receipts[-1])
        raise Interrupted("interrupted", receipt=receipts[-1]) from None


def ended(run: Run, client: ChatClient, receipt: Receipt, said: dict[str, Any]) -> None:
    """Show what the call cost and what was proven; exit code 3 if that is less than was asked for."""
    show_receipt(run.out, receipt)
    run.out.document(
        {
            **said,
            "model": receipt.model,
            "provider": receipt.provider,
            "chat_id": receipt.chat_id,
            "fee": money(receipt.fee.amount),
            "verdict": str(receipt.verdict.status),
            "receipt": receipt.to_dict(),
        }
    )
    if client.policy.mode != "off" and client.policy.demand.objects(receipt):
        raise typer.Exit(3)


def expect_lag(client: ChatClient) -> None:
    """Let the client wait for a provider that has not yet seen a transfer, which another process of `zerog` sent.

    The client has read the chain before it asks, so a provider that sees less than the chain holds is behind.
    """
    if client.backend.name == "direct":
        CHANGES.note(client.network.chain_id, client.backend.payer, client.service().provider)


def _renames(pairs: list[str]) -> dict[str, str] | None:
    for pair in pairs:
        if not all(pair.partition("=")):
            raise typer.BadParameter(f"{pair!r} is not ASKED=FORWARDED", param_hint="--accept-model")
    return dict(pair.split("=", 1) for pair in pairs) or None


def _question(prompt: str | None) -> str:
    if prompt is None and sys.stdin.isatty():
        raise typer.BadParameter("nothing to ask: give a PROMPT, or pipe one in", param_hint="PROMPT")
    text = sys.stdin.read() if prompt in (None, "-") else prompt
    if not text or not text.strip():
        raise typer.BadParameter("the question is empty", param_hint="PROMPT")
    return text


def _whole(out: Output, client: ChatClient, payload: dict[str, Any]) -> str:
    with out.waiting("waiting for the answer"):
        text = client.create(payload).text
    if not out.as_json:
        out.raw(text + "\n")
    return text


def _streamed(out: Output, client: ChatClient, payload: dict[str, Any]) -> str:
    pieces: list[str] = []
    stream = client.stream(payload)
    waiting = out.waiting("waiting for the answer")
    waiting.__enter__()
    try:
        for event in stream:
            for choice in event.get("choices") or ():
                piece = (choice.get("delta") or {}).get("content")
                if not isinstance(piece, str) or not piece:
                    continue
                if not pieces:
                    waiting.__exit__(None, None, None)
                pieces.append(piece)
                if not out.as_json:
                    out.raw(piece)
    finally:
        if not pieces:
            waiting.__exit__(None, None, None)
        elif not out.as_json:
            out.raw("\n")
        stream.close()
    return "".join(pieces)


def settle_verdict(client: ChatClient, receipt: Receipt, answer: str) -> None:
    """With the policy ``background``, wait for the verdict all the same: the process ends here."""
    if client.policy.mode != "background":
        return  # the client has judged
    verdict = receipt.resolve(_BACKGROUND_SECONDS)
    if verdict.status is Status.FAILED:
        message = f"do not trust this reply of {receipt.provider}: {verdict.explain()}"
        raise VerificationFailed(message, code=str(verdict.reason), receipt=receipt, text=answer)


def show_receipt(out: Output, receipt: Receipt) -> None:
    """What a call cost and what was proven, on stderr."""
    fee = receipt.fee
    out.note(f"chat id  {receipt.chat_id or '-'}")
    out.note(f"provider {receipt.provider} ({receipt.model}, {receipt.kind})")
    out.note(f"fee      {fee.amount if fee.exact else fee.bounds}")
    out.note(f"verdict  {receipt.verdict}: {receipt.verdict.explain()}")
