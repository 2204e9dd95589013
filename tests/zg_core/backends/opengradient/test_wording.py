"""Requests in the words of gateways: vendors' quirks are met before anything is sent."""

from __future__ import annotations

import logging

import pytest

from zg_core.backends.opengradient.wording import IGNORED, LEAST_TOKENS, worded
from zg_core.errors import ConfigError

ASKED = {"messages": [{"role": "user", "content": "hi"}]}


def test_the_vendor_is_no_part_of_the_name_on_the_wire():
    assert worded(ASKED, "anthropic/claude-opus-5")["model"] == "claude-opus-5"
    assert worded({**ASKED, "model": "x-ai/grok-9"}, "other")["model"] == "grok-9"


def test_a_limit_is_always_sent_under_the_name_that_gateways_read():
    assert worded(ASKED, "m")["max_tokens"] == LEAST_TOKENS
    sent = worded({**ASKED, "max_completion_tokens": 7}, "m")
    assert sent["max_tokens"] == 7
    assert "max_completion_tokens" not in sent


def test_developers_are_systems_and_any_tool_is_required():
    sent = worded({"messages": [{"role": "developer", "content": "x"}], "tool_choice": "any"}, "m")
    assert sent["messages"][0]["role"] == "system"
    assert sent["tool_choice"] == "required"


def test_one_text_in_a_list_is_that_text_and_attachments_stay():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    text = {"type": "text", "text": "what"}
    sent = worded({"messages": [{"role": "user", "content": [text]}, {"role": "user", "content": [text, image]}]}, "m")
    assert sent["messages"][0]["content"] == "what"
    assert sent["messages"][1]["content"] == [text, image]
    several = worded({"messages": [{"role": "system", "content": [text, text]}]}, "m")
    assert several["messages"][0]["content"] == "what\nwhat"


def test_what_is_ignored_is_not_sent_and_said_in_the_log(caplog):
    payload = {**ASKED, **dict.fromkeys(IGNORED - {"n"}, 1), "n": 1}
    with caplog.at_level(logging.INFO):
        sent = worded(payload, "m")
    assert not IGNORED & set(sent)
    assert "parallel_tool_calls" in caplog.text


def test_stop_is_sent_because_it_is_signed_and_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        assert worded({**ASKED, "stop": "\n"}, "m")["stop"] == ["\n"]
    assert "do not stop there" in caplog.text


@pytest.mark.parametrize(
    ("payload", "model"),
    [
        ({"response_format": {"type": "json_object"}}, "anthropic/claude-opus-5"),
        ({"response_format": {"type": "json_object"}}, "claude-opus-5"),
        ({"n": 2}, "gpt-5"),
        ({"functions": [{}]}, "gpt-5"),
    ],
)
def test_what_no_gateway_can_do_is_refused_before_it_is_sent(payload, model):
    with pytest.raises(ConfigError) as refused:
        worded({**ASKED, **payload}, model)
    assert refused.value.code == "not_supported"


def test_the_caller_s_request_stays_as_it_is():
    payload = {"messages": [{"role": "developer", "content": "x"}]}
    worded(payload, "m")
    assert payload == {"messages": [{"role": "developer", "content": "x"}]}
