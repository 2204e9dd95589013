"""What `make bench` compares: one call through the bare HTTP library, the official client, LangChain's, and ours."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zg_core import Budget, og
from zg_core.http.library import library

RECORD_AGE = 10.0
QUESTION = "What is the answer to life, the universe and everything?"
HTTP, OPENAI, CHAT_OPENAI = "HTTP library alone", "openai", "ChatOpenAI"
OFF, BACKGROUND, REQUIRE = (f"ChatZeroG, verify={mode}" for mode in ("off", "background", "require"))
STORED = "ChatZeroG, verify=require, SQLite receipts and a budget"


@dataclass(frozen=True)
class Server:
    """A running `tests.bench.server`."""

    environ: dict[str, str]
    url: str
    model: str

    @property
    def base_url(self) -> str:
        """Of the OpenAI-shaped routes."""
        return f"{self.url}/v1/proxy"

    def connections(self) -> int:
        """How many TCP connections it has seen; asking is one more."""
        with library().Client() as client:
            return int(client.get(f"{self.url}/connections").json()["connections"])

    def most_connections(self) -> int:
        """How many TCP connections were open at once; asking is one more."""
        with library().Client() as client:
            return int(client.get(f"{self.url}/connections").json()["most_open"])


@contextmanager
def running_server() -> Iterator[Server]:
    """The server in a process of its own, ended at the end."""
    command = [sys.executable, "-m", "tests.bench.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield Server(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()


@dataclass(frozen=True)
class Contender:
    """One way to make the call. `acall` is None where there is no async form to compare."""

    call: Callable[[], Any]
    stream: Callable[[], Iterator[Any]]
    acall: Callable[[], Any] | None = None


def chat_zerog(server: Server, verify: str, **more: Any) -> Any:
    """Our model, with receipts in memory and no client-side limits unless `more` says otherwise.

    A record may be as old as on a real network; a local network's own rule is a read beside every call.
    """
    from langchain_zerog import ChatZeroG

    names = {"ZEROG_PRIVATE_KEY": "private_key", "ZEROG_RPC_URL": "rpc_url", "ZEROG_NETWORK": "network"}
    settings = {name: server.environ[variable] for variable, name in names.items()}
    settings |= {"provider": server.environ["ZEROG_PROVIDER"], "model": server.model, "record_age": RECORD_AGE}
    return ChatZeroG(**settings, verify=verify, limits=None, **more)


def chat_openai(server: Server) -> Any:
    """LangChain's model for OpenAI, which verifies nothing."""
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    return ChatOpenAI(
        base_url=server.base_url, model=server.model, api_key=SecretStr("x"), max_retries=0, stream_usage=True
    )


@contextmanager
def contenders(server: Server) -> Iterator[dict[str, Contender]]:
    """All of them, connected to `server`."""
    import openai

    headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
    url = f"{server.base_url}/chat/completions"
    payload: dict[str, Any] = {"model": server.model, "messages": [{"role": "user", "content": QUESTION}]}
    streaming = {**payload, "stream": True, "stream_options": {"include_usage": True}}
    with ExitStack() as stack:
        plain = stack.enter_context(library().Client())
        official = stack.enter_context(openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0))

        def bare() -> Any:
            return plain.post(url, headers=headers, content=json.dumps(payload)).raise_for_status().json()

        def bare_stream() -> Iterator[bytes]:
            with plain.stream("POST", url, headers=headers, content=json.dumps(streaming)) as response:
                yield from response.iter_bytes()

        made = {
            HTTP: Contender(bare, bare_stream),
            OPENAI: Contender(
                lambda: official.chat.completions.create(**payload),
                lambda: iter(official.chat.completions.create(**streaming)),
            ),
            CHAT_OPENAI: langchain(chat_openai(server)),
        }
        for name, mode in ((OFF, "off"), (BACKGROUND, "background"), (REQUIRE, "require")):
            model = chat_zerog(server, mode)
            stack.callback(model.close)
            made[name] = langchain(model)
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        budget = Budget(per_day=og("1"), per_wallet=og("10"))
        stored = chat_zerog(server, "require", store=f"sqlite:///{Path(directory)}/receipts.db", budget=budget)
        stack.callback(stored.close)
        made[STORED] = langchain(stored)
        yield made


def langchain(model: Any) -> Contender:
    """The call through a LangChain model."""
    return Contender(lambda: model.invoke(QUESTION), lambda: model.stream(QUESTION), lambda: model.ainvoke(QUESTION))
