"""What every case of the field needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cases.chain.field import Expectations


@pytest.fixture
def expect() -> Iterator[Expectations]:
    """``expect(what, met, seen)``: the test fails with all that was not met."""
    made = Expectations()
    yield made
    if made.faults:
        pytest.fail("not as expected:\n" + "\n".join(made.faults), pytrace=False)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine that runs this stands between."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
