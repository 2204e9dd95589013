"""``zerog providers``: who serves what, at which price, and how much of it can be proven."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from zg_core.cli.terminal.options import Provider, amount_of, command, parse_kind
from zg_core.cli.terminal.output import money
from zg_core.cli.terminal.run import Run
from zg_core.errors import ZeroGError
from zg_core.http.transport import run as drive
from zg_core.money import Amount
from zg_core.tasks.models import ModelInfo
from zg_core.types import Kind, ServiceRecord

__all__ = ["models", "providers"]

# What a price is for, where it is not a token (0g-direct §4.7, §8).
_PER_PIECE = {"text-to-image": "image", "image-editing": "image", "speech-to-text": "second", "video": "second"}
_MILLION = 10**6
_MAX_BYTES = 5 * 1024 * 1024
_SECONDS = 10.0  # 0g-direct §1.3


@command
def providers(
    run: Run,
    model: Annotated[str | None, typer.Option(help="Only models whose name contains this.")] = None,
    kind: Annotated[
        list[Kind] | None,
        typer.Option(
            metavar="KIND", parser=parse_kind, help=f"Only this kind: {', '.join(Kind)}. May be given several times."
        ),
    ] = None,
    max_price: Annotated[
        str | None,
        typer.Option(metavar="AMOUNT", help="Only where a million tokens, in or out, cost at most this many 0G."),
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Show those, too, whose signer the contract owner has not acknowledged.")
    ] = False,
    health: Annotated[bool, typer.Option("--health", help="Ask the network's status service how they are.")] = False,
    status_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", envvar="ZEROG_STATUS_URL", show_envvar=False, help="Status service, for networks without."
        ),
    ] = None,
) -> None:
    """List the providers on chain, the strongest kind and the lowest price first. Needs no wallet."""
    most = None if max_price is None else amount_of(max_price, name="--max-price")
    with run.public() as broker:
        with run.out.waiting("reading the providers"):
            found = broker.services()
        chosen = [each for each in found if _wanted(each, model, kind, most)]
        shown = [each for each in chosen if each.acknowledged or everyone]
        shown.sort(key=lambda each: (-each.kind.strength, each.output_price, each.input_price, each.provider))
        states: dict[str, str] | None = None
        if health:
            with run.out.waiting("asking the status service"):
                states = _health(run, status_url or broker.network.status_url, broker.transport)
        network = broker.network
    _show(run, shown, states)
    if len(shown) < len(chosen):
        run.out.note(f"{len(chosen) - len(shown)} not acknowledged by the contract owner, so not usable: see --all")
    if not shown:
        run.out.note(f"none of the {len(found)} services on {network.name} is like that" if found else "no services")
    if most is not None and any(each.usd_priced for each in shown):
        run.out.warn("some bill in USD (marked $): what the chain says is not what they charge")
    run.out.document(
        {
            "network": network.name,
            "chain_id": network.chain_id,
            "providers": [_json(each, states) for each in shown],
            "on_chain": len(found),
        }
    )


@command
def models(run: Run, provider: Provider) -> None:
    """List what a provider serves, in its own words. Needs no wallet, and nothing of it is proven."""
    from zg_core.backends.direct.catalogue import Catalogue

    with run.public() as broker, run.out.waiting("asking the provider"):
        service = broker.service(provider)
        catalogue = Catalogue(broker.transport)
        found = [drive(catalogue.info(service, name)) for name in drive(catalogue.names(service))]
    rows = [
        [
            each.model,
            "-" if each.context_window is None else each.context_window,
            "-" if each.max_output_tokens is None else each.max_output_tokens,
            ", ".join(sorted(each.inputs)) or "-",
            ", ".join(sorted(each.outputs)) or "-",
            ", ".join(sorted(each.capabilities)) or "-",
        ]
        for each in found
    ]
    headings = ["model", "context", "longest answer", "reads", "writes", "takes"]
    run.out.table(headings, rows, rank=headings, prose="takes")
    if service.model not in [each.model for each in found]:
        run.out.note(f"on chain it is called {service.model}")
    run.out.document({"provider": provider, "on_chain": service.model, "models": [_model_json(each) for each in found]})


def _model_json(info: ModelInfo) -> dict[str, Any]:
    return {
        "model": info.model,
        "type": info.service_type,
        "context_window": info.context_window,
        "max_output_tokens": info.max_output_tokens,
        "inputs": sorted(info.inputs),
        "outputs": sorted(info.outputs),
        "parameters": sorted(info.capabilities),
    }


def _wanted(service: ServiceRecord, model: str | None, kinds: Iterable[Kind] | None, most: Amount | None) -> bool:
    if model is not None and model.lower() not in service.model.lower():
        return False
    if kinds and service.kind not in kinds:
        return False
    if most is None:
        return True
    dearest = max(service.input_price, service.output_price) * _MILLION
    return service.service_type not in _PER_PIECE and dearest <= most.units


def _show(run: Run, services: list[ServiceRecord], states: dict[str, str] | None) -> None:
    headings = ["provider", "model", "type", "kind", "prompt", "price in", "price out"]
    plain_headings = [*headings, *(["health"] if states is not None else [])]
    everyone = all(service.acknowledged for service in services)
    rows = []
    for service in services:
        row = [
            service.provider,
            service.model + (" and more" if service.multi_model else ""),
            service.service_type,
            str(service.kind),
            str(service.kind.prompt),
            _price(service, service.input_price),
            _price(service, service.output_price),
            *([states.get(service.provider.lower(), "unknown")] if states is not None else []),
            *([] if everyone else ["yes" if service.acknowledged else "no"]),
        ]
        rows.append(row)
    if rows:
        headings = [*plain_headings, *([] if everyone else ["acknowledged"])]
        run.out.table(headings, rows, rank=["provider", "model", "price out", "price in", "kind", "health"])


def _price(service: ServiceRecord, price: int) -> str:
    if not price:
        return "-"
    piece = _PER_PIECE.get(service.service_type)
    amount = Amount(price if piece else price * _MILLION)
    return f"{amount}/{piece or '1M tokens'}" + (" $" if service.usd_priced else "")


def _json(service: ServiceRecord, states: dict[str, str] | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "provider": service.provider,
        "model": service.model,
        "multi_model": service.multi_model,
        "type": service.service_type,
        "kind": str(service.kind),
        "prompt": str(service.kind.prompt),
        "acknowledged": service.acknowledged,
        "tee_signer": service.tee_signer,
        "url": service.url,
        "input_price": money(Amount(service.input_price)),
        "output_price": money(Amount(service.output_price)),
        "price_unit": _PER_PIECE.get(service.service_type, "token"),
        "priced_in_usd": service.usd_priced,
    }
    if states is not None:
        facts["health"] = states.get(service.provider.lower(), "unknown")
    return facts


def _health(run: Run, url: str, transport: Any) -> dict[str, str]:
    """Health by provider address in lower case; nothing, and a warning, if the status service cannot tell."""
    from zg_core.config import check_url
    from zg_core.http.bodies import BodyBroken
    from zg_core.http.messages import Request, read_all
    from zg_core.http.timeouts import Timeouts
    from zg_core.jsontext import parse_json

    if not url:
        run.out.warn("health is unknown: this network has no status service; name one with --status-url")
        return {}

    async def ask() -> tuple[int, bytes]:
        base = check_url(url, "the status URL", private=True)
        request = Request("GET", f"{base}/health", timeouts=Timeouts(_SECONDS, _SECONDS, whole=_SECONDS), public=False)
        response = await transport.send(request)
        return response.status, await read_all(response, _MAX_BYTES)

    try:
        status, body = drive(ask())
        services = parse_json(body)["services"] if status == 200 else None
        if not isinstance(services, list):
            raise TypeError(f"HTTP {status}")
        return {
            str(entry["provider"]).lower(): str(entry.get("status", "unknown"))
            for entry in services
            if isinstance(entry, dict) and "provider" in entry
        }
    except (ZeroGError, BodyBroken, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = error.message if isinstance(error, ZeroGError) else f"it answers junk ({error})"
        run.out.warn(f"health is unknown: {reason}")
        return {}
