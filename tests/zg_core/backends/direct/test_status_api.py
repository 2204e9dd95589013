"""The status API: asked rarely, beside the calls, and of no consequence when it fails."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import PATIENCE
from tests.zg_core import raw_server
from tests.zg_core.hand_clock import Clock
from tests.zg_core.raw_server import CLOSE, STALL
from zg_core import ChatClient, Routing
from zg_core.backends.direct.status_api import INTERVAL, STATUS, StatusApi
from zg_core.config import NETWORKS
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.routing.health import BOOK

if TYPE_CHECKING:
    from collections.abc import Iterator

A = "0x" + "aB" * 20
GIGA = 10**9


@pytest.fixture
def status(clock: Clock) -> StatusApi:
    return StatusApi(clock)


def answer(text: bytes, status: str = "200 OK") -> list[Any]:
    return [raw_server.answer(text, status)]


def entry(provider: str = A, status: Any = "critical", **more: Any) -> dict[str, Any]:
    return {"serviceType": "chatbot", "model": "m", "provider": provider, "status": status, **more}


def body(*entries: Any) -> bytes:
    return json.dumps({"services": entries}).encode()


def test_what_it_says_is_known_by_address_and_model(drive: Any, server: Any, status: StatusApi, clock: Clock) -> None:
    server.script = [answer(body(entry(), entry("0x" + "cd" * 20, "healthy", checks={})))]
    drive(lambda transport: status.ask(transport, server.url))
    assert status.known(server.url) == {(A.lower(), "m"): "critical", ("0x" + "cd" * 20, "m"): "healthy"}
    assert server.received[0].head.startswith(b"GET /health ")
    clock.now += 2 * INTERVAL
    assert status.known(server.url) == {}  # an old word is none


@pytest.mark.parametrize(
    "said",
    [
        [CLOSE],
        answer(b"", "503 Busy"),
        answer(b"<html>"),
        answer(b"[]"),
        answer(b'{"services": {"a": 1}}'),
        answer(body(None, 1, entry(status="bad"), entry(provider=1), entry(status=["critical"]))),
        answer(b"[" * 100_000),
    ],
    ids=["cut", "503", "html", "list", "no list", "junk entries", "deep"],
)
def test_a_failure_changes_nothing(drive: Any, server: Any, status: StatusApi, said: Any) -> None:
    server.script = [answer(body(entry()))]
    drive(lambda transport: status.ask(transport, server.url))
    before = dict(status.known(server.url))
    server.script = [said]
    drive(lambda transport: status.ask(transport, server.url))
    assert before
    assert status.known(server.url) in (before, {})


def test_nobody_there_is_no_error(drive: Any, status: StatusApi) -> None:
    drive(lambda transport: status.ask(transport, "http://127.0.0.1:9"))
    assert status.known("http://127.0.0.1:9") == {}


def test_one_caller_in_five_minutes_has_to_ask(status: StatusApi, clock: Clock) -> None:
    start, due = threading.Barrier(8), []

    def caller() -> None:
        start.wait()
        due.extend(status.due("http://a") for _ in range(50))

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(due) == 1
    assert status.due("http://b")
    clock.now += INTERVAL
    assert [status.due("http://a"), status.due("http://a"), status.due("")] == [True, False, False]


@pytest.fixture(scope="module")
def pair() -> Iterator[LocalNet]:
    specs = [ProviderSpec(model="m", input_price=n * GIGA, output_price=n * GIGA) for n in (1, 2)]
    with LocalNet(providers=specs) as network:
        for one in network.providers:
            network.open_account(network.wallet, one, 20 * 10**18)
        yield network


@pytest.fixture
def client(pair: LocalNet, server: Any) -> Iterator[Any]:
    BOOK.clear()
    network = replace(
        NETWORKS["local"],
        chain_id=pair.chain_id,
        rpc_url=pair.rpc_url,
        ledger=pair.ledger,
        inference=pair.inference,
        status_url=server.url,
    )
    with ChatClient(
        network=network, private_key=pair.wallet.private_key, model="m", routing=Routing(), environ={}
    ) as made:
        yield made
    BOOK.clear()


ASK = {"messages": [{"role": "user", "content": "What is 2 + 3?"}]}


def test_a_provider_that_it_calls_critical_comes_last_until_we_know_better(
    pair: LocalNet, client: Any, server: Any
) -> None:
    first, second = (one.address for one in pair.providers)
    server.script = [answer(body(entry(first)))]
    explanation = client.explain()  # not a call: it waits for the answer
    assert [one.service.provider for one in explanation] == [second, first]
    assert "the status API calls it critical" in str(explanation)
    assert client.create(ASK).receipt.provider == second
    pair.providers[1].fault("unavailable", times=1)
    assert client.create(ASK).receipt.provider == first  # it answers all the same
    BOOK.of(f"eip155:{pair.chain_id}", second).began()
    assert client.create(ASK).receipt.provider == first
    assert len(server.received) == 1


def test_a_call_does_not_wait_for_it(pair: LocalNet, client: Any, server: Any) -> None:
    server.script = [[STALL]]
    assert client.create(ASK).receipt.provider == pair.providers[0].address
    assert server.arrived.wait(PATIENCE)  # it was asked, beside the call, and has not answered
    assert STATUS.known(server.url) == {}
