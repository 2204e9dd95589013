"""Which fields are sealed: the published rules, and what is refused before anything leaves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.zg_core.sealing.known import profile, vectors
from zg_core.errors import ConfigError
from zg_core.sealing.profiles import PROFILES, check_clear, profile_of, split

REFUSED = vectors("profiles")["must_refuse"]


@pytest.mark.parametrize("case", REFUSED, ids=[each["why"] for each in REFUSED])
def test_every_envelope_that_must_be_refused_is(case: dict[str, Any]) -> None:
    envelope = dict(case["envelope_without_ciphertext"])
    seal = envelope.pop("_e2ee")
    found = check_clear(envelope, profile(case["profile"]), seal["sealed_fields"], seal["unbound_fields"])
    assert found


@pytest.mark.parametrize("name", ["image", "speech", "embedding"])
def test_a_published_request_is_split_as_published(name: str) -> None:
    request = vectors("profiles")["profiles"][name]["request"]
    sealed, clear = split(request["plain"], profile(name))
    assert list(sealed) == request["envelope"]["_e2ee"]["sealed_fields"]
    assert clear == {key: value for key, value in request["envelope"].items() if key != "_e2ee"}


def test_tools_are_sealed_even_where_they_are_empty() -> None:
    sealed, clear = split({"model": "m", "messages": [], "tools": [], "tool_choice": None}, PROFILES["chat"])
    assert (list(sealed), list(clear)) == (["messages", "tools", "tool_choice"], ["model"])


SPEECH = {"model": "w", "file_base64": "AA==", "response_format": "verbose_json"}


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("chat", {"model": "m"}),
        ("chat", {"messages": [], "provider": {"sort": "price"}}),
        ("chat", {"messages": [], "verify_tee": True}),
        ("chat", {"messages": [], "plugins": []}),
        ("chat", {"messages": [], "_e2ee": {}}),
        ("image", {"prompt": "p", "response_format": "url"}),
        ("speech", {**SPEECH, "stream": True}),
        ("speech", {**SPEECH, "filename": "../x.wav"}),
        ("speech", {**SPEECH, "filename": ".."}),
        ("speech", {**SPEECH, "filename": 'a"b'}),
        ("speech", {**SPEECH, "file": "x"}),
        ("speech", {**SPEECH, "extra": {"a": 1}}),
        ("speech", {**SPEECH, 'x"y': 1}),
    ],
)
def test_what_the_enclave_would_refuse_is_refused_before_it_leaves(name: str, payload: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="nothing was sent"):
        split(payload, profile(name))


@pytest.mark.parametrize("task", ["image_edits", "videos"])
def test_a_task_without_a_sealed_form_is_refused(task: str) -> None:
    with pytest.raises(ConfigError) as caught:
        profile_of(task)
    assert caught.value.code == "cannot_seal"
