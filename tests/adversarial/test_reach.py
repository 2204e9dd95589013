"""A record on chain points at the victim's own machine: no part of the package sends a byte there.

The chain here is no local network: it has another name, or its RPC endpoint is not on 127.0.0.1. The controls dial the
same URL on the same chain, where that is what the user asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.adversarial.test_hostile import register
from tests.zg_core.cli.running import Zerog
from zg_core import AsyncChatClient, Broker, ChatClient, Network, Routing, async_openai_client, og, openai_client
from zg_core.backends.direct.audit.anchors import resolve_late
from zg_core.backends.direct.audit.charges import read_charges
from zg_core.backends.direct.money.funding import AutoFunding, Funder
from zg_core.compare import compare
from zg_core.errors import ZeroGError
from zg_core.http.transport import run
from zg_core.localnet import LocalNet
from zg_core.receipts.stored import ReceiptStore
from zg_core.store import Store
from zg_core.verify.attestation import attest
from zg_core.verify.verdict import Reason, Status, Verdict

MODEL = "hostile"
ASK = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 20}
NAME = "provider.example"


class Admin:
    """Something on the victim's machine that trusts whoever connects; it counts connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                self.heard.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def admin() -> Iterator[Admin]:
    made = Admin()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _resolving(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NAME` is the attacker's; its DNS says 127.0.0.1."""
    genuine = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        return genuine("127.0.0.1" if host in (NAME, NAME.encode()) else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0,))


@dataclass
class Trap:
    """A provider whose record leads to `admin`, and a chain that is no local network."""

    net: LocalNet
    address: str
    network: Network
    store: str

    @property
    def settings(self) -> dict[str, Any]:
        return {"private_key": self.net.wallet.private_key, "network": self.network}

    @property
    def called(self) -> dict[str, Any]:
        return {**self.settings, "provider": self.address, "max_retries": 0}


URLS = {"address": "http://127.0.0.1:{port}", "name that leads here": f"https://{NAME}:{{port}}"}
FORMS = {
    "address, https": "https://127.0.0.1:{port}/admin",
    "name of this machine": "https://localhost:{port}",
    "IPv6 form": "https://[::ffff:127.0.0.1]:{port}",
    "number": "https://2130706433:{port}",
    "query": "http://127.0.0.1:{port}/admin?x=",
    "fragment": "http://127.0.0.1:{port}/admin#",
    "user name": "http://admin@127.0.0.1:{port}",
}


@pytest.fixture(params=URLS.values(), ids=URLS)
def trap(request: pytest.FixtureRequest, net: LocalNet, admin: Admin, tmp_path: Path) -> Iterator[Trap]:
    snapshot = net.snapshot()
    address = register(net, url=request.param.format(port=admin.port), model=MODEL)
    net.open_account(net.wallet, address)
    own = Network("own", 31337, net.rpc_url, net.ledger, net.inference)
    yield Trap(net, address, own, f"sqlite:///{tmp_path / 'store.db'}")
    net.revert(snapshot)


def _core(trap: Trap) -> None:
    with ChatClient(**trap.called, environ={}) as client:
        client.create(ASK)


def _core_stream(trap: Trap) -> None:
    with ChatClient(**trap.called, environ={}) as client:
        list(client.stream(ASK))


def _core_async(trap: Trap) -> None:
    async def work() -> None:
        async with AsyncChatClient(**trap.called, environ={}) as client:
            await client.create(ASK)

    asyncio.run(work())


def _core_given(trap: Trap) -> None:
    from zg_core.http.library import library

    given = library().Client(trust_env=False, verify=False)
    with given, ChatClient(**trap.called, environ={}, http_client=given) as client:
        client.create(ASK)


def _another_model(trap: Trap) -> None:
    with ChatClient(**trap.called, model="another", environ={}) as client:
        client.create(ASK)


def _routed(trap: Trap) -> None:
    with ChatClient(**trap.settings, model=MODEL, environ={}, max_retries=0, routing=Routing(require=["tools"])) as c:
        assert MODEL in str(c.explain())
        c.create(ASK)


def _model_info(trap: Trap) -> None:
    with ChatClient(**trap.settings, model=MODEL, environ={}) as client:
        for service in client.services():
            if service.provider == trap.address:
                client.model_info(service=service)


def _attested(trap: Trap) -> None:
    with Broker.read_only(network=trap.network, environ={}) as broker:
        run(attest(broker.service(trap.address), broker.transport, level=3))


def _demands_attestation(trap: Trap) -> None:
    with ChatClient(**trap.called, attest=2, environ={}) as client:
        client.create(ASK)


def _funded(trap: Trap) -> None:
    plan = AutoFunding(max_total=og("4"), max_per_provider=og("4"))
    with Broker(**trap.settings, store="memory:", environ={}) as broker:
        Funder(broker, plan, [trap.address]).look()


def _audited(trap: Trap) -> None:
    with Broker(**trap.settings, store="memory:", environ={}) as broker:
        run(read_charges(broker.core, broker.transport, broker.address, [trap.address]))


def _late(trap: Trap) -> None:
    """A pending receipt of an honest call, whose provider has moved since, in the receipt as on chain."""
    honest = trap.net.providers[0]
    with ChatClient(
        private_key=trap.net.wallet.private_key, provider=honest.address, network="local", rpc_url=trap.net.rpc_url,
        store=trap.store, verify="off", environ={},
    ) as client:  # fmt: skip
        receipt = client.create(ASK).receipt
    stored = ReceiptStore(Store.open(trap.store))
    with Broker.read_only(network=trap.network, environ={}) as broker:
        receipt.service = broker.service(trap.address)
        receipt.provider = trap.address
        receipt.verdict = Verdict(Status.UNAVAILABLE, Reason.NO_SIGNATURE, receipt.kind)
        stored.append(receipt)
        assert run(resolve_late(stored, broker.core.chain, broker.transport))


def _compared(trap: Trap) -> None:
    compare([trap.address], ["hi"], **trap.settings, budget="1", cache=None, environ={})


def _openai(trap: Trap) -> None:
    client = openai_client(**trap.called, environ={})
    with contextlib.suppress(openai.APIConnectionError):  # what openai 2 makes of our error
        client.chat.completions.create(model=MODEL, messages=ASK["messages"])  # type: ignore[arg-type]


def _openai_async(trap: Trap) -> None:
    async def work() -> None:
        client = async_openai_client(**trap.called, environ={})
        with contextlib.suppress(openai.APIConnectionError):
            await client.chat.completions.create(model=MODEL, messages=ASK["messages"])  # type: ignore[arg-type]

    asyncio.run(work())


def _langchain(trap: Trap) -> None:
    from langchain_zerog import ChatZeroG

    with ChatZeroG(**trap.called) as model:
        with contextlib.suppress(ZeroGError):
            model.load_profile()
        model.invoke("hi")


def _llama_index(trap: Trap) -> None:
    from llama_index_zerog import ZeroG

    with ZeroG(**trap.called) as model:
        with contextlib.suppress(ZeroGError):
            _ = model.metadata
        model.complete("hi")


FACES: dict[str, Callable[[Trap], None]] = {
    name.strip("_"): face
    for name, face in list(globals().items())
    if getattr(face, "__annotations__", {}).get("trap") == "Trap"
}


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
def test_no_part_of_the_package_dials_it(
    trap: Trap, admin: Admin, face: Callable[[Trap], None], tally: Callable[..., None]
) -> None:
    with warnings.catch_warnings(), contextlib.suppress(ZeroGError):
        warnings.simplefilter("ignore")
        face(trap)
    assert admin.heard == []
    tally("URL of a record leads to the victim", tried=1, caught=1)


@pytest.mark.parametrize("trap", FORMS.values(), ids=FORMS, indirect=True)
@pytest.mark.parametrize("face", [_core, _langchain, _attested, _funded])
def test_whatever_its_url_looks_like(
    trap: Trap, admin: Admin, face: Callable[[Trap], None], tally: Callable[..., None]
) -> None:
    test_no_part_of_the_package_dials_it(trap, admin, face, tally)


@pytest.mark.parametrize("way", ["argument", "network", "environment"])
def test_people_who_run_their_own_provider_say_so(trap: Trap, admin: Admin, way: str) -> None:
    """The control: the very same records are dialled."""
    called, environ = trap.called, {}
    if way == "argument":
        called["allow_private_providers"] = True
    elif way == "network":
        called["network"] = replace(trap.network, allow_private_providers=True)
    else:
        names = {"ZEROG_RPC_URL": trap.net.rpc_url, "ZEROG_NETWORK": "elsewhere"}
        called["network"], environ = "elsewhere", {**names, "ZEROG_ALLOW_PRIVATE_PROVIDERS": "1"}
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(ZeroGError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr("zg_core.config.NETWORKS", {"elsewhere": replace(trap.network, name="elsewhere")})
        with ChatClient(**called, environ=environ) as client:
            client.create(ASK)
    assert admin.heard


class Relay:
    """The chain's RPC endpoint at 127.0.0.2, which no local network is at."""

    def __init__(self, to: str) -> None:
        host, _, port = to.partition("://")[2].partition(":")
        self._to = host, int(port)
        self._listener = socket.create_server(("127.0.0.2", 0))
        self.url = f"http://127.0.0.2:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                inward, _ = self._listener.accept()
            except OSError:
                return
            outward = socket.create_connection(self._to)
            for source, sink in ((inward, outward), (outward, inward)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()

    def stop(self) -> None:
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def zerog(trap: Trap, tmp_path: Path) -> Iterator[Zerog]:
    relay = Relay(trap.net.rpc_url)
    environ = {
        "ZEROG_HOME": str(tmp_path / "home"),
        "ZEROG_NETWORK": "local",
        "ZEROG_RPC_URL": relay.url,
        "ZEROG_PRIVATE_KEY": trap.net.wallet.private_key,
    }
    yield Zerog(environ, [trap.net.wallet.private_key])
    relay.stop()


def test_the_command_line_dials_it_only_when_it_is_told_to(
    trap: Trap, admin: Admin, zerog: Zerog, tmp_path: Path, tally: Callable[..., None]
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("hi\n")
    commands = [
        ("verify", trap.address),
        ("chat", "--provider", trap.address, "hi"),
        ("chat", "--model", MODEL, "hi"),
        ("compare", "--models", MODEL, "--prompts", str(prompts), "--budget", "1", "--yes"),
    ]
    for words in commands:
        zerog(*words, ok=False)
    zerog("settlements")
    zerog("account")
    assert admin.heard == []
    tally("URL of a record leads to the victim", tried=len(commands), caught=len(commands))
    zerog("verify", trap.address, "--allow-private-providers", ok=False)
    assert admin.heard
