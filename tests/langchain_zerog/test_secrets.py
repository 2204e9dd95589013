"""No key and no token shows in any form a model, a call or an error can take."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import langsmith
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps
from langchain_core.load.dump import default as dump_default
from langchain_core.messages import HumanMessage
from langchain_core.tracers.langchain import LangChainTracer
from pydantic import ValidationError

import zg_core
from langchain_zerog import ChatZeroG
from tests.patience import PATIENCE
from zg_core.backends.direct.session import make_token
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.wallet import Wallet

Make = Callable[..., ChatZeroG]


@pytest.fixture(params=["private key", "API key", "environment", "wallet"])
def paying(request: pytest.FixtureRequest, local: LocalNet, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments with every way to pay, and the environment without the others."""
    key = local.wallet.private_key
    if request.param == "environment":
        return {}
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    if request.param == "private key":
        return {"private_key": key}
    if request.param == "wallet":
        return {"wallet": Wallet.from_key(key)}
    now = time.time_ns() // 10**6
    token = make_token(Wallet.from_key(key), local.providers[0].address, now_ms=now, generation=0, token_id=9)
    return {"api_key": token.reveal()}


@pytest.fixture
def secrets(local: LocalNet, paying: dict[str, Any]) -> list[str]:
    """What must not show: the key, with and without prefix, and what API keys and session tokens have in common."""
    token = paying.get("api_key", "")
    return [local.wallet.private_key.removeprefix("0x"), "app-sk-", *([token[20:80]] if token else [])]


@pytest.fixture
def hidden(secrets: list[str]) -> Callable[[str, object], None]:
    """Fails where one of them shows."""

    def check(place: str, text: object) -> None:
        shown = text if isinstance(text, str) else repr(text)
        assert not [secret for secret in secrets if secret.lower() in shown.lower()], f"a secret shows in {place}"

    return check


Hidden = Callable[[str, object], None]


def test_no_form_of_a_model_shows_a_secret(make_model: Make, paying: dict[str, Any], hidden: Hidden) -> None:
    model = make_model(**paying, temperature=0)
    model.invoke("Hello")
    forms = {
        "repr": repr(model),
        "str": str(model),
        "dumps": dumps(model),
        "dumpd": json.dumps(dumpd(model), default=str),
        "to_json": str(model.to_json()),
        "model_dump": str(model.model_dump()),
        "model_dump_json": model.model_dump_json(exclude={"metadata"}),
        "asdict": str(model._dict_for_compat() if hasattr(model, "_dict_for_compat") else model.dict()),
        "identifying params": str(model._identifying_params),
        "invocation params": str(model._get_invocation_params(stop=["x"])),
        "cache key": model._get_llm_string(),
        "trace parameters": str(model._get_ls_params()),
        "clients": repr(model._clients),
        "client": repr(model._clients.blocking(model._client_settings())),
        "binding": repr(model.bind(stop=["x"])) + dumps(model.bind(stop=["x"])),
        "chain": repr(model | (lambda message: message)),
        "vars": repr(vars(model)),
    }
    for place, text in forms.items():
        hidden(place, text)


def test_a_serialised_model_names_where_its_secrets_come_from(local: LocalNet) -> None:
    kwargs = dumpd(ChatZeroG(private_key="0x" + "33" * 32, rpc_url="https://rpc.example.com/v1/an-rpc-key"))["kwargs"]
    assert kwargs["private_key"] == {"lc": 1, "type": "secret", "id": ["ZEROG_PRIVATE_KEY"]}
    assert "api_key" not in kwargs
    assert kwargs["provider"] == local.providers[0].address
    assert "an-rpc-key" not in str(kwargs)


def test_an_rpc_url_which_may_hold_a_key_is_not_shown(hidden: Hidden, make_model: Make) -> None:
    model = ChatZeroG(private_key="0x" + "33" * 32, rpc_url="https://rpc.example.com/v1/an-rpc-key")
    for form in (repr(model), dumps(model), str(model._identifying_params), str(model.model_dump())):
        assert "an-rpc-key" not in form


class Everything(BaseCallbackHandler):
    """Keeps all that callbacks, and so traces, are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def _keep(self, *args: Any, **kwargs: Any) -> None:
        self.told.append((args, kwargs))

    on_chat_model_start = on_llm_new_token = on_llm_end = on_llm_error = _keep  # type: ignore[assignment]


@pytest.mark.parametrize("fault", [None, "body_changed", "session_rejected", "cut_before_first_byte"])
def test_callbacks_are_told_no_secret(
    make_model: Make,
    paying: dict[str, Any],
    hidden: Hidden,
    provider: LocalProvider,
    talk: Any,
    fault: str | None,
) -> None:
    heard = Everything()
    model = make_model(**paying)
    for way in (talk.invoke, talk.stream):
        if fault is None:
            way(model, "Hello", config={"callbacks": [heard]})
        else:
            with provider.fault(fault, times=None), pytest.raises(zg_core.ZeroGError):
                way(model, "Hello", config={"callbacks": [heard]})
    assert heard.told
    hidden("callbacks", json.dumps(heard.told, default=lambda value: f"{value!r} {dump_default(value)!r}"))


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that anything logs, at the lowest level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


def test_nothing_is_logged_that_should_not_be(
    make_model: Make, paying: dict[str, Any], hidden: Hidden, talk: Any, logged: io.StringIO
) -> None:
    model = make_model(**paying)
    talk.invoke(model, "Hello")
    talk.stream(model, "Hello")
    logging.getLogger("zg_core").debug("a line of ours")  # a call that goes well may log nothing
    assert "a line of ours" in logged.getvalue(), "the test sees nothing"
    hidden("logs", logged.getvalue())


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("body_changed", {}),
        ("session_rejected", {"reason": "signature"}),
        ("unavailable", {}),
        ("cut_before_first_byte", {}),
        ("redirect", {}),
    ],
)
def test_tracebacks_show_no_secret(
    make_model: Make, paying: dict[str, Any], hidden: Hidden, provider: LocalProvider, fault: str, options: Any
) -> None:
    with provider.fault(fault, times=None, **options), pytest.raises(zg_core.ZeroGError) as caught:
        make_model(**paying, max_retries=0).invoke("Hello")
    error = caught.value
    hidden("the traceback", "".join(traceback.format_exception(error)))
    hidden("the error", f"{error!r} {error.__dict__!r} {error.receipt!r}")
    if error.receipt is not None:
        hidden("the receipt", json.dumps(error.receipt.to_dict()))


@pytest.mark.parametrize(
    "bad", [{"private_key": "0xabcdef-is-no-key"}, {"api_key": "app-sk-abcdef-is-no-key"}], ids=str
)
def test_a_malformed_secret_is_not_repeated(make_model: Make, bad: dict[str, Any]) -> None:
    with pytest.raises(zg_core.ConfigError) as caught:
        make_model(**bad).invoke("Hello")
    assert "abcdef" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "arguments",
    [{"privat_key": "0xabcdef"}, {"private_key": "0xabcdef", "nonsense": 1}, {"private_key": "0xabcdef", "top_p": "x"}],
    ids=["misspelt", "with another mistake", "with a wrong value"],
)
def test_a_refused_constructor_does_not_repeat_its_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValidationError)) as caught:
        ChatZeroG(**arguments)
    assert "0xabcdef" not in str(caught.value)
    assert "0xabcdef" not in repr(caught.value)


def test_pickles_hold_neither_keys_nor_connections(
    make_model: Make, paying: dict[str, Any], hidden: Hidden, local: LocalNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(**paying, temperature=0.5)
    model.invoke("Hello")
    data = pickle.dumps(model)
    hidden("the pickle", data.decode("latin-1"))
    again = pickle.loads(data)
    assert (again.provider, again.temperature) == (model.provider, 0.5)
    assert again.private_key is None
    monkeypatch.delenv("ZEROG_PRIVATE_KEY", raising=False)
    with pytest.raises(zg_core.ConfigError, match="neither a wallet nor an API key"):
        again.invoke("Hello")
    monkeypatch.setenv("ZEROG_PRIVATE_KEY", local.wallet.private_key)
    assert again.invoke("Hello").text


def test_copies_have_connections_of_their_own(make_model: Make, local: LocalNet) -> None:
    model = make_model()
    model.invoke("Hello")
    for made in (model.model_copy(), copy.copy(model), copy.deepcopy(model)):
        assert made._clients is not model._clients
        assert made.private_key == model.private_key
        assert made.invoke("Hello").text
        made.close()


def test_messages_show_no_secret(make_model: Make, paying: dict[str, Any], hidden: Hidden) -> None:
    model = make_model(**paying)
    message = model.invoke([HumanMessage("Hello")])
    hidden("the message", f"{message!r} {dumps(message)} {message.model_dump_json()}")

    async def ask() -> str:
        try:
            return repr(await model.ainvoke("Hello"))
        finally:
            await model.aclose()

    hidden("the async message", asyncio.run(ask()))


# LangSmith


class Collector:
    """Stands for LangSmith: keeps the bodies of what is uploaded."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.heads: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                collector.heads.append(str(self.headers))
                collector.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                self.send_response(202)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_POST = do_PATCH = do_GET = _take  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def text(self) -> str:
        return b"\n".join(self.bodies).decode("utf-8", "replace")

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Where runs are uploaded to."""
    made = Collector()
    yield made
    made.stop()


@pytest.mark.parametrize("fault", [None, "body_changed", "session_rejected", "cut_before_first_byte", "unavailable"])
def test_langsmith_gets_the_evidence_and_no_secret(
    make_model: Make,
    paying: dict[str, Any],
    hidden: Hidden,
    provider: LocalProvider,
    talk: Any,
    collector: Collector,
    fault: str | None,
) -> None:
    client = langsmith.Client(api_url=collector.url, api_key="lsv2_of_langsmith", auto_batch_tracing=False)
    tracer = LangChainTracer(client=client, project_name="p")
    model = make_model(**paying, verify="require", temperature=0, max_retries=0)
    bound = model.bind_tools([{"type": "function", "function": {"name": "f", "parameters": {}}}])
    for way in (talk.invoke, talk.stream):
        if fault is None:
            way(bound, "Hello", config={"callbacks": [tracer]})
        else:
            with provider.fault(fault, times=None), pytest.raises(zg_core.ZeroGError):
                way(bound, "Hello", config={"callbacks": [tracer]})
    tracer.wait_for_futures()
    client.flush()
    uploaded = collector.text
    assert '"ls_provider":"zerog"' in uploaded.replace(": ", ":")
    assert "chat-zerog" in uploaded
    if fault is None:
        chat_id = provider.log[-1].chat_id
        assert chat_id in uploaded
        assert provider.address in uploaded
        assert "neuron" in uploaded
    else:
        assert "Error" in uploaded or "error" in uploaded
    hidden("a LangSmith run", uploaded)
    hidden("the head of an upload", "\n".join(collector.heads))


def test_a_traced_process_uploads_no_secret(
    local: LocalNet, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "from langchain_zerog import ChatZeroG\n"
        "from langchain_core.tracers.langchain import wait_for_all_tracers\n"
        "with ChatZeroG(verify='require') as model:\n"
        "    model.invoke('Hello')\n"
        "    list(model.stream('Hello'))\n"
        "    try:\n"
        "        model.invoke('Hello', model='no-such-model')\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__)\n"
        "wait_for_all_tracers()\n"
    )
    settings = {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": collector.url,
        "LANGSMITH_API_KEY": "lsv2_of_langsmith",
        "LANGSMITH_DISABLE_RUN_COMPRESSION": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, cwd=root, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "ModelNotServed\n"), ran.stderr
    assert local.providers[0].address in collector.text
    assert local.providers[0].log[-1].chat_id in collector.text
    for secret in (local.wallet.private_key.removeprefix("0x"), "app-sk-"):
        assert secret not in collector.text
