"""`compare` through 0G Router, in the clear and sealed: the same rows, and each says what it proves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.zg_core.backends.router.conftest import settings_for
from zg_core.compare import compare
from zg_core.localnet import LocalNet

PROMPTS = ["Say: swordfish", "Say: hello"]


@pytest.fixture(scope="module")
def routed() -> Iterator[LocalNet]:
    with LocalNet(providers=2, router=True) as net:
        yield net


@pytest.mark.parametrize(("sealed", "verdict"), [(False, "signer_only"), (True, "verified")])
def test_every_row_says_what_the_router_can_prove(routed: LocalNet, *, sealed: bool, verdict: str) -> None:
    routed.router.forget()
    settings: dict[str, Any] = settings_for(routed, sealed=sealed, cache=None, budget="1")
    del settings["model"]
    before = routed.router.balance
    result = compare(["local-chat-1", "local-chat-2"], PROMPTS, **settings)
    assert [row.error for row in result] == [""] * 4
    assert {row.verdict for row in result} == {verdict}
    assert {row.backend for row in result} == {"router"}
    assert {row.answer for row in result} == {"swordfish", "hello"}
    assert result.spent.units == before - routed.router.balance > 0
    if sealed:
        assert b"swordfish" not in b"".join(routed.router.seen)
