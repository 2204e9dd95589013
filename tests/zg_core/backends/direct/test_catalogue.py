"""What providers say about their models: read strictly, remembered for ten minutes, never trusted further."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zg_core.raw_server import CLOSE, Server, answer
from zg_core import AsyncChatClient, ChatClient, ModelInfo, ProviderUnavailable, ServiceRecord
from zg_core.backends.direct import catalogue
from zg_core.backends.direct.catalogue import Catalogue, model_info
from zg_core.http.transport import AsyncTransport, SyncTransport, run


def service(**changes: Any) -> ServiceRecord:
    values: dict[str, Any] = {
        "provider": "0x" + "11" * 20,
        "service_type": "chatbot",
        "url": "http://127.0.0.1",
        "private": True,
        "input_price": 1,
        "output_price": 2,
        "updated_at": 0,
        "model": "m",
        "verifiability": "TeeML",
        "additional_info": "{}",
        "tee_signer": "",
        "acknowledged": True,
    }
    return ServiceRecord(**values | changes)


ENTRY = {
    "id": "m",
    "context_length": 8192,
    "max_completion_tokens": 1024,
    "supported_parameters": ["tools", "response_format", "structured_outputs", "temperature"],
    "architecture": {"modality": "text->text", "input_modalities": ["text", "Image"], "output_modalities": ["text"]},
}


def told(entry: Any = None, **changes: Any) -> ModelInfo:
    return model_info(service(), "m", {"data": [{**ENTRY, **changes} if entry is None else entry]})


class TestWhatIsSaid:
    def test_a_whole_entry(self) -> None:
        assert told() == ModelInfo(
            model="m",
            service_type="chatbot",
            context_window=8192,
            max_output_tokens=1024,
            capabilities=frozenset({"tools", "response_format", "structured_outputs", "temperature"}),
            inputs=frozenset({"text", "image"}),
            outputs=frozenset({"text"}),
        )

    @pytest.mark.parametrize(
        ("parameters", "tools", "structured_output", "json_mode", "reasoning"),
        [
            (["tools", "structured_outputs"], True, True, True, False),
            (["response_format"], False, None, True, False),
            (["temperature"], False, False, False, False),
            (["tool_choice", "reasoning_effort"], True, False, False, True),
            (["reasoning"], False, False, False, True),
            ([], None, None, None, None),
            (None, None, None, None, None),
            ("tools", None, None, None, None),
            ([7, {}, None], None, None, None, None),
        ],
    )
    def test_abilities_follow_from_the_parameters(
        self, parameters: Any, tools: Any, structured_output: Any, json_mode: Any, reasoning: Any
    ) -> None:
        info = told(supported_parameters=parameters)
        assert (info.tools, info.structured_output, info.json_mode, info.reasoning) == (
            tools,
            structured_output,
            json_mode,
            reasoning,
        )

    @pytest.mark.parametrize(
        ("architecture", "images", "audio"),
        [
            ({"input_modalities": ["text", "image"]}, True, False),
            ({"input_modalities": ["text"]}, False, False),
            ({"modality": "text+image+audio->text"}, True, True),
            ({"modality": "text->text"}, False, False),
            ({"modality": "->"}, None, None),
            ({"modality": 5, "input_modalities": {"image": 1}}, None, None),
            (None, None, None),
            ("image", None, None),
        ],
    )
    def test_what_it_reads_follows_from_the_architecture(self, architecture: Any, images: Any, audio: Any) -> None:
        info = told(architecture=architecture)
        assert (info.images, info.audio) == (images, audio)

    @pytest.mark.parametrize("size", [0, -1, True, 8192.0, "8192", None, 2**31, 10**400, [8192], {}])
    def test_a_size_that_is_no_plausible_count_is_not_said(self, size: Any) -> None:
        info = told(context_length=size, max_completion_tokens=size)
        assert (info.context_window, info.max_output_tokens) == (None, None)

    def test_an_answer_longer_than_the_context_is_not_said(self) -> None:
        assert told(max_completion_tokens=8192).max_output_tokens == 8192
        assert told(max_completion_tokens=8193).max_output_tokens is None

    def test_long_lists_and_odd_words_are_cut(self) -> None:
        words = ["tools", "x" * 65, "two words", "é", "", "1st", *(f"p{n}" for n in range(500))]
        info = told(supported_parameters=words)
        assert "tools" in info.capabilities
        assert len(info.capabilities) == 251

    @given(
        listed=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*ENTRY, "data", "modality"]), inner),
        )
    )
    def test_anything_at_all_gives_an_answer_of_the_right_types(self, listed: Any) -> None:
        for one in (listed, {"data": listed}, {"data": [listed]}):
            info = model_info(service(), "m", one)
            assert info.model == "m"
            assert all(type(value) is int for value in (info.context_window, info.max_output_tokens) if value)
            for field in (info.capabilities, info.inputs, info.outputs):
                assert isinstance(field, frozenset)
                assert all(isinstance(word, str) for word in field)


class TestWhichEntry:
    LISTED: dict[str, Any] = {  # noqa: RUF012
        "data": [
            "junk",
            {"id": 5, "context_length": 1},
            {"id": "other", "canonical_id": "vendor/m", "context_length": 2},
            {"id": "m", "context_length": 3},
            {"id": "m", "context_length": 4},
        ]
    }

    @pytest.mark.parametrize(("model", "context"), [("m", 3), ("vendor/m", 2), ("other", 2), ("M", None), ("x", None)])
    def test_the_first_of_that_id_or_canonical_id(self, model: str, context: int | None) -> None:
        assert model_info(service(), model, self.LISTED).context_window == context

    def test_the_only_one_of_a_provider_of_one_model_is_meant_by_any_name(self) -> None:
        listed = {"data": [{"id": "another-name", "context_length": 7}]}
        assert model_info(service(), "m", listed).context_window == 7
        assert model_info(service(additional_info='{"MultiModel": true}'), "m", listed).context_window is None

    @pytest.mark.parametrize("listed", [None, [], {}, {"data": None}, {"data": {}}, {"data": []}, "m", 5])
    def test_nothing_listed_says_nothing(self, listed: Any) -> None:
        assert model_info(service(), "m", listed) == ModelInfo("m", service_type="chatbot")


class Asked:
    """A catalogue and the server it asks, over either transport."""

    def __init__(self, kind: str) -> None:
        self.server = Server()
        self.service = service(url=self.server.url)
        self.asynchronous = kind == "async"

    def infos(self, times: int, at_once: bool = False) -> list[ModelInfo]:
        if not self.asynchronous:
            transport = SyncTransport()
            known = Catalogue(transport)
            try:
                return [run(known.info(self.service, "m")) for _ in range(times)]
            finally:
                transport.close()

        async def ask() -> list[ModelInfo]:
            transport = AsyncTransport()
            known = Catalogue(transport)
            try:
                if at_once:
                    return list(await asyncio.gather(*(known.info(self.service, "m") for _ in range(times))))
                return [await known.info(self.service, "m") for _ in range(times)]
            finally:
                await transport.close()

        return asyncio.run(ask())


@pytest.fixture(params=["sync", "async"])
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    made = Asked(request.param)
    yield made
    made.server.stop()


GOOD = answer(json.dumps({"data": [ENTRY]}).encode())


class TestReading:
    def test_a_provider_is_asked_once_in_ten_minutes(self, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
        asked.server.script = [[GOOD], [GOOD]]
        assert [info.context_window for info in asked.infos(3)] == [8192] * 3
        (request,) = asked.server.received
        assert request.head.startswith(b"GET /v1/models HTTP/1.1\r\n")
        assert "authorization" not in request.headers
        monkeypatch.setattr(catalogue, "LIFETIME", 0.0)
        asked.server.script = [[GOOD], [GOOD]]
        asked.infos(2)
        assert len(asked.server.received) == 3

    def test_many_at_once_ask_once(self, asked: Asked) -> None:
        asked.server.script = [[GOOD]]
        assert len(asked.infos(5, at_once=True)) == 5
        assert len(asked.server.received) == 1

    @pytest.mark.parametrize(
        "said",
        [
            answer(b"", "404 Not Found"),
            answer(b"nothing"),
            answer(b"[" * 100_000),
            answer(b"[]"),
            answer(b'{"data": [', "200 OK"),
            answer(json.dumps({"data": [ENTRY]}).encode(), "307 Temporary", Location="http://127.0.0.1:1/"),
        ],
        ids=["404", "text", "deep", "list", "half", "redirect"],
    )
    def test_a_provider_without_a_list_says_nothing_and_is_not_asked_again(self, asked: Asked, said: bytes) -> None:
        asked.server.script = [[said]]
        assert asked.infos(2) == [ModelInfo("m", service_type="chatbot")] * 2
        assert len(asked.server.received) == 1

    @pytest.mark.parametrize(
        "steps",
        [
            [answer(b"", "503 Service Unavailable")],
            [answer(b"", "429 Too Many")],
            [CLOSE],
            [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123", CLOSE],
            [answer(b" " * (5 * 1024 * 1024 + 1))],
        ],
        ids=["503", "429", "closed", "cut", "huge"],
    )
    def test_one_that_cannot_be_asked_now_is_an_error_and_asked_again(self, asked: Asked, steps: list[Any]) -> None:
        asked.server.script = [steps, [GOOD]]
        with pytest.raises(ProviderUnavailable):
            asked.infos(1)
        assert asked.infos(1)[0].context_window == 8192


class TestClients:
    def test_both_clients_tell_what_the_provider_says(self, options: dict[str, Any], provider: Any) -> None:
        settings = {**options, "provider": provider.address}
        with ChatClient(**settings) as client:
            info = client.model_info()
            assert client.model_info(provider.adapter).context_window == info.context_window

        async def ask() -> ModelInfo:
            async with AsyncChatClient(**settings) as client:
                return await client.model_info("chat-ml")

        assert asyncio.run(ask()) == info
        assert (info.model, info.tools, info.structured_output, info.images, info.reasoning) == (
            "chat-ml",
            True,
            True,
            True,
            True,
        )
        assert info.context_window == provider.spec.context_length
        assert info.max_output_tokens
        assert {field.name for field in fields(info)} >= {"context_window", "capabilities", "inputs"}

    def test_making_a_client_asks_nothing(self, options: dict[str, Any], provider: Any) -> None:
        before = len(provider.requests)
        ChatClient(**{**options, "provider": provider.address}).close()
        assert len(provider.requests) == before
