"""No key, password or token shows: not in any text of an object, an error, a traceback with locals, or a log."""

from __future__ import annotations

import asyncio
import base64
import copy
import itertools
import json
import logging
import pickle
import re
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.patience import PATIENCE
from tests.ports import refusing
from tests.zg_core import raw_server, scripted_node
from tests.zg_core.raw_server import CLOSE, HEAD, RESET, answer, chunk
from zg_core import AsyncChatClient, ChatClient, Policy, Wallet, ZeroGError
from zg_core.backends.direct.credentials import ApiKeyCredential, WalletCredential
from zg_core.backends.direct.session import make_token, read_token
from zg_core.config import Network, Secret, SecretHeaders, Settings
from zg_core.crypto import checksum_address
from zg_core.http.library import library
from zg_core.http.messages import Request
from zg_core.http.transport import run

KEY = "0x5ec7e7" + "d15c0ba7" * 7 + "77"
PASSWORD = "pa55phrase-of-the-marker"
OWNER = Wallet.from_key(KEY).address
PROVIDER = checksum_address("0x" + "00" * 19 + "07")
TOKEN = make_token(Wallet.from_key(KEY), PROVIDER, now_ms=0, generation=0, token_id=3, expires_at=0).reveal()

RAW = bytes.fromhex(KEY[2:])
NEEDLES = {
    "the key in hex": KEY[2:].lower(),
    "the key in bytes": repr(RAW)[2:-1].lower(),
    "the key as a number": str(int(KEY, 16)),
    "the key in base64": base64.b64encode(RAW).decode().rstrip("=").lower(),
    "the password": PASSWORD,
    "the signature in the token": base64.b64decode(TOKEN[7:]).decode().partition("|")[2][2:].lower(),
}
ANY_TOKEN = re.compile(r"app-sk-[A-Za-z0-9+/=]{8}")


PIECES = {TOKEN[start : start + 24].lower() for start in range(40, len(TOKEN) - 24)}


def leaks(text: str) -> list[str]:
    """What secret a text holds; of a token, a piece is as bad, whatever stands before it."""
    found = [name for name, needle in NEEDLES.items() if needle in text.lower()]
    found += ["a token"] * bool(ANY_TOKEN.search(text))
    low = text.lower()
    return found + ["a piece of the token"] * any(low[start : start + 24] in PIECES for start in range(len(low) - 23))


def test_the_sweep_sees_what_it_looks_for() -> None:
    for text in (KEY, KEY.upper(), repr(RAW), repr({"k": RAW}), str(int.from_bytes(RAW)), f"Bearer {TOKEN}", PASSWORD):
        assert leaks(text), text
    assert not leaks("an API key begins with app-sk-…; app-sk-<base64(rawMessage:signature)>")

    def fails(hidden: str) -> None:
        raise ValueError("x")

    with pytest.raises(ValueError) as caught:
        fails(KEY)
    assert leaks("".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()))
    assert shown(caught.value, of_tests=True)


def shown(error: BaseException, *, of_tests: bool = False) -> list[str]:
    """What an error, all that led to it, and the locals of their frames show; frames of this file hold the markers."""
    found, links, seen = [], [error], set()
    while links:
        link = links.pop()
        seen.add(id(link))
        texts = {"str": str(link), "repr": repr(link), "args": repr(link.args), "attributes": repr(vars(link))}
        if isinstance(link, ZeroGError):
            texts["pickle"] = repr(pickle.dumps(link))
            texts["receipt"] = json.dumps(link.receipt.to_dict()) if link.receipt else ""
        for frame, line in traceback.walk_tb(link.__traceback__):
            if of_tests or Path(frame.f_code.co_filename).name not in (Path(__file__).name, "python.py"):
                for name, value in frame.f_locals.items():
                    texts[f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}: {name}"] = repr(value)
        found += [f"{type(link).__name__} {where}: {leak}" for where, text in texts.items() for leak in leaks(text)]
        before = (link.__cause__, link.__context__)
        links += [other for other in before if other is not None and id(other) not in seen]
    return found


def assert_secret(error: BaseException) -> None:
    if found := shown(error):
        pytest.fail("\n".join(["an error shows a secret:", *found]), pytrace=False)


class Everything(logging.Handler):
    """Keeps all that is logged, by anybody."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.name} {record.getMessage()} {record.args!r} {record.exc_text}")
        if record.exc_info and record.exc_info[1]:
            self.texts += shown(record.exc_info[1])


@pytest.fixture(autouse=True)
def log() -> Iterator[Everything]:
    """Everything is logged at DEBUG, and none of it may hold a secret."""
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield handler
    root.removeHandler(handler)
    root.setLevel(level)
    texts = handler.texts + [str(one.message) for one in caught]
    assert [text for text in texts if leaks(text)] == []


class World:
    """A node, a provider with an account, and clients with the marked key or token."""

    def __init__(self, node: Any, server: Any) -> None:
        self.node, self.server = node, server
        node.add(7, url=server.url, model="m")
        row = (OWNER.lower(), PROVIDER.lower(), 0, 2 * 10**18, 0, [], "", True, 0, 0, 0)
        node.accounts[OWNER.lower(), PROVIDER.lower()] = row

    def options(self, by_key: bool, **changes: Any) -> dict[str, Any]:
        values: dict[str, Any] = {
            "network": Network("local", 31337, self.node.url, "0x" + "1e" * 20, "0x" + "1f" * 20),
            "provider": PROVIDER,
            "environ": {},
            "max_retries": 0,
            "timeout": PATIENCE,
            **({"api_key": TOKEN} if by_key else {"private_key": KEY}),
        }
        return values | changes


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0,))
    server = raw_server.Server()
    with scripted_node.running() as node:
        yield World(node, server)
    server.stop()


FRESH = itertools.count()  # chat ids that no other call in this process had
GOOD = b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'


def echoes(token: str) -> list[bytes]:
    """How a server or a gateway repeats a token: whole, without what it begins with, cut, in other cases, decoded."""
    bare = token.removeprefix("app-sk-")
    return [
        json.dumps({"error": {"message": f"{name}: {text}"}}).encode()
        for name, text in {
            "whole": token,
            "bare": bare,
            "cut": f"{bare[:90]}...",
            "the end": bare[-60:],
            "the middle": bare[100:180],
            "capitals": bare.upper(),
            "decoded": base64.b64decode(bare).decode(),
        }.items()
    ]


ECHO = f'{{"error":"validate session: cannot read Bearer {TOKEN}"}}'.encode()


def call(options: dict[str, Any], *, loop: bool, stream: bool) -> Any:
    """One call; what it gave, or its error."""
    payload = {"messages": [{"role": "user", "content": "hi"}]}

    def sync() -> Any:
        with ChatClient(**options) as client:
            if stream:
                reply = client.stream(payload)
                return [client, reply, list(reply), reply.receipt]
            return [client, client.create(payload)]

    async def alone() -> Any:
        async with AsyncChatClient(**options) as client:
            if stream:
                reply = client.stream(payload)
                return [client, reply, [event async for event in reply], reply.receipt]
            return [client, await client.create(payload)]

    try:
        return asyncio.run(alone()) if loop else sync()
    except Exception as error:
        return error


SCENES: dict[str, Callable[[World], dict[str, Any]]] = {}


def scene(change: Callable[[World], dict[str, Any] | None]) -> Callable[[World], dict[str, Any] | None]:
    """Add something that goes wrong during a call; it may change the client's options."""
    SCENES[change.__name__.replace("_", " ")] = lambda world: change(world) or {}
    return change


@scene
def the_chain_is_down(world: World) -> dict[str, Any]:
    return {"rpc_url": f"http://127.0.0.1:{refusing()}"}


@scene
def the_chain_is_another(world: World) -> None:
    world.node.chain_id = 1


@scene
def the_chain_talks_junk(world: World) -> None:
    world.node.body = lambda honest: b"junk"


@scene
def the_account_is_missing(world: World) -> None:
    world.node.accounts.clear()


@scene
def the_account_is_empty(world: World) -> None:
    key = (OWNER.lower(), PROVIDER.lower())
    world.node.accounts[key] = (*world.node.accounts[key][:3], 0, *world.node.accounts[key][4:])


@scene
def the_key_is_revoked(world: World) -> None:
    key = (OWNER.lower(), PROVIDER.lower())
    world.node.accounts[key] = (*world.node.accounts[key][:9], 5, 2**255)


@scene
def the_provider_is_down(world: World) -> None:
    world.node.add(7, url=f"http://127.0.0.1:{refusing()}", model="m")


@scene
def the_url_is_none(world: World) -> None:
    world.node.add(7, url="http://127.0.0.1:1/\x00", model="m")


@scene
def the_url_is_longer_than_the_library_takes(world: World) -> None:
    world.node.add(7, url="http://127.0.0.1:1/" + "a" * 70_000, model="m")


@scene
def the_host_cannot_be_resolved(world: World) -> None:
    world.node.add(7, url="https://a..b", model="m")


@scene
def the_connection_is_cut(world: World) -> None:
    world.server.script = [[CLOSE]]


@scene
def the_connection_is_reset(world: World) -> None:
    world.server.script = [[RESET]]


@scene
def the_answer_is_no_http(world: World) -> None:
    world.server.script = [[b"nonsense\r\n\r\n", CLOSE]]


@scene
def the_answer_stalls(world: World) -> dict[str, Any]:
    world.server.script = [[raw_server.STALL]]
    return {"timeout": 0.2}


@scene
def the_body_is_cut(world: World) -> None:
    world.server.script = [[HEAD + chunk(EVENT), CLOSE]]


@scene
def the_body_is_junk(world: World) -> None:
    world.server.script = [[answer(b"<html>" + ECHO)]]


@scene
def the_session_is_rejected_with_an_echo(world: World) -> None:
    world.server.script = [[answer(ECHO, "400 Bad")], [answer(ECHO, "400 Bad")]]


@scene
def the_server_fails_with_an_echo(world: World) -> None:
    world.server.script = [[answer(ECHO, "500 Oops")]]


@scene
def the_answer_has_an_echo_for_a_header(world: World) -> None:
    world.server.script = [[b"HTTP/1.1 200 OK\r\n" + TOKEN[7:].encode() + b"\x00: x\r\n\r\n", CLOSE]]


@scene
def the_status_line_is_an_echo(world: World) -> None:
    world.server.script = [[b"HTTP/1.1 " + TOKEN[7:].encode() + b"\r\n\r\n", CLOSE]]


for number, body in enumerate(echoes(TOKEN)):
    SCENES[f"an echo, form {number}"] = lambda world, body=body: (  # type: ignore[misc]
        setattr(world.server, "script", [[answer(body, "400 Bad")]]) or {}
    )


@scene
def the_request_is_redirected(world: World) -> None:
    world.server.script = [[answer(b"", "307 Go", Location="http://127.0.0.1:1/")]]


@scene
def the_stream_breaks_off_with_an_echo(world: World) -> None:
    world.server.script = [[HEAD + chunk(EVENT + b"data: " + ECHO + b"\n\n") + chunk(b"")]]


@scene
def the_signature_is_missing(world: World) -> dict[str, Any]:
    good = chunk(EVENT + b"data: [DONE]\n\n") if world.server.script else answer(GOOD)
    world.server.script = [[good], [answer(b"", "404 No")]]
    return {"verify": "require"}


@scene
def the_signature_is_malformed(world: World) -> None:
    world.server.script = [[answer(GOOD, ZG_Res_Key="1")], [answer(b'{"text":"a","signature":"0x"}')]]


@scene
def the_kind_is_not_allowed(world: World) -> dict[str, Any]:
    return {"kinds": ["TeeTLS"]}


@scene
def the_model_is_not_served(world: World) -> dict[str, Any]:
    world.server.script = [[answer(b"", "404 No")], [answer(b"", "404 No")]]
    return {"model": "another"}


@scene
def nobody_serves_the_model(world: World) -> dict[str, Any]:
    return {"model": "another", "provider": None}


@pytest.mark.parametrize(
    ("by_key", "loop", "stream"),
    [(False, False, False), (True, True, True), (True, False, False)],
    ids=["wallet-sync-create", "key-async-stream", "key-sync-create"],
)
@pytest.mark.parametrize("name", SCENES)
def test_no_error_of_a_call_shows_a_secret(world: World, name: str, by_key: bool, loop: bool, stream: bool) -> None:
    options = world.options(by_key, **SCENES[name](world))
    error = call(options, loop=loop, stream=stream)
    if not isinstance(error, Exception):
        assert stream or (name, by_key) in {("the key is revoked", False), ("nobody serves the model", True)}, error
        return
    assert isinstance(error, ZeroGError), repr(error)
    assert_secret(error)


def texts_of(thing: Any, depth: int = 4) -> Iterator[str]:
    """Every text an object turns into, and those of what it holds."""
    yield from (repr(thing), str(thing), f"{thing}", "%s" % (thing,))  # noqa: UP031
    for dump in (pickle.dumps, lambda t: json.dumps(t, default=repr), copy.deepcopy):
        try:
            yield repr(dump(thing))
        except Exception as error:  # a refusal is as good; what it says counts
            yield str(error)
    for method in ("to_dict", "metadata", "describe"):
        if callable(getattr(thing, method, None)) and not isinstance(thing, type):
            yield repr(getattr(thing, method)())
    if depth and type(thing).__module__.startswith("zg_core") and not isinstance(thing, Secret | SecretHeaders | type):
        slots = [name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ())]
        for name in {*getattr(thing, "__dict__", {}), *slots} - {"__weakref__", "__dict__"}:
            value = getattr(thing, name, None)
            if not isinstance(value, types.FunctionType | types.MethodType | bytes):
                yield from texts_of(value, depth - 1)


@pytest.mark.parametrize("stream", [False, True], ids=["create", "stream"])
@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("by_key", [False, True], ids=["wallet", "key"])
def test_nothing_that_a_call_leaves_shows_a_secret(world: World, by_key: bool, loop: bool, stream: bool) -> None:
    finish = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    name = f"ZG-Res-Key: secrets-{next(FRESH)}"
    body = HEAD + chunk(EVENT + finish) + chunk(b"") if stream else answer(GOOD)
    body = body.replace(b"200 OK", b"200 OK\r\n" + name.encode(), 1)
    world.server.script = [[body], [answer(b"", "404 No")]]
    things = call(world.options(by_key), loop=loop, stream=stream)
    assert isinstance(things, list), repr(things)
    (received, *_) = world.server.received
    assert received.headers["authorization"].startswith("Bearer app-sk-"), "the call did not use a token"
    found = [text[:300] for thing in things for text in texts_of(thing) if leaks(text)]
    assert found == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Secret(KEY),
        lambda: Settings.resolve(private_key=KEY, environ={}),
        lambda: Settings.resolve(environ={"ZEROG_PRIVATE_KEY": KEY}),
        lambda: Settings.resolve(api_key=TOKEN, environ={}),
        lambda: Wallet.from_key(KEY),
        lambda: Wallet.from_env({"ZG_PRIVATE_KEY": KEY}),
        lambda: Wallet.from_callable(lambda: KEY),
        lambda: Wallet.from_keystore("/nowhere", PASSWORD),
        lambda: WalletCredential(Wallet.from_key(KEY)),
        lambda: ApiKeyCredential(Secret(TOKEN)),
        lambda: make_token(Wallet.from_key(KEY), PROVIDER, now_ms=0, generation=0),
        lambda: read_token(TOKEN),
        lambda: Request("POST", "https://p", {"Authorization": f"Bearer {TOKEN}"}, b"{}"),
        lambda: ChatClient(provider=PROVIDER, private_key=KEY, environ={}),
        lambda: ChatClient(api_key=TOKEN, environ={}),
        lambda: ChatClient(provider=PROVIDER, environ={"ZEROG_PRIVATE_KEY": KEY}),
        lambda: AsyncChatClient(provider=PROVIDER, wallet=Wallet.from_key(KEY), environ={}),
        lambda: ChatClient(api_key=TOKEN, environ={}).stream({"messages": []}),
        lambda: Policy.of("require"),
    ],
)
def test_no_object_shows_a_secret(make: Callable[[], Any]) -> None:
    assert [text[:300] for text in texts_of(make()) if leaks(text)] == []


WRONG = [
    {"network": "moonnet"},
    {"rpc_url": "nonsense"},
    {"ledger": "0x12"},
    {"provider": "0x12"},
    {"verify": "strict"},
    {"minimum": "great"},
    {"kinds": ["x"]},
    {"stream": "x"},
    {"timeout": -1},
    {"max_retries": -1},
    {"verify": Policy(), "stream": "hold"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: next(iter(w)))
@pytest.mark.parametrize("where", ["private_key", "api_key", "ZEROG_PRIVATE_KEY", "ZEROG_API_KEY", "the process"])
def test_no_error_of_a_setting_shows_a_secret(
    wrong: dict[str, Any], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"environ": {}, where: KEY if "private" in where else TOKEN}
    if where.isupper():
        options = {"environ": {where: KEY if "PRIVATE" in where else TOKEN}}
    if where == "the process":
        monkeypatch.setenv("ZEROG_PRIVATE_KEY", KEY)
        options = {}
    with pytest.raises(ValueError) as caught:
        ChatClient(**options, **wrong)
    assert_secret(caught.value)


def keystore(folder: Path, content: bytes | None = None) -> Path:
    path = folder / "key.json"
    path.write_bytes(content or json.dumps(Account.encrypt(KEY, PASSWORD, kdf="pbkdf2", iterations=10)).encode())
    return path


BROKEN: dict[str, Callable[[Path], Any]] = {
    "a key too long": lambda folder: Wallet.from_key(KEY + "00"),
    "a key too short": lambda folder: Wallet.from_key(KEY[:-1]),
    "a key with a word": lambda folder: Wallet.from_key(f"key={KEY}"),
    "a key of bytes": lambda folder: Wallet.from_key(RAW),  # type: ignore[arg-type]
    "a key in the environment": lambda folder: Wallet.from_env({"ZEROG_PRIVATE_KEY": KEY + "00"}),
    "a key of a callable": lambda folder: Wallet.from_callable(lambda: KEY + "00").address,
    "a key in the settings": lambda folder: ChatClient(provider=PROVIDER, private_key=KEY + "00", environ={}),
    "a key beside a wrong setting": lambda folder: Settings.resolve(private_key=KEY, network="x", environ={}),
    "a token beside a wrong setting": lambda folder: ChatClient(api_key=TOKEN, provider="x", network="x", environ={}),
    "an environment beside a wrong setting": lambda folder: Settings.resolve(ledger="x", environ={"PRIVATE_KEY": KEY}),
    "a digest too short": lambda folder: Wallet.from_key(KEY).sign_digest(b"short"),
    "a wrong password": lambda folder: Wallet.from_keystore(keystore(folder), PASSWORD + "x").unlock(),
    "a password to no file": lambda folder: Wallet.from_keystore(folder / "x", PASSWORD).address,
    "a password to junk": lambda folder: Wallet.from_keystore(keystore(folder, b"{}"), lambda: PASSWORD).address,
    "a token cut": lambda folder: read_token(TOKEN[:-20]),
    "a token altered": lambda folder: read_token(TOKEN[:60] + "A" + TOKEN[61:]),
    "a token in the settings": lambda folder: ChatClient(api_key=TOKEN[:-4], environ={}),
    "a token without its beginning": lambda folder: ApiKeyCredential(Secret(TOKEN[7:])),
    "a client to pickle": lambda folder: pickle.dumps(ChatClient(api_key=TOKEN, environ={})),
    "a wallet to pickle": lambda folder: pickle.dumps(Wallet.from_key(KEY)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_no_error_about_a_secret_shows_it(name: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        BROKEN[name](tmp_path)
    assert_secret(caught.value)


@pytest.mark.parametrize("by_key", [False, True], ids=["wallet", "key"])
def test_a_cancelled_call_shows_no_secret_in_our_frames(world: World, by_key: bool) -> None:
    world.server.script = [[raw_server.STALL]]

    async def main() -> BaseException:
        client = AsyncChatClient(**world.options(by_key))
        task = asyncio.ensure_future(client.create({"messages": []}))
        assert await asyncio.to_thread(world.server.arrived.wait, PATIENCE)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return error
        raise AssertionError("the call was not cancelled")

    assert_secret(asyncio.run(main()))


def test_the_log_was_listening(world: World, log: Everything) -> None:
    world.server.script = [[answer(GOOD)], [answer(b"", "404 No")]]
    with library().Client() as noisy:  # the library logs what it does, our own connections do not
        call(world.options(by_key=False, http_client=noisy), loop=False, stream=False)
    assert any("httpcore" in text or "httpx" in text for text in log.texts), "nothing was logged at DEBUG"
    assert run(_nothing()) is None


async def _nothing() -> None:
    """Keeps `run` honest in this module."""
