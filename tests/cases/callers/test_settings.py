"""Settings in the forms of other packages: understood, or explained."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest

import zg_core
from zg_core import Timeouts


@pytest.mark.parametrize("given", [(5, 60), httpx.Timeout(60, connect=5), httpx2.Timeout(60, connect=5)], ids=repr)
@pytest.mark.parametrize("name", ["timeout", "request_timeout"])
def test_a_timeout_of_httpx_is_understood_by_both_frameworks(
    lc: Any, li: Any, keeper: Any, way: Any, given: Any, name: str
) -> None:
    for make in (lc, li):
        assert make(**{name: given}).timeout == Timeouts(connect=5, read=60)
    way.lc(lc(**{name: given}), "q")
    way.lc(lc(), "q", timeout=given)
    assert set(keeper.last) <= {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize(
    "given", [httpx.Timeout(None), (None, 5), pytest.param(object(), id="object"), "soon", [1]], ids=repr
)
def test_a_timeout_without_an_end_or_of_no_form_is_named(lc: Any, li: Any, given: Any) -> None:
    for make in (lc, li):
        with pytest.raises(ValueError, match="timeout"):
            make(timeout=given)


def test_no_number_of_retries_is_the_default(lc: Any, li: Any, way: Any) -> None:
    way.lc(lc(max_retries=None), "q")
    assert li(max_retries=None).max_retries is None


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"budget": "0.1"}, 'Budget(per_day=og("0.1"))'),
        ({"wallet": "0x" + "22" * 32}, 'private_key="0x…"'),
        ({"routing": "price"}, 'Routing(sort="price")'),
        ({"limits": 10}, "Limits(per_minute=10)"),
    ],
    ids=str,
)
def test_a_text_or_number_for_an_object_is_answered_with_a_line_of_code(
    lc: Any, li: Any, given: dict[str, Any], line: str
) -> None:
    for make in (lc, li):
        with pytest.raises(zg_core.ConfigError) as caught:
            make(**given)
        assert line in caught.value.hint
        assert "2222" not in str(caught.value)
