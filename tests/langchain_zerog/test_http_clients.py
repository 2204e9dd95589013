"""HTTP clients of the user's own, timeouts, rate limiters and caches at the model."""

from __future__ import annotations

import asyncio
import copy
import importlib
import importlib.util
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core import exceptions
from langchain_core.load import dumps
from langchain_core.rate_limiters import BaseRateLimiter

import zg_core
from langchain_zerog import ChatZeroG
from tests.patience import PATIENCE, hastily, until
from zg_core.localnet import LocalNet, LocalProvider

Make = Callable[..., ChatZeroG]


@pytest.fixture(params=["httpx2", "httpx"])
def lib(request: pytest.FixtureRequest) -> Any:
    """Both HTTP libraries, as far as they are installed."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return importlib.import_module(request.param)


@pytest.fixture
def client(lib: Any) -> Iterator[Any]:
    """A blocking client that a user made."""
    made = lib.Client(headers={"X-Mine": "1"}, follow_redirects=True)
    yield made
    made.close()


def test_all_goes_through_a_given_client_which_stays_open(
    make_model: Make, provider: LocalProvider, client: Any
) -> None:
    sent: list[str] = []
    client.event_hooks = {"request": [lambda request: sent.append(request.url.path)]}
    model = make_model(verify="require", http_client=client)
    assert model.invoke("Hello").response_metadata["zerog"]["status"] == "verified"
    assert list(model.stream("Hello"))[-1].response_metadata["zerog"]["status"] == "verified"
    assert sent.count("/v1/proxy/chat/completions") == 2
    assert any("/signature/" in path for path in sent)
    model.close()
    assert not client.is_closed
    assert model.invoke("Hello").text


def test_the_same_for_asynchronous_calls(make_model: Make, lib: Any) -> None:
    sent: list[str] = []

    async def note(request: Any) -> None:
        sent.append(request.url.path)

    async def work() -> bool:
        async with lib.AsyncClient(event_hooks={"request": [note]}) as client:
            async with make_model(verify="require", http_async_client=client) as model:
                assert (await model.ainvoke("Hello")).response_metadata["zerog"]["status"] == "verified"
                assert [chunk async for chunk in model.astream("Hello")]
            closed: bool = client.is_closed
            return closed

    assert not asyncio.run(work())
    assert sent.count("/v1/proxy/chat/completions") == 2


def test_a_second_event_loop_needs_another_client(make_model: Make, lib: Any) -> None:
    model = make_model(http_async_client=lib.AsyncClient())

    async def work() -> None:
        await model.ainvoke("Hello")

    asyncio.run(work())
    with pytest.raises(zg_core.ConfigError, match="event loop") as caught:
        asyncio.run(work())
    assert caught.value.code == "http_client_loop"


def test_a_client_of_the_wrong_kind_is_an_error_at_the_first_call(make_model: Make, lib: Any) -> None:
    for wrong in (lib.AsyncClient(), "client"):
        with pytest.raises(zg_core.ConfigError) as caught:
            make_model(shared=False, http_client=wrong).invoke("Hello")
        assert caught.value.code == "bad_http_client"


def test_it_is_in_no_form_of_the_model_but_its_copies(make_model: Make, client: Any) -> None:
    model = make_model(http_client=client)
    assert "httpx" not in repr(model)
    assert "http_client" not in dumps(model)
    assert pickle.loads(pickle.dumps(model)).http_client is None
    assert [made.http_client for made in (copy.copy(model), copy.deepcopy(model), model.model_copy())] == [client] * 3


# timeouts


def chats(provider: LocalProvider) -> int:
    return sum(request.path.endswith("/chat/completions") for request in provider.requests)


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("form", ["one", "split", "dict"])
def test_a_model_that_thinks_too_long_may_have_been_paid(
    make_model: Make, net: LocalNet, script: Any, talk: Any, form: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = net.providers[2]
    monkeypatch.setattr(script, "thinks", 300.0)
    before, held = chats(slow), len(script.bodies)

    def given_up(seconds: float) -> zg_core.ZeroGError:
        forms = {
            "one": seconds,
            "split": zg_core.Timeouts(first_token=seconds),
            "dict": {"connect": PATIENCE, "first_token": seconds},
        }
        model = make_model(shared=False, provider=slow.address, timeout=forms[form], max_retries=5)
        with pytest.raises((zg_core.OutcomeUnknown, zg_core.StreamTruncated)) as caught:
            getattr(talk, way)(model, "Hello")
        return caught.value

    error = hastily(given_up, zg_core.ProviderUnavailable)
    until(lambda: len(script.bodies) > held)  # it was sent, and has arrived
    assert isinstance(error, exceptions.ModelError)
    assert not error.is_retryable
    assert error.receipt is not None
    assert error.receipt.outcome in ("unknown", "truncated")
    assert chats(slow) == before + 1


def test_odd_timeouts_are_refused_before_anything_is_sent(make_model: Make, provider: LocalProvider) -> None:
    before = len(provider.requests)
    for timeout in (0, -1, float("nan")):
        with pytest.raises(zg_core.ConfigError) as caught:
            make_model(shared=False, timeout=timeout).invoke("Hello")
        assert caught.value.code == "bad_timeout"
    assert len(provider.requests) == before


# LangChain's rate limiter


class Counting(BaseRateLimiter):
    """Lets everything through and counts."""

    def __init__(self) -> None:
        self.asked = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.asked += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.asked += 1
        return True


def test_langchains_rate_limiter_is_asked_before_every_call(make_model: Make, talk: Any) -> None:
    limiter = Counting()
    model = make_model(rate_limiter=limiter)
    talk.invoke(model, "Hello")
    talk.stream(model, "Hello")
    talk.batch(model, ["a", "b"])
    assert limiter.asked == 4
