"""What callers of the field do: their scripts run as they are, and each call is answered or refused with a name."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_zerog import ChatZeroG
from llama_index_zerog import ZeroG
from tests.cases.llm.inputs import names_in
from zg_core import VerificationWarning
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.localnet.model.upstream import UpstreamReply
from zg_core.receipts.model import Receipt

pytestmark = pytest.mark.requires("cases")

# case: of each call the class of the error, and a word of it; "" where it is answered
CALLERS: dict[str, dict[str, tuple[str, str]]] = {
    "c02-history-invalid-json-args": {},
    "c03-tool-result-list-of-text": {},
    "c05-surrogate-in-history": {},
    "c06-li-n-2": {"lc": ("ConfigError", "n must be 1"), "li": ("ConfigError", "n must be 1")},
    "c07-numpy-decimal-datetime": {
        "np32_init": ("", ""),
        "np_call": ("ConfigError", "temperature is a float32"),
        "dec_call": ("ConfigError", "temperature is a Decimal"),
        "dt_args": ("ConfigError", "args.when is a datetime"),
        "li_dt": ("ConfigError", "is a datetime"),
        "li_np": ("ConfigError", "temperature is a float32"),
    },
    "c08-builtin-tool-dict": {},
    "c09-name-with-space": {},
    "c10-recursive-schema": dict.fromkeys(("rec", "rec_js", "anyof", "li_rec"), ("any", "")),
    "c12-pydantic-v1": {"structured": ("any", "")},
    "c13-empty-messages": {},
    "c15-consecutive-and-late-system": {},
    "c17-timeout-and-retries-types": {},
    "c18-tool-message-without-call": {},
    "c19-huge-int-and-nan-args": {"bytes": ("ConfigError", "args.x is a bytes")},
    "c22-stream-sum-as-history": {},
    "c23-legacy-function-call-history": {},
}
LOOPS = ("l02-break-and-next", "l03-cancel", "l04-threads-and-loops")


class Echo:
    """A model that repeats the question; as a stream, in ten numbered pieces."""

    async def complete(self, path: str, body: bytes) -> UpstreamReply:
        content = f"echo {_question(body)}"
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        reply = {"id": "e", "model": "echo", "choices": [choice], "usage": _USAGE}
        return UpstreamReply(200, {"content-type": "application/json"}, json.dumps(reply).encode())

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        question = _question(body)
        for n in range(10):
            choice = {"index": 0, "delta": {"content": f"{question}{n} "}}
            yield b"data: " + json.dumps({"id": "e", "choices": [choice]}).encode() + b"\n\n"
            await asyncio.sleep(0.03)  # long enough to be left half-way
        end = {"id": "e", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": _USAGE}
        yield b"data: " + json.dumps(end).encode() + b"\n\ndata: [DONE]\n\n"

    async def models(self) -> list[dict[str, Any]]:
        return []


_USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}


def _question(body: bytes) -> str:
    messages = json.loads(body)["messages"]
    content = messages[-1].get("content") if messages else ""
    return content if isinstance(content, str) else ""


@pytest.fixture(scope="module")
def echo_net() -> Iterator[LocalNet]:
    with LocalNet(providers=[ProviderSpec(model="echo", upstream=Echo())]) as net:
        net.open_account(net.wallet, net.providers[0], 100 * 10**18)
        yield net


class Made:
    """Makes the models of a script."""

    def __init__(self, net: LocalNet) -> None:
        self.receipts: list[Receipt] = []
        self._given: dict[str, Any] = {
            "provider": net.providers[0].address, "model": "echo", "private_key": net.wallet.private_key,
            "network": "local", "rpc_url": net.rpc_url, "verify": "require", "on_receipt": self.receipts.append,
        }  # fmt: skip

    def lc(self, **arguments: Any) -> ChatZeroG:
        return ChatZeroG(**{**self._given, **arguments})

    def li(self, **arguments: Any) -> ZeroG:
        known = {"context_window": 100_000, "is_function_calling_model": True}
        return ZeroG(**{**self._given, **known, **arguments})


@pytest.fixture
def made(echo_net: LocalNet) -> Made:
    return Made(echo_net)


def test_every_script_of_the_field_is_run(shared: Path) -> None:
    names = [name for name in names_in(shared / "cases" / "llm" / "inputs") if name.startswith(("c", "l"))]
    assert names == sorted([*CALLERS, *LOOPS])


@pytest.mark.parametrize("name", CALLERS)
def test_a_call_is_answered_or_refused_with_the_place(shared: Path, made: Made, name: str) -> None:
    script: dict[str, Any] = {}
    exec((shared / "cases" / "llm" / "inputs" / name / "caller.py").read_text(), script)
    for call, ask in script[name.partition("-")[0]](made.lc, made.li).items():
        kind, words = CALLERS[name].get(call, ("", ""))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error: Exception | None = None
            try:
                ask()
            except Exception as raised:
                error = raised
        classes = [cls.__name__ for cls in type(error).__mro__] if error else [""]
        assert kind in ("any", *classes), f"{call}: {error!r}"
        assert words in str(error), call


@pytest.mark.parametrize("name", LOOPS)
def test_every_answer_belongs_to_its_question(shared: Path, made: Made, name: str) -> None:
    from llama_index.core.llms import ChatMessage

    found: dict[str, Callable[[], Any]] = {}

    def case(label: str) -> Callable[[Callable[[], Any]], None]:
        return lambda function: found.__setitem__(label, function)

    given = {
        "case": case, "rec": made.receipts, "lc": made.lc(), "li": made.li(), "gc": gc, "asyncio": asyncio,
        "concurrent": concurrent, "ChatMessage": ChatMessage,
    }  # fmt: skip
    exec((shared / "cases" / "llm" / "inputs" / name / "caller.py").read_text(), given)
    results: dict[str, Any] = {}
    for label, run in found.items():
        made.receipts.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VerificationWarning)
            results[label] = run()
    if name == "l04-threads-and-loops":
        assert results == {"threads+loops-mixed": (24, 24), "sync-in-running-loop": ("echo a", "echo b")}
        return
    for label, result in results.items():
        *answers, outcomes = result
        assert "echo b" in answers or answers[0][1:] == ("echo b",) or answers == ["echo b"], (label, result)
        assert outcomes[-1] == "answered", (label, result)
        assert set(outcomes[:-1]) <= {"abandoned", "unknown", "answered"}, "nothing has failed"
        assert len(outcomes) <= 2, "a request that was cancelled before it left has none"
