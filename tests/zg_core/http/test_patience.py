"""How long a connection may have been idle and still carry a paid request."""

from __future__ import annotations

import pytest

from zg_core.http import patience as module
from zg_core.http.patience import Patience


def bounds(patience: Patience, now: float = 0.0) -> tuple[float, float]:
    return patience.bound(now, paid=True), patience.bound(now, paid=False)


def test_it_begins_below_the_5_seconds_of_most_servers() -> None:
    assert bounds(Patience()) == (4.0, 30.0)


@pytest.mark.parametrize(
    ("word", "paid", "kept"),
    [
        ("timeout=5", 4.0, 5.0),
        ("timeout=5, max=1000", 4.0, 5.0),
        ("max=7,TIMEOUT = 15", 14.0, 15.0),
        ('timeout="2"', 1.0, 2.0),
        ("timeout=1", 0.5, 1.0),
        ("timeout=0", 0.0, 0.0),
        ("timeout=600", 30.0, 30.0),
        ("xtimeout=3", 4.0, 30.0),
        ("timeout=-3", 4.0, 30.0),
        ("", 4.0, 30.0),
        ("soon", 4.0, 30.0),
    ],
)
def test_what_a_server_announces_counts(word: str, paid: float, kept: float) -> None:
    patience = Patience()
    patience.announced(word)
    assert bounds(patience) == (paid, kept)


def test_what_survived_a_silence_survives_it_again() -> None:
    patience = Patience()
    patience.survived(3.0)
    assert bounds(patience) == (4.0, 30.0)
    patience.survived(20.0)
    patience.survived(9.0)
    assert bounds(patience) == (19.0, 30.0)  # the server's clock runs on while the next request is under way


def test_what_is_announced_is_not_overruled_by_luck() -> None:
    patience = Patience()
    patience.announced("timeout=5")
    patience.survived(29.0)
    assert bounds(patience) == (4.0, 5.0)


def test_a_hang_up_shortens_it_for_some_minutes() -> None:
    patience = Patience()
    patience.survived(20.0)
    patience.hung_up(6.0, now=1000.0)
    assert bounds(patience, 1000.0) == (3.0, 30.0)
    patience.survived(29.0)
    patience.hung_up(25.0, now=1001.0)
    assert bounds(patience, 1001.0) == (3.0, 30.0), "neither luck nor a later hang-up makes it longer"
    assert bounds(patience, 1001.0 + module._MEMORY + 1) == (4.0, 30.0)
