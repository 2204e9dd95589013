"""Which names a request may hold."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest
from openai.types import EmbeddingCreateParams
from openai.types.chat import completion_create_params as chat

from zg_core.client import SETTINGS, ChatClient
from zg_core.errors import ArgumentError
from zg_core.tasks.parameters import CHAT, EMBEDDINGS, refuse_settings, setting_named

KEY = "0x" + "5ec7e7ab" * 8


def test_every_parameter_of_the_official_client_is_known() -> None:
    # `stream` stands in the two forms of a call, not in what they share
    theirs = set(typing.get_type_hints(chat.CompletionCreateParamsBase)) | {"stream"}
    assert theirs <= CHAT, sorted(theirs - CHAT)
    assert set(typing.get_type_hints(EmbeddingCreateParams)) <= EMBEDDINGS


def test_the_settings_are_those_that_a_client_takes() -> None:
    assert set(inspect.signature(ChatClient).parameters) == SETTINGS
    assert {"private_key", "verify", "timeout", "stream", "headers"} <= SETTINGS


@pytest.mark.parametrize("name", sorted(SETTINGS - {"model"}))
def test_no_setting_may_stand_in_a_request(name: str) -> None:
    for spelling in (name, name.upper(), name.replace("_", "-"), name.replace("_", "")):
        with pytest.raises(ArgumentError, match=spelling) as caught:
            refuse_settings({"messages": [], spelling: "something"}, SETTINGS)
        assert caught.value.code == "setting_in_request"
        assert isinstance(caught.value, TypeError)
        assert f"{name}=…" in caught.value.hint
        assert "something" not in str(caught.value)


@pytest.mark.parametrize("name", ["extra_body", "extra_headers", "extra_query", "timeout"])
def test_options_of_a_request_are_no_part_of_its_body(name: str) -> None:
    with pytest.raises(ArgumentError):
        refuse_settings({name: {}}, SETTINGS)


@pytest.mark.parametrize(
    "body",
    [
        dict.fromkeys(CHAT - {"store", "stream", "model"}, "x"),
        {"model": "m", "store": True, "stream": False},
        {"model": None, "store": None, "stream": None},
        {"top_k": 4, "min_p": 0.1, "chat_template_kwargs": {"private_key": "of a template"}},
        {},
    ],
    ids=lambda body: f"{len(body)} names",
)
def test_parameters_of_requests_pass(body: dict[str, Any]) -> None:
    refuse_settings(body, SETTINGS)


@pytest.mark.parametrize(("name", "value"), [("store", "sqlite:///x"), ("stream", "hold")])
def test_a_name_that_both_use_is_told_by_its_value(name: str, value: str) -> None:
    assert setting_named(name, value, SETTINGS) == name
    assert setting_named(name, True, SETTINGS) is None


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"private_key": KEY}},
        {"options": {"a": [{"PRIVATE-KEY": KEY[2:].upper()}]}},
        {"stream_options": ({"privateKey": f" {KEY} "},)},
    ],
    ids=lambda body: next(iter(body)),
)
def test_a_private_key_is_found_however_deep_it_lies(body: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(body))) as caught:
        refuse_settings(body, SETTINGS)
    assert caught.value.code == "setting_in_request"
    assert KEY[2:] not in str(caught.value)


def test_further_down_other_things_may_have_the_names_of_settings() -> None:
    shape = {"type": "object", "properties": {"private_key": {"type": "string"}}, "required": ["private_key"]}
    circle: dict[str, Any] = {"private_key": None, "api_key": "of a search engine", "verify": True}
    circle["self"] = circle
    messages = [{"role": "user", "content": "sign", "private_key": KEY}]  # what people write is theirs
    refuse_settings({"messages": messages, "guided_json": shape, "x": circle}, SETTINGS)
