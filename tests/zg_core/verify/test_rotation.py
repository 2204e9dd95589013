"""The enclave's key changes in mid-session: what the chain says then, and whether it can be asked, decides."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core import AsyncChatClient, ChatClient, NotAcknowledged, VerificationFailed, VerificationUnavailable
from zg_core.localnet import LocalNet, LocalProvider, ProviderSpec
from zg_core.verify import Reason, Status

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


@dataclass
class Node:
    """An RPC endpoint in front of the network's own: it can be down, or something happens before it answers."""

    url: str
    down: bool = False
    before: Callable[[], None] | None = None


@contextmanager
def node_before(target: str) -> Iterator[Node]:
    node = Node("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if node.down:
                self.close_connection = True
                return
            if node.before is not None:
                node.before()
            request = urllib.request.Request(target, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                content = answer.read()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    node.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield node
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Session:
    """A client that has made a call, so that it knows the provider's record of before."""

    node: Node
    provider: LocalProvider
    ask: Callable[[], Any]  # one more call; the receipt


@pytest.fixture(scope="module")
def own_net() -> Iterator[LocalNet]:
    with LocalNet(providers=[ProviderSpec(model="chat-ml")]) as network:
        network.open_account(network.wallet, network.providers[0])
        yield network


@pytest.fixture
def session(own_net: LocalNet, caller: Any) -> Iterator[Session]:
    snapshot = own_net.snapshot()
    provider = own_net.providers[0]
    with node_before(own_net.rpc_url) as node:
        options: dict[str, Any] = {
            "provider": provider.address,
            "private_key": own_net.wallet.private_key,
            "network": "local",
            "rpc_url": node.url,
            "verify": "require",
            "environ": {},
            "record_age": 60,  # so that the record in hand is the one before the rotation
        }
        if not caller.loop:
            client = ChatClient(**options)

            def ask() -> Any:
                return caller.call(options, QUESTION, client).receipt

            assert ask().verdict.satisfies("verified")
            yield Session(node, provider, ask)
            client.close()
        else:
            with asyncio.Runner() as runner:
                async_client = AsyncChatClient(**options)

                async def ask_async() -> Any:
                    if not caller.stream:
                        return (await async_client.create(QUESTION)).receipt
                    stream = async_client.stream(QUESTION)
                    _ = [event async for event in stream]
                    return stream.receipt

                assert runner.run(ask_async()).verdict.satisfies("verified")
                yield Session(node, provider, lambda: runner.run(ask_async()))
                runner.run(async_client.close())
    own_net.revert(snapshot)


def test_a_new_acknowledged_key_is_read_from_chain_and_verified(session):
    before = session.provider.tee_signer
    session.provider.rotate_signer(acknowledged=True)
    verdict = session.ask().verdict
    assert verdict.status is Status.VERIFIED, verdict
    assert verdict.expected_signer == verdict.recovered_signer == session.provider.tee_signer != before


def test_with_the_rpc_down_at_that_moment_nobody_is_accused(session):
    session.provider.rotate_signer(acknowledged=True)
    session.node.down = True
    with pytest.raises(VerificationUnavailable) as caught:
        session.ask()
    verdict = caught.value.receipt.verdict
    assert (verdict.status, verdict.reason) == (Status.UNAVAILABLE, Reason.RECORD_UNREADABLE)
    assert verdict.recovered_signer == session.provider.tee_signer
    assert caught.value.text, "the paid answer is lost"


def test_the_rpc_coming_back_the_next_call_is_verified(session):
    session.provider.rotate_signer(acknowledged=True)
    session.node.down = True
    with pytest.raises(VerificationUnavailable):
        session.ask()
    session.node.down = False
    assert session.ask().verdict.satisfies("verified")


def test_a_new_key_that_the_owner_takes_back_meanwhile_is_refused(session):
    session.provider.rotate_signer(acknowledged=True)
    session.node.before = session.provider.revoke_acknowledgement  # after the answer, before the record is read again
    with pytest.raises(VerificationFailed) as caught:
        session.ask()
    assert caught.value.code == "signer_not_acknowledged", caught.value
    assert caught.value.receipt.verdict.recovered_signer == session.provider.tee_signer
    assert caught.value.text


def test_an_owner_who_revokes_in_mid_session_ends_it_before_a_prompt_is_billed(session):
    session.provider.revoke_acknowledgement()
    billed = len(session.provider.log)
    with pytest.raises(NotAcknowledged):
        session.ask()
    assert len(session.provider.log) == billed
