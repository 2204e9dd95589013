"""Whatever else the official client can send, or be changed into, goes nowhere: no prompt and no token leaves for it.

Everything but chat completions and embeddings went out without policy, budget, receipt or verdict, token included.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.adversarial.conftest import settings_for
from tests.adversarial.operator import Asked, Machine, Operator, Said
from zg_core import Budget, ConfigError, ZeroGError, async_openai_client, neuron, openai_client
from zg_core.localnet import LocalNet, LocalProvider

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
CHAT = {"model": "chat-ml", "messages": MESSAGES}
LIBRARY = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")


class Client:
    """The official client, sync or async, driven the same way."""

    def __init__(self, *, loop: bool) -> None:
        self.loop = loop

    def __repr__(self) -> str:
        return "async" if self.loop else "sync"

    def use(self, settings: dict[str, Any], work: Callable[[Any], Any]) -> Any:
        """What `work` gives of a client, awaited where it must be; the client is closed."""
        if not self.loop:
            client: Any = openai_client(**settings)
            try:
                return work(client)
            finally:
                client.close()

        async def main() -> Any:
            client = async_openai_client(**settings)
            try:
                made = work(client)
                return await made if inspect.isawaitable(made) else made
            finally:
                await client.close()

        return asyncio.run(main())


@pytest.fixture(params=[Client(loop=False), Client(loop=True)], ids=repr)
def client(request: pytest.FixtureRequest) -> Client:
    return request.param


@pytest.fixture
def operator(net: LocalNet, provider: LocalProvider) -> Iterator[Operator]:
    made = Operator(net, provider)
    yield made
    made.stop()


@pytest.fixture
def settings(net: LocalNet, operator: Operator) -> dict[str, Any]:
    where = settings_for(net, net.wallet, operator.provider.address)
    return {**where, "verify": "require", "kinds": ["TeeML"], "environ": {}}


@pytest.fixture
def elsewhere() -> Iterator[Machine]:
    """A server that is nobody's provider, and would answer anything."""
    forged = b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"forged"}}]}'
    made = Machine(lambda _: Said(forged))
    yield made
    made.stop()


ROUTES: dict[str, Callable[[Any], Any]] = {
    "responses": lambda c: c.responses.create(model="chat-ml", input="hi"),
    "completions": lambda c: c.completions.create(model="chat-ml", prompt="hi"),
    "images": lambda c: c.images.generate(model="chat-ml", prompt="hi"),
    "image edits": lambda c: c.images.edit(model="chat-ml", prompt="hi", image=b"png"),
    "speech": lambda c: c.audio.speech.create(model="chat-ml", input="hi", voice="a"),
    "transcription": lambda c: c.audio.transcriptions.create(model="chat-ml", file=("a.wav", b"RIFF")),
    "moderations": lambda c: c.moderations.create(input="hi"),
    "files": lambda c: c.files.create(file=("a.txt", b"hi"), purpose="batch"),
    "file list": lambda c: c.files.list() if isinstance(c, openai.OpenAI) else _first(c.files.list()),
    "file content": lambda c: c.files.content("f"),
    "deletion": lambda c: c.files.delete("f"),
    "one model": lambda c: c.models.retrieve("chat-ml"),
    "fine tuning": lambda c: c.fine_tuning.jobs.create(model="chat-ml", training_file="f"),
    "batches": lambda c: c.batches.create(completion_window="24h", endpoint="/v1/chat/completions", input_file_id="f"),
    "a slash more": lambda c: c.post("/chat/completions/", body=CHAT, cast_to=dict),
    "two slashes": lambda c: c.post("//chat/completions", body=CHAT, cast_to=dict),
    "an escape": lambda c: c.post("/%63hat/completions", body=CHAT, cast_to=dict),
    "a step up": lambda c: c.post("/../chat/completions", body=CHAT, cast_to=dict),
    "a query": lambda c: c.chat.completions.create(**CHAT, extra_query={"a": "1"}),
    "another method": lambda c: c.put("/chat/completions", body=CHAT, cast_to=dict),
    "a token of the caller's": lambda c: c.chat.completions.create(**CHAT, extra_headers={"Authorization": "Bearer x"}),
}


async def _first(page: Any) -> Any:
    return await page


def goes_nowhere(
    client: Client, settings: dict[str, Any], operator: Operator, work: Callable[[Any], Any]
) -> ZeroGError:
    operator.asked.clear()
    with pytest.raises(ConfigError) as caught:
        client.use(settings, work)
    assert operator.asked == []
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", ROUTES)
def test_another_route_is_refused_before_anything_leaves(client, settings, operator, tally, name):
    error = goes_nowhere(client, settings, operator, ROUTES[name])
    assert error.code in ("unknown_task", "bad_headers", "wrong_service")
    tally("another route of the official client", tried=1, caught=1)


@pytest.mark.parametrize("name", ["raw", "streamed"])
def test_raw_responses_are_refused_in_the_same_way(client, settings, operator, name):
    work = {
        "raw": lambda c: c.responses.with_raw_response.create(model="m", input="hi"),
        "streamed": lambda c: c.completions.with_raw_response.create(model="m", prompt="hi", stream=True),
    }[name]
    assert goes_nowhere(client, settings, operator, work).code == "unknown_task"


def changes(c: Any, elsewhere: str) -> dict[str, dict[str, Any]]:
    kind = "Client" if isinstance(c, openai.OpenAI) else "AsyncClient"
    return {
        "http_client": {"http_client": getattr(LIBRARY, kind)()},
        "base_url": {"base_url": elsewhere},
        "api_key": {"api_key": "sk-mine"},
        "websocket_base_url": {"websocket_base_url": elsewhere},
        "default_query": {"default_query": {"a": "1"}},
        "set_default_query": {"set_default_query": {"a": "1"}},
    }


@pytest.mark.parametrize(
    "name", ["http_client", "base_url", "api_key", "websocket_base_url", "default_query", "set_default_query"]
)
@pytest.mark.parametrize("method", ["with_options", "copy"])
def test_a_client_cannot_be_changed_into_one_that_goes_elsewhere(
    client, settings, operator, elsewhere, tally, name, method
):
    def work(c: Any) -> Any:
        return getattr(c, method)(**changes(c, elsewhere.url)[name]).chat.completions.create(**CHAT)

    assert goes_nowhere(client, settings, operator, work).code == "fixed_setting"
    assert elsewhere.asked == []
    tally("another way around for the official client", tried=1, caught=1)


def test_an_address_that_is_set_afterwards_leads_nowhere(client, settings, operator, elsewhere):
    def work(c: Any) -> Any:
        c.base_url = elsewhere.url
        return c.chat.completions.create(**CHAT)

    assert goes_nowhere(client, settings, operator, work).code == "unknown_task"
    assert elsewhere.asked == []


def test_an_absolute_address_leads_nowhere(client, settings, operator, elsewhere):
    url = f"{elsewhere.url}/v1/proxy/chat/completions"
    goes_nowhere(client, settings, operator, lambda c: c.post(url, body=CHAT, cast_to=dict))
    assert elsewhere.asked == []


def test_it_holds_no_token_that_could_leave(client, settings):
    def work(c: Any) -> Any:
        held = [str(c.api_key), repr(c.auth_headers), repr(c.default_headers), repr(vars(c))]
        return [text for text in held if "app-sk-" in text or settings["private_key"][2:] in text]

    assert client.use(settings, work) == []


def test_a_stream_without_a_word_for_it_is_still_judged(client, settings, operator):
    """`beta`, `parse` and raw forms of chat completions are chat completions."""
    operator.plan = lambda asked: (
        Said(operator.forward(asked).body.replace(b"Paris", b"Hades")) if asked.is_chat else None
    )
    for work in (
        lambda c: c.chat.completions.with_raw_response.create(**CHAT),
        lambda c: c.chat.completions.parse(**CHAT),
        lambda c: c.post("/chat/completions", body=CHAT, cast_to=dict),
    ):
        with pytest.raises(ZeroGError) as caught:
            client.use(settings, work)
        assert caught.value.receipt is not None, "".join(traceback.format_exception(caught.value))


class TestWhatIsMeantToWork:
    def test_chat_raw_and_parsed(self, client, settings, tally):
        def raw(c: Any) -> Any:
            return c.chat.completions.with_raw_response.create(**CHAT)

        response = client.use(settings, raw)
        assert "Paris" in response.text if isinstance(response.text, str) else response.text()
        assert response.headers["x-zerog-receipt"]
        parsed = client.use(settings, lambda c: c.chat.completions.parse(**CHAT))
        assert "Paris" in parsed.choices[0].message.content
        tally("reply through an operator's machine", honest=2, accepted=2)

    def test_models_by_their_name_on_chain(self, client, settings, operator):
        def work(c: Any) -> Any:
            if isinstance(c, openai.OpenAI):
                return [model.id for model in c.models.list()]
            return _names(c)

        operator.asked.clear()
        assert client.use(settings, work) == ["chat-ml"]
        assert operator.asked == [], "what a provider lists is signed by nobody"

    def test_options_that_may_change(self, client, settings):
        def work(c: Any) -> Any:
            other = c.with_options(timeout=50, max_retries=1, default_headers={"X-Mine": "1"})
            assert (other.receipts, other.policy) == (c.receipts, c.policy)
            assert (other.max_retries, other.timeout) == (1, 50)
            again = other.copy().with_options(max_retries=0)
            assert again.receipts is c.receipts
            return again.chat.completions.create(**CHAT)

        assert "Paris" in client.use(settings, work).choices[0].message.content

    def test_a_budget_holds_in_copies(self, client, settings):
        tight = {**settings, "budget": Budget(per_call=neuron(1), completion_tokens=50)}
        with pytest.raises(ZeroGError) as caught:
            client.use(tight, lambda c: c.with_options(timeout=50).chat.completions.create(**CHAT))
        assert caught.value.code == "budget_exceeded"

    def test_retries_of_the_official_client_are_ours(self, client, settings, operator):
        statuses = [503, 429]

        def plan(asked: Asked) -> Said | None:
            return Said(b"{}", statuses.pop(0), {"retry-after": "0"}) if asked.is_chat and statuses else None

        operator.plan = plan

        def work(c: Any) -> Any:
            return c.with_options(max_retries=2).chat.completions.create(**CHAT)

        answer = client.use(settings, work)
        assert "Paris" in answer.choices[0].message.content

    def test_an_unknown_outcome_is_never_sent_again_by_the_official_client(self, client, settings, operator):
        operator.plan = lambda asked: Said(b"{}", 500) if asked.is_chat else None
        with pytest.raises(openai.InternalServerError) as caught:
            client.use(settings, lambda c: c.with_options(max_retries=5).chat.completions.create(**CHAT))
        assert [asked.path for asked in operator.asked if asked.is_chat] == ["/v1/proxy/chat/completions"]
        assert caught.value.receipt.outcome == "unknown"


async def _names(c: Any) -> list[str]:
    return [model.id async for model in c.models.list()]
