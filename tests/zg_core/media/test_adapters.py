"""Adapters of a wallet: listed, named, deployed with progress, and asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.vectors import services
from zg_core import Adapters, AsyncAdapters, AsyncChatClient, ChatClient, ConfigError, ModelNotServed, RequestError
from zg_core.backends.direct.adapters import adapter_name

TASK = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
NAME = "ft-chat-0f1e2d3c-4b5"


@pytest.mark.parametrize("case", services()["adapter_names"]["cases"], ids=lambda case: case["name"])
def test_a_name_is_that_of_the_official_client(case: Any) -> None:
    assert adapter_name(case["base_model"], case["task_id"]) == case["name"]


def test_an_adapter_is_deployed_with_progress_and_answers(settings: dict[str, Any], market: Any, at: Any) -> None:
    snapshot = market.snapshot()
    seen: list[str] = []
    with ChatClient(**settings, provider=at("chat").address, minimum="response_bound") as client:
        adapters = Adapters(client)
        listed = {one.name: one.state for one in adapters.list()}
        assert listed == {at("chat").adapter: "active", NAME: "offloaded"}
        assert adapters.resolve(TASK) == NAME == adapters.status(TASK).name
        assert adapters.resolve("11111111-2222", "Other/Base") == "ft-Other-Base-11111111-222"
        deployed = adapters.deploy(NAME, on_progress=lambda step: seen.append(step.name))
        assert (deployed.state, deployed.usable) == ("active", True)
        assert seen == ["adapter_offloaded", "adapter_active"]
        reply = client.create({"model": NAME, "messages": [{"role": "user", "content": "What is 2 + 2?"}]})
        assert "4" in reply.text
        assert str(reply.receipt.verdict.status) == "response_bound"
        assert adapters.deploy(NAME).usable
    market.revert(snapshot)


def test_what_is_not_there_is_said(settings: dict[str, Any], at: Any) -> None:
    async def main() -> None:
        async with AsyncChatClient(**settings, provider=at("chat").address) as client:
            adapters = AsyncAdapters(client)
            with pytest.raises(ModelNotServed) as caught:
                await adapters.deploy("ft-nothing")
            assert caught.value.code == "unknown_adapter"
            with pytest.raises(ConfigError):
                await adapters.status("../x")
            assert len(await adapters.list()) == 2

    asyncio.run(main())


@pytest.mark.parametrize(("state", "code"), [("failed", "adapter_failed"), ("init", "adapter_not_ready")])
def test_what_cannot_be_deployed_is_an_error_that_says_why(settings: dict[str, Any], state: str, code: str) -> None:
    from tests.zg_core.conftest import CALM
    from zg_core.localnet import LocalNet, ProviderSpec

    with LocalNet(providers=[ProviderSpec(model="m", adapters=((TASK, state),))], settings=CALM) as net:
        net.open_account(net.wallet, net.providers[0])
        with ChatClient(environ=net.env()) as client, pytest.raises(RequestError) as caught:
            Adapters(client).deploy(TASK, wait=False)
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)
