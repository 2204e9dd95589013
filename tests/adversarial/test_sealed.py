"""A Router and an operator who would like to read or change sealed calls: every fault, every face; none gets through.

Each cell asks a question with ``verify="require"`` while one thing goes wrong. It is caught if the user gets an error
instead of an answer. And whatever they do, not one byte of question or answer passes them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.zg_core.backends.router.conftest import afresh, settings_for
from zg_core import AsyncChatClient, ChatClient
from zg_core.errors import ZeroGError
from zg_core.localnet import LocalNet
from zg_core.localnet.provider.operator import Operator, Passed, Said
from zg_core.localnet.router.faults import RouterFault

SECRET = "swordfish"
QUESTION = f"Say: the word is {SECRET}"
PAYLOAD: dict[str, Any] = {"messages": [{"role": "user", "content": QUESTION}]}

Face = Callable[[dict[str, Any]], str]
"""Asks the question with settings of the client, and returns what the user was given."""


def core(*, stream: bool, loop: bool) -> Face:
    def blocking(settings: dict[str, Any]) -> str:
        with ChatClient(**settings) as client:
            if not stream:
                return client.create(PAYLOAD).text
            with client.stream(PAYLOAD) as events:
                return json.dumps(list(events))

    async def asked(settings: dict[str, Any]) -> str:
        async with AsyncChatClient(**settings) as client:
            if not stream:
                return (await client.create(PAYLOAD)).text
            async with client.stream(PAYLOAD) as events:
                return json.dumps([event async for event in events])

    return (lambda settings: asyncio.run(asked(settings))) if loop else blocking


def langchain(*, stream: bool, loop: bool) -> Face:
    def face(settings: dict[str, Any]) -> str:
        from langchain_zerog import ChatZeroG

        async def asked(llm: ChatZeroG) -> str:
            try:
                if not stream:
                    return str((await llm.ainvoke(QUESTION)).content)
                return "".join([str(chunk.content) async for chunk in llm.astream(QUESTION)])
            finally:
                await llm.aclose()

        with ChatZeroG(**_without_environ(settings)) as llm:
            if loop:
                return asyncio.run(asked(llm))
            if not stream:
                return str(llm.invoke(QUESTION).content)
            return "".join(str(chunk.content) for chunk in llm.stream(QUESTION))

    return face


def llamaindex(*, stream: bool, loop: bool) -> Face:
    def face(settings: dict[str, Any]) -> str:
        from llama_index_zerog import ZeroG

        async def asked(llm: ZeroG) -> str:
            try:
                if not stream:
                    return (await llm.acomplete(QUESTION)).text
                return "".join([part.delta or "" async for part in await llm.astream_complete(QUESTION)])
            finally:
                await llm.aclose()

        with ZeroG(**_without_environ(settings)) as llm:
            if loop:
                return asyncio.run(asked(llm))
            if not stream:
                return llm.complete(QUESTION).text
            return "".join(part.delta or "" for part in llm.stream_complete(QUESTION))

    return face


def _without_environ(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "environ"}


MAKERS = {"core": core, "langchain": langchain, "llamaindex": llamaindex}
FACES = {
    f"{name} {'stream' if stream else 'whole'} {'async' if loop else 'sync'}": (make(stream=stream, loop=loop), stream)
    for name, make in MAKERS.items()
    for stream in (False, True)
    for loop in (False, True)
}

BOTH = (False, True)
FAULTS: dict[RouterFault, tuple[bool, ...]] = {
    RouterFault.PLAINTEXT_ANSWER: BOTH,
    RouterFault.FORGED_ANSWER: BOTH,
    RouterFault.FRAME_DROPPED: (True,),
    RouterFault.FRAMES_REORDERED: (True,),
    RouterFault.FRAME_REPLAYED: (True,),
    RouterFault.FRAME_FROM_ANOTHER_CALL: BOTH,
    RouterFault.CUT_BEFORE_FINAL: BOTH,
    RouterFault.FIELD_CHANGED: BOTH,
    RouterFault.MODEL_SWAPPED: BOTH,
    RouterFault.PREVIEW_STRANGER: BOTH,
}
"""Of the issue; for which forms of an answer each exists. What is not in it changes nothing that is proven."""
QUOTES = ("legacy", "key_swapped", "unsigned")


@pytest.fixture(scope="module")
def routed() -> Iterator[LocalNet]:
    with LocalNet(providers=3, router=True) as net:
        for stream in BOTH:  # frames of an earlier call
            core(stream=stream, loop=False)(settings_for(net, sealed=True))
        yield net


@pytest.fixture
def net(routed: LocalNet) -> Iterator[LocalNet]:
    with afresh(routed) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "ZEROG_PROVIDER",
        "ZEROG_MODEL",
        "ZEROG_NETWORK",
        "ZEROG_RPC_URL",
        "ZEROG_PRIVATE_KEY",
        "ZEROG_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)


def settings(net: LocalNet, **more: Any) -> dict[str, Any]:
    return settings_for(net, sealed=True, verify="require", **more)


def nothing_was_read(net: LocalNet) -> None:
    passed = b"".join(net.router.seen)
    assert SECRET.encode() not in passed
    assert b"the word is" not in passed


@pytest.mark.parametrize("name", FACES)
def test_an_honest_router_gets_the_answer_through_and_reads_none_of_it(net: LocalNet, name: str) -> None:
    face, _ = FACES[name]
    assert SECRET in face(settings(net))
    nothing_was_read(net)


CELLS = [(fault, name) for fault, forms in FAULTS.items() for name, (_, stream) in FACES.items() if stream in forms]


@pytest.mark.parametrize(("fault", "name"), CELLS)
def test_no_fault_gets_through(net: LocalNet, fault: RouterFault, name: str) -> None:
    face, _ = FACES[name]
    with net.router.fault(fault, times=None) as active, pytest.raises(ZeroGError) as caught:
        face(settings(net))
    assert active.fired, "the fault was not met"
    assert SECRET not in str(caught.value)
    nothing_was_read(net)


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize("fault", QUOTES)
def test_no_prompt_is_sealed_to_an_operators_key(net: LocalNet, fault: str, name: str) -> None:
    face, _ = FACES[name]
    net.provider("local-chat-1").quote_fault(fault)
    with pytest.raises(ZeroGError):
        face(settings(net))
    assert b"_e2ee" not in b"".join(net.router.seen)


@pytest.mark.parametrize("name", FACES)
def test_a_lie_about_the_cost_is_shown_and_changes_no_proof(net: LocalNet, name: str) -> None:
    face, _ = FACES[name]
    with net.router.fault(RouterFault.COST_WRONG):
        assert SECRET in face(settings(net))


class Collusion:
    """The operator of the provider and the Router, together: all that either of them ever saw."""

    def __init__(self, net: LocalNet, operator: Operator) -> None:
        self._net = net
        self._operator = operator
        self.said: list[bytes] = []
        operator.plan = self._kept

    def _kept(self, passed: Passed) -> Said:
        said = self._operator.forward(passed)
        self.said.append(said.body)
        return said

    def passed(self) -> bytes:
        """Every byte."""
        asked = [
            b"\n".join((each.path.encode(), str(each.headers).encode(), each.body)) for each in self._operator.seen
        ]
        return b"\n".join([*asked, *self.said, *self._net.router.seen])


@pytest.mark.parametrize("name", FACES)
def test_operator_and_router_together_never_see_a_word(net: LocalNet, name: str) -> None:
    face, _ = FACES[name]
    with net.operator(net.provider("local-chat-1")) as operator:
        both = Collusion(net, operator)
        assert SECRET in face(settings(net))
        passed = both.passed()
    assert b"_e2ee" in passed  # it did go through both
    assert b"/v1/quote" in passed
    for word in (SECRET, "the word is", "Say:"):
        assert word.encode() not in passed


def test_the_same_question_in_the_clear_is_seen_by_both(net: LocalNet) -> None:
    """So that the search above can find something."""
    with net.operator(net.provider("local-chat-1")) as operator:
        both = Collusion(net, operator)
        with ChatClient(**settings_for(net, sealed=False, verify="off")) as client:
            client.create(PAYLOAD)
        assert both.passed().count(SECRET.encode()) >= 2


def test_an_operator_who_answers_with_another_key_is_caught_after_the_first_look(net: LocalNet) -> None:
    with ChatClient(**settings(net)) as client:
        client.create(PAYLOAD)
        with net.provider("local-chat-1").fault("other_signer"), pytest.raises(ZeroGError) as caught:
            client.create(PAYLOAD)
        assert caught.value.code == "signer_mismatch"
        with net.provider("local-chat-1").fault("signature_other_bytes"), pytest.raises(ZeroGError) as caught:
            client.create(PAYLOAD)
        assert caught.value.code == "content_mismatch"
        with net.provider("local-chat-1").fault("signature_never"), pytest.raises(ZeroGError) as caught:
            client.create(PAYLOAD)
        assert caught.value.code == "no_signature"
