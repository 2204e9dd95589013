"""Keys and tokens are in no text and no local variable of any error that the package can raise, through every face.

The provider here repeats the token that it was sent, in whatever form. What is looked through is what an error reporter
records: the texts of an error and of all that led to it, and the locals of every frame but those of this file.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import threading
import traceback
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.adversarial.test_hostile import OWNER, register
from tests.patience import PATIENCE
from tests.zg_core.cli.running import Zerog
from zg_core import AsyncChatClient, Broker, Budget, ChatClient, async_openai_client, errors, neuron, openai_client
from zg_core.localnet import LocalNet
from zg_core.localnet.base.keys import Key
from zg_core.localnet.chain import abi

MODEL = "hostile"
ASK = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
GOOD = {"id": "chatcmpl-1", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}
PIECE = 24
KEY_PIECE = 16


@dataclass
class World:
    """A network with a provider that does as it is told, and what it was sent."""

    net: LocalNet
    address: str = ""
    tokens: set[str] = field(default_factory=set)
    answer: Callable[[str], bytes] = lambda token: b""
    signature: bytes = b"{}"
    quote: bytes = b"{}"
    url: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        where = {"network": "local", "rpc_url": self.net.rpc_url, "private_key": self.net.wallet.private_key}
        return {**where, "provider": self.address, "max_retries": 0, "timeout": PATIENCE}

    def leaks(self, text: str) -> list[str]:
        """What of the key and of the tokens a text holds, in pieces."""
        low = text.lower()
        key = self.net.wallet.private_key.removeprefix("0x").lower()
        found = ["key"] * any(key[at : at + KEY_PIECE] in low for at in range(0, len(key) - KEY_PIECE, 4))
        found += ["key in bytes"] * (repr(bytes.fromhex(key))[2:30] in text)
        for token in self.tokens:
            bare = token.removeprefix("app-sk-")
            signature = base64.b64decode(bare).decode().rpartition("|")[2].removeprefix("0x")
            # What every token of this account begins with says no more than its address.
            for name, secret in (("token", bare[90:].lower()), ("signature", signature)):
                pieces = {secret[at : at + PIECE] for at in range(len(secret) - PIECE)}
                found += [name] * any(low[at : at + PIECE] in pieces for at in range(len(low) - PIECE))
        return found


def response(body: bytes, status: str = "400 Bad Request", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def refusal(words: str, status: str = "400 Bad Request") -> bytes:
    return response(json.dumps({"error": {"message": words}}).encode(), status)


@pytest.fixture
def world(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0,))
    snapshot, made = net.snapshot(), World(net)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            token = self.headers["Authorization"].removeprefix("Bearer ")
            made.tokens.add(token)
            self.close_connection = True
            self.wfile.write(made.answer(token))

        def do_GET(self) -> None:
            self.close_connection = True
            if "authorization" in self.headers:
                made.tokens.add(self.headers["Authorization"].removeprefix("Bearer "))
            routes = {"signature": made.signature, "quote": made.quote}
            body = next((said for name, said in routes.items() if f"/{name}" in self.path), b'{"data":[]}')
            self.wfile.write(response(body, "200 OK" if body else "404 Not Found"))

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    made.address = register(net, url=made.url, model=MODEL)
    net.open_account(net.wallet, made.address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield made
    server.shutdown()
    server.server_close()
    thread.join()
    net.revert(snapshot)


# The faces: each makes one call with these settings.


def _core(settings: dict[str, Any]) -> None:
    with ChatClient(**settings, environ={}) as client:
        client.create(ASK)


def _core_stream(settings: dict[str, Any]) -> None:
    with ChatClient(**settings, environ={}) as client:
        list(client.stream(ASK))


def _core_async(settings: dict[str, Any]) -> None:
    async def work() -> None:
        async with AsyncChatClient(**settings, environ={}) as client:
            await client.create(ASK)

    asyncio.run(work())


def _openai(settings: dict[str, Any]) -> None:
    client: Any = openai_client(**settings, environ={})
    client.chat.completions.create(model=MODEL, **ASK)


def _openai_stream(settings: dict[str, Any]) -> None:
    client: Any = openai_client(**settings, environ={})
    list(client.chat.completions.create(model=MODEL, stream=True, **ASK))


def _openai_async(settings: dict[str, Any]) -> None:
    async def work() -> None:
        client: Any = async_openai_client(**settings, environ={})
        await client.chat.completions.create(model=MODEL, **ASK)

    asyncio.run(work())


def _langchain(settings: dict[str, Any]) -> None:
    from langchain_zerog import ChatZeroG

    with ChatZeroG(**settings) as model:
        model.invoke("hi")


def _langchain_async(settings: dict[str, Any]) -> None:
    from langchain_zerog import ChatZeroG

    async def work() -> None:
        async with ChatZeroG(**settings) as model:
            async for _ in model.astream("hi"):
                pass

    asyncio.run(work())


def _llama_index(settings: dict[str, Any]) -> None:
    from llama_index_zerog import ZeroG

    with ZeroG(**settings, is_function_calling_model=False, context_window=1000) as model:
        model.complete("hi")


FACES: dict[str, Callable[[dict[str, Any]], None]] = {
    name.strip("_"): face
    for name, face in list(globals().items())
    if getattr(face, "__annotations__", {}).get("settings") == "dict[str, Any]"
}


def shown(error: BaseException) -> dict[str, str]:
    """Every text that an error reporter records of `error`, by where it is."""
    texts: dict[str, str] = {}
    links, seen = [error], set()
    while links:
        link = links.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        name = type(link).__name__
        texts |= {f"{name} str": str(link), f"{name} args": repr(link.args), f"{name} vars": repr(vars(link))}
        if getattr(link, "receipt", None) is not None:
            texts[f"{name} receipt"] = json.dumps(link.receipt.to_dict())  # type: ignore[attr-defined]
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_filename != __file__:
                for local, value in frame.f_locals.items():
                    texts[f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_name}: {local}"] = repr(value)
        links += [other for other in (link.__cause__, link.__context__) if other is not None]
        links += getattr(link, "exceptions", ())
    return texts


def raised(face: Callable[[dict[str, Any]], None], settings: dict[str, Any]) -> BaseException:
    try:
        face(settings)
    except BaseException as error:
        return error
    raise AssertionError("no error was raised")


def assert_clean(world: World, error: BaseException) -> None:
    found = {where: leaks for where, text in shown(error).items() if (leaks := world.leaks(text))}
    assert found == {}, f"{type(error).__name__} shows {found}"


def test_the_sweep_finds_what_it_looks_for(world: World) -> None:
    key = world.net.wallet.private_key
    token = "app-sk-" + base64.b64encode(b'{"address":"' + b"a" * 90 + b'"}|0x' + b"5ec7e7" * 22).decode()
    world.tokens.add(token)
    for text in (key, key.upper(), repr(bytes.fromhex(key[2:])), token, token[120:160], "5ec7e7" * 8):
        assert world.leaks(text), text

    def holds(hidden: str) -> None:
        raise ValueError(len(hidden))

    here = {"__file__": "elsewhere.py"}
    exec(compile("def holds(hidden):\n    raise ValueError(len(hidden))", "elsewhere.py", "exec"), here)
    error = raised(here["holds"], key)  # type: ignore[arg-type]
    assert any(world.leaks(text) for text in shown(error).values())


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# What a provider that is no friend does with the token that it was sent.
ECHOES: dict[str, Callable[[str], bytes]] = {
    "whole": lambda token: refusal(f"cannot read Bearer {token}"),
    "without its beginning": lambda token: refusal(f"bad session: {token.removeprefix('app-sk-')}"),
    "cut off": lambda token: refusal(f"bad session: {token[7:-50]}..."),
    "its end": lambda token: refusal(f"...{token[-64:]} is not valid"),
    "decoded": lambda token: refusal(base64.b64decode(token[7:]).decode()),
    "in capitals": lambda token: refusal(token.upper()),
    "in a page": lambda token: response(f"<html>{token[7:]}</html>".encode(), "200 OK"),
    "in a page of an error": lambda token: response(f"<html>{token[7:]}</html>".encode(), "500 Oops"),
    "in a half document": lambda token: response(b'{"choices": "' + token[7:].encode(), "200 OK"),
    "in a header line that is none": lambda token: b"HTTP/1.1 200 OK\r\n" + token[7:].encode() + b"\x00: x\r\n\r\n",
    "in the status line": lambda token: b"HTTP/1.1 " + token[7:].encode() + b" x\r\n\r\n",
    "in the reason": lambda token: refusal("no", f"400 {token[7:]}"),
    "in a place to go to": lambda token: response(b"", "302 Found", Location=f"https://evil.example/{token}"),
    "in a length": lambda token: b"HTTP/1.1 200 OK\r\nContent-Length: " + token[7:].encode() + b"\r\n\r\n",
    "in a chunk's length": lambda token: CHUNKED + token[7:].encode() + b"\r\n",
    "in an event": lambda token: response(
        b"data: " + json.dumps({"error": {"message": token[7:]}}).encode() + b"\n\n", "200 OK",
        Content_Type="text/event-stream",
    ),
    "in an event that is none": lambda token: response(
        b"data: " + token[7:].encode() + b"\n\n", "200 OK", Content_Type="text/event-stream"
    ),
}  # fmt: skip


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
def test_a_token_that_is_repeated_is_in_no_error(
    world: World, face: Callable[[dict[str, Any]], None], tally: Callable[..., None]
) -> None:
    for name, echo in ECHOES.items():
        world.answer = echo
        try:
            face({**world.settings, "verify": "require"})
        except Exception as error:
            assert_clean(world, error)
        else:
            pytest.fail(f"no error with the token {name}")
        tally("token repeated by the provider", tried=1, caught=1)
    assert world.tokens, "no call sent a token"


def signed_by_another() -> bytes:
    """A well-formed signature of somebody else over something else."""
    text = f"{'0' * 64}:{'1' * 64}"
    signature = "0x" + Key.random().sign_message(text.encode()).hex()
    return json.dumps({"text": text, "signature": signature, "signing_algo": "ecdsa"}).encode()


def _with(**changes: Any) -> Callable[[World], dict[str, Any]]:
    return lambda world: {**world.settings, **changes}


def _answering(
    answer: Callable[[str], bytes], signature: bytes = b"", **changes: Any
) -> Callable[[World], dict[str, Any]]:
    def prepare(world: World) -> dict[str, Any]:
        world.answer, world.signature = answer, signature
        return {**world.settings, **changes}

    return prepare


def _poor(world: World) -> dict[str, Any]:
    return {**world.settings, "provider": register(world.net, url=world.url, model=MODEL)}


def _unacknowledged(world: World) -> dict[str, Any]:
    honest = world.net.providers[0].address
    data = abi.inference().encode("revokeTEESignerAcknowledgement", honest)
    world.net.chain.send(OWNER, to=world.net.inference, data=data)
    return {**world.settings, "provider": honest}


def _another_enclave(world: World) -> dict[str, Any]:
    """The report of an honest provider's enclave, which holds another key."""
    with urllib.request.urlopen(f"{world.net.providers[0].url}/v1/quote") as found:
        world.quote = found.read()
    return {**world.settings, "attest": 1}


def said(status: str) -> Callable[[str], bytes]:
    return lambda token: refusal(f"cannot serve {token[7:]}", status)


FRESH = itertools.count()


def whole(_: str) -> bytes:
    """An answer that nobody has had before."""
    number = next(FRESH)
    body = {**GOOD, "id": f"chatcmpl-{number}"}
    return response(
        json.dumps(body).encode(), "200 OK", Content_Type="application/json", ZG_Res_Key=f"secrets-{number}"
    )


def half_a_stream(_: str) -> bytes:
    event = {"id": "1", "choices": [{"index": 0, "delta": {"content": "hi"}}]}
    return response(b"data: " + json.dumps(event).encode() + b"\n\n", "200 OK", Content_Type="text/event-stream")


PROVOKED: dict[type[errors.ZeroGError], Callable[[World], dict[str, Any]]] = {
    errors.ConfigError: _with(verify="strict"),
    errors.ChainError: _with(rpc_url="http://127.0.0.1:9"),
    errors.InsufficientFunds: _poor,
    errors.NotAcknowledged: _unacknowledged,
    errors.WrongChain: _with(network="testnet"),
    errors.RequestError: _answering(said("400 Bad Request")),
    errors.SessionRejected: _answering(lambda token: refusal(f"validate session: token {token[7:]} expired", "401 No")),
    errors.RateLimited: _answering(said("429 Slow")),
    errors.ProviderUnavailable: _answering(said("503 Busy")),
    errors.PaymentRequired: _answering(said("402 Pay")),
    errors.ModelNotServed: _with(provider=None, model="nobody's"),
    errors.StreamTruncated: _answering(half_a_stream),
    errors.OutcomeUnknown: _answering(lambda _: b""),
    errors.BudgetExceeded: _with(budget=Budget(per_call=neuron(1))),
    errors.VerificationFailed: _answering(whole, signed_by_another(), verify="require"),
    errors.VerificationUnavailable: _answering(whole, b"", verify="require"),
    errors.AttestationError: _another_enclave,
}
STREAMS = {errors.StreamTruncated: (_core_stream, _openai_stream, _langchain_async)}


def all_errors(base: type[errors.ZeroGError] = errors.ZeroGError) -> set[type[errors.ZeroGError]]:
    """The tree of `zg_core.errors`."""
    own = {each for each in base.__subclasses__() if each.__module__ == errors.__name__}
    return own.union(*map(all_errors, own))


def test_every_class_of_error_is_provoked() -> None:
    below = {errors.TransactionReverted, errors.ArgumentError}  # have tests of their own
    assert all_errors() - set(PROVOKED) == below


@pytest.mark.parametrize("kind", PROVOKED, ids=lambda kind: kind.__name__)
def test_no_error_shows_key_or_token(world: World, kind: type[errors.ZeroGError], tally: Callable[..., None]) -> None:
    settings = PROVOKED[kind](world)
    for face in STREAMS.get(kind, FACES.values()):
        error = raised(face, settings)
        causes = {type(each) for each in _chain(error)}
        assert any(issubclass(each, kind) for each in causes), f"{face.__name__} raised {causes}: {error}"
        assert_clean(world, error)
        tally("key or token in an error", tried=1, caught=1)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


@pytest.mark.parametrize("face", ["core", "openai", "langchain", "llama_index"])
def test_a_key_among_the_parameters_of_a_request_is_refused_and_not_shown(world: World, face: str) -> None:
    key = world.net.wallet.private_key
    with pytest.raises((errors.ZeroGError, TypeError)) as caught:
        if face == "core":
            with ChatClient(**world.settings, environ={}) as client:
                client.create({**ASK, "private_key": key})
        elif face == "openai":
            official: Any = openai_client(**world.settings, environ={})
            official.chat.completions.create(model=MODEL, **ASK, extra_body={"private_key": key})
        elif face == "langchain":
            from langchain_zerog import ChatZeroG

            ChatZeroG(**world.settings).invoke("hi", private_key=key)
        else:
            from llama_index_zerog import ZeroG

            ZeroG(**world.settings).complete("hi", private_key=key)
    texts = (str(caught.value), repr(caught.value.args), repr(vars(caught.value)))
    assert not any(world.leaks(text) for text in texts)
    assert not world.tokens, "the key was sent"


def test_no_error_of_a_transaction_shows_the_key(world: World) -> None:
    settings = {name: value for name, value in world.settings.items() if name in ("network", "rpc_url", "private_key")}
    with Broker(**settings, environ={}) as broker, pytest.raises(errors.ZeroGError) as caught:
        broker.transfer("0x" + "77" * 20, neuron(10**18))
    assert_clean(world, caught.value)


def test_a_call_that_is_cancelled_shows_nothing(world: World) -> None:
    """The provider never answers; what was sent is in the frames that wait."""
    arrived, done = threading.Event(), threading.Event()

    def hang(_: str) -> bytes:
        arrived.set()
        done.wait(PATIENCE)
        return b""

    world.answer = hang

    async def main() -> BaseException:
        client = AsyncChatClient(**world.settings, environ={})
        task = asyncio.ensure_future(client.create(ASK))
        assert await asyncio.to_thread(arrived.wait, PATIENCE)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return error
        raise AssertionError("it was not cancelled")

    try:
        assert_clean(world, asyncio.run(main()))
    finally:
        done.set()


def test_the_command_line_prints_no_token_that_is_repeated(world: World, tmp_path: Path) -> None:
    environ = {
        "ZEROG_HOME": str(tmp_path),
        "ZEROG_NETWORK": "local",
        "ZEROG_RPC_URL": world.net.rpc_url,
        "ZEROG_PRIVATE_KEY": world.net.wallet.private_key,
    }
    zerog = Zerog(environ, [world.net.wallet.private_key])
    for echo in ECHOES.values():
        world.answer = echo
        for form in ([], ["--json"]):
            ran = zerog("chat", "--provider", world.address, *form, "hi", ok=None)
            assert not world.leaks(ran.out + ran.err), ran
            assert ran.code != 0
    ran = zerog("receipts", "list", ok=None)
    exported = zerog("receipts", "export", ok=None)
    assert not world.leaks(ran.out + ran.err + exported.out + exported.err)
    assert re.search(r"0x[0-9a-fA-F]{40}", exported.out), "nothing was exported"
