"""LangChain's standard integration suite, over real HTTP: with a wallet, with an API key only, and in the v1 format.

Every reply must be proven (`verify="require"`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_zerog import ChatZeroG
from tests.standard.langchain.suite import Suite
from zg_core.backends.direct.session import make_token
from zg_core.errors import VerificationFailed
from zg_core.http.library import library
from zg_core.localnet import LocalNet
from zg_core.wallet import Wallet

pytestmark = pytest.mark.filterwarnings("ignore:OpenAI may require a filename")


class ChatZeroGSuite(Suite):
    """All fifty tests."""

    parameters: ClassVar[dict[str, Any]] = {}
    network: LocalNet

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def on_the_network(cls, net: LocalNet) -> None:
        """The parameters name nothing of the network: it is in the environment."""
        cls.network = net

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest, shared: ChatZeroG) -> Iterator[BaseChatModel]:
        """As in the suite; for a cassette with a client of the HTTP library, whose calls can be recorded.

        An answer played from a cassette is a replay, and a verdict would say so.
        """
        if request.node.get_closest_marker("vcr") is None:
            yield shared
            return
        with library().Client() as recorded:
            # The chain is asked the same things in the same order each time: nothing is read beside a call.
            changes = {"verify": "off", "stream_policy": "after", "http_client": recorded, "record_age": 3600}
            yield ChatZeroG(**{**self.standard_chat_model_params, **self.chat_model_params, **changes})

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # An adapter is asked for by its name and signed as the model it was made of: that is the user's own word.
        first = self.network.providers[0]
        return {"verify": "require", "accept_models": {first.adapter: first.model}, **self.parameters}

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str | None:
        """The fine-tuned adapter that the provider serves beside its model."""
        return self.network.providers[0].adapter

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[Any]]:
        both = ["reasoning_output", "cache_read_input"]
        return {"invoke": both, "stream": both}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._ask("Think about the sum of 2 and 3.", stream=stream, reasoning_effort="high")

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._ask("A long question. " * 200, stream=stream)

    def _ask(self, question: str, *, stream: bool, **kwargs: Any) -> AIMessage:
        model = ChatZeroG(**self.chat_model_params)
        if not stream:
            return model.invoke(question, **kwargs)
        whole: AIMessageChunk | None = None
        for chunk in model.stream(question, **kwargs):
            assert isinstance(chunk, AIMessageChunk)
            whole = chunk if whole is None else whole + chunk
        assert whole is not None
        return whole


class TestWallet(ChatZeroGSuite):
    """A wallet pays; messages in the v0 format; structured output through function calling."""

    parameters: ClassVar[dict[str, Any]] = {"output_version": "v0"}

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling"}


class TestApiKey(ChatZeroGSuite):
    """An API key pays, without a wallet; streams wait for the verdict; structured output through a JSON schema."""

    parameters: ClassVar[dict[str, Any]] = {"stream_policy": "hold"}

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def only_an_api_key(cls, net: LocalNet, environment: pytest.MonkeyPatch) -> Iterator[None]:
        """An environment as a colleague gets it who was handed a key."""
        wallet = Wallet.from_key(net.wallet.private_key)
        key = make_token(
            wallet, net.providers[0].address, now_ms=time.time_ns() // 10**6, generation=0, token_id=7, expires_at=0
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("ZEROG_PRIVATE_KEY")
            patch.delenv("ZEROG_PROVIDER")
            patch.setenv("ZEROG_API_KEY", key.reveal())
            yield

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}


class TestV1(ChatZeroGSuite):
    """Messages in the v1 format; structured output through strict function calling."""

    parameters: ClassVar[dict[str, Any]] = {"output_version": "v1"}

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling", "strict": True}


@pytest.fixture
def recorded() -> Iterator[Any]:
    """A client whose calls can be recorded."""
    with library().Client() as client:
        yield client


@pytest.fixture
def model(net: LocalNet, recorded: Any) -> ChatZeroG:
    """What the cassette of the next test is recorded with."""
    return ChatZeroG(verify="require", http_client=recorded)


@pytest.mark.vcr
def test_a_recorded_answer_played_again_is_caught(model: ChatZeroG, recorded: Any) -> None:
    again = ChatZeroG(verify="require", http_client=recorded)
    with pytest.raises(VerificationFailed) as caught:
        list(again.stream("Write a story about a cat."))
    assert caught.value.code == "replayed"
