"""What is asked: a request is named for a user without a change of anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.calls.call import Ask, Options
from zg_core.tasks.base import CHAT
from zg_core.tasks.requests import json_bytes


def sent_by(ask: Ask) -> bytes:
    return json_bytes("m", ask.payload, ask.data)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
payloads = st.dictionaries(st.text(max_size=8).filter(lambda name: name not in ("model", "user")), values, max_size=5)


def read(data: bytes) -> Ask:
    return Ask.read(data, CHAT.path, Options())


class TestForUser:
    @given(payloads)
    def test_a_payload_gets_one_and_nothing_else(self, payload: dict[str, Any]) -> None:
        ask = Ask({"model": "m", **payload}).for_user("name")
        assert json.loads(sent_by(ask)) == {"model": "m", **payload, "user": "name"}

    @given(payloads, st.sampled_from([None, 1, 4]), st.sampled_from([b"", b" \n", b"\xef\xbb\xbf"]))
    def test_of_bytes_all_others_stay_as_they_are(self, payload: dict[str, Any], indent: Any, before: bytes) -> None:
        data = before + json.dumps({**payload, "model": "m"}, indent=indent).encode()
        sent = sent_by(read(data).for_user("name"))
        assert json.loads(sent.removeprefix(b"\xef\xbb\xbf")) == {**payload, "model": "m", "user": "name"}
        assert sent.replace(b'"user":"name",', b"", 1) == data

    @pytest.mark.parametrize("data", [b"{}", b"{ }", b'{"user":null}', b'{"user":null,"n":1}'])
    def test_an_empty_object_and_a_null_are_none(self, data: bytes) -> None:
        sent = json.loads(sent_by(read(data).for_user("name")))
        assert (sent["user"], sent["model"]) == ("name", "m")

    @pytest.mark.parametrize("user", ["mine", "", 7])
    def test_who_names_one_keeps_it(self, user: Any) -> None:
        data = json.dumps({"model": "m", "user": user}).encode()
        assert sent_by(read(data).for_user("name")) == data
        assert Ask({"model": "m", "user": user}).for_user("name").payload["user"] == user

    def test_the_caller_s_payload_is_not_changed(self) -> None:
        payload: dict[str, Any] = {"model": "m"}
        Ask(payload).for_user("name")
        assert payload == {"model": "m"}
