"""Cloudflare's codes in front of a provider that has served and will bill (Windup#269, claude-code#3197 and #16737).

A 522 never reached the origin, a 524 did: what is recorded, and what does the budget hold?
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cases.chain.field import Expectations, attempt, network_of, told
from tests.cases.chain.gateway import Gateway, behind
from zg_core import Budget, ChatClient, og
from zg_core.localnet import LocalNet
from zg_core.store import Store

CODES = {
    408: "Request Timeout", 413: "Payload Too Large", 499: "Client Closed", 500: "Internal Server Error",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout", 520: "Unknown Error",
    521: "Web Server Is Down", 522: "Connection Timed Out", 523: "Origin Unreachable", 524: "A Timeout Occurred",
    525: "SSL Handshake Failed", 529: "Overloaded", 530: "Origin DNS error", 403: "Just a moment...",
}  # fmt: skip
UNKNOWN = (408, 499, 500, 502, 504, 520, 524, 529)
UNREACHED = (521, 522, 523, 525, 530)


@pytest.mark.parametrize("status", CODES)
def test_what_a_code_of_a_gateway_leaves_behind(
    status: int, net: LocalNet, expect: Expectations, tmp_path: Path
) -> None:
    page = f"<!DOCTYPE html><html><title>{status}: {CODES[status]}</title></html>".encode()

    def alter(_method: str, path: str, *_: Any) -> bytes | None:
        if not path.endswith("/chat/completions"):
            return None
        head = (
            f"HTTP/1.1 {status} {CODES[status]}\r\nServer: cloudflare\r\nCF-RAY: 8a-AMS\r\nContent-Type: text/html\r\n"
        )
        return f"{head}Content-Length: {len(page)}\r\n\r\n".encode() + page

    store = Store(f"sqlite:///{tmp_path}/store.db")
    with Gateway(net.providers[0].url, alter) as gateway, behind(net, gateway) as node:
        options: dict[str, Any] = {"provider": net.providers[0].address, "private_key": net.wallet.private_key}
        options |= {"network": network_of(net, node.url), "verify": "warn", "limits": None, "environ": {}}
        with ChatClient(**options, max_retries=0, budget=Budget(per_day=og("1")), store=store) as client:
            question = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
            _, error = attempt(lambda: client.create(question))
            assert client.stored is not None
            kept = client.stored.select()
    with store.transaction() as work:
        held = [int(row["units"]) for row in work.all("SELECT units FROM budget_holds")]
        totals = [int(row["units"]) for row in work.all("SELECT units FROM budget_totals")]
    store.close()
    seen = f"{error and told(error)} receipts={kept} holds={held} totals={totals}"
    expect("every request that left is on record", len(kept) == gateway.prompts() == 1, seen)
    expect("the message is not the page", "<html" not in str(error).lower(), seen)
    counted = any(totals) or any(held)
    if status in UNKNOWN:
        expect("may have been billed: held in the budget, and told as unknown", counted, seen)
        expect("not to be tried again", not getattr(error, "retryable", True), seen)
        expect("outcome unknown", [each.outcome for each in kept] == ["unknown"], seen)
    else:
        expect("refused or never reached: nothing is held", not counted, seen)
        expect("outcome refused", [each.outcome for each in kept] == ["refused"], seen)
    if status in UNREACHED:
        expect("never reached the provider: says so, retryable", getattr(error, "retryable", False), seen)
