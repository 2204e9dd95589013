"""What a comparison recommends follows from its numbers, and comparisons of several currencies become one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.zg_core.compare.test_parts import row
from zg_core import Amount, ConfigError
from zg_core.compare import Comparison, Row, together


def calls(target: str, *, fee: int, first: float = 50.0, right: int = 4, kind: str = "TeeML", **facts) -> list[Row]:
    """Four graded calls; a call's fee in 10^9 units."""
    readers = {"TeeML": "declared", "TeeTLS": "vendor", "standard": "open"}[kind]
    made = row(target, fee=Amount(fee * 10**9), first_token_ms=first, kind=kind, readers=readers, **facts)
    return [replace(made, correct=number < right and not made.error) for number in range(4)]


HONEST = calls("dear", fee=40, first=20.0) + calls("cheap", fee=10, first=60.0) + calls("relay", fee=5, kind="TeeTLS")
LIAR = calls("liar", fee=1, verdict="failed", error="content_mismatch")
PLAIN = calls("plain", fee=2, kind="standard", verdict="not_verifiable")
HASTY = calls("hasty", fee=3, right=1)


def test_the_cheapest_proven_and_right_is_chosen_and_the_others_are_passed_over_with_reasons():
    found = Comparison(HONEST + LIAR + PLAIN + HASTY).summary().recommend()
    assert (found.private, found.fastest, found.cheapest) == ("cheap", "dear", "relay")
    assert found.passed_over == {
        "liar": "100 % of its calls failed",
        "plain": "0 % of its answers were verified",
        "hasty": "25 % of its answers were right",
    }
    assert "3 of 6 targets" in found.text
    assert "take cheap: it costs least of those, 0.00000001 0G a right answer" in found.text
    assert "4.0 times as much" in found.text
    assert "If a vendor may read the prompt, take relay: 0.000000005 0G a right answer" in found.text
    assert "liar (cheaper, but 100 % of its calls failed)" in found.text


def test_other_numbers_make_another_choice():
    swapped = calls("dear", fee=4) + calls("cheap", fee=10)
    found = Comparison(swapped).summary().recommend()
    assert (found.private, found.fastest, found.cheapest) == ("dear", "dear", "dear")
    assert "a vendor" not in found.text
    assert "Passed over" not in found.text
    lax = calls("hasty", fee=2, right=1)
    assert Comparison(HONEST + lax).summary().recommend().private == "cheap"
    assert Comparison(HONEST + lax).summary().recommend(correct=0.2).private == "hasty"
    assert Comparison(HONEST + HASTY).summary().recommend(correct=0.2).private == "cheap"


def test_where_nothing_fits_nothing_is_recommended():
    found = Comparison(LIAR + PLAIN).summary().recommend()
    assert (found.private, found.fastest, found.cheapest) == (None, None, None)
    assert "none can be recommended" in found.text
    relayed = Comparison(calls("relay", fee=5, kind="TeeTLS")).summary().recommend()
    assert (relayed.private, relayed.cheapest) == (None, "relay")
    assert "None of them keeps the prompt in enclaves. A vendor read it; take relay" in relayed.text


def test_a_wrong_answer_makes_a_right_one_dearer_and_can_change_the_choice():
    careful, careless = calls("careful", fee=10), calls("careless", fee=9, right=3)
    assert Comparison(careful + careless).summary().recommend().private == "careful"  # 10 against 12 a right answer
    without = [replace(each, correct=None) for each in careful + careless]
    found = Comparison(without).summary().recommend()
    assert found.private == "careless"
    assert "for 1,000 tokens" in found.text


def test_an_amount_that_is_a_lower_bound_is_called_one():
    found = Comparison(calls("a", fee=5, kind="TeeTLS", fee_exact=False)).summary().recommend()
    assert "take a: at least 0.000000005 0G" in found.text


def test_names_of_strangers_are_escaped_where_the_choice_is_shown():
    found = Comparison(calls("<b>|*x*\x1b[2J", fee=5)).summary().recommend()
    assert "&lt;b&gt;" in found._repr_html_()
    assert "<b>|" not in found._repr_html_().replace("<b>&lt;", "")
    assert "*x*" not in found._repr_markdown_()
    assert "\x1b" not in str(found)
    assert "take **" in found._repr_markdown_()


def test_comparisons_of_two_currencies_become_one_in_a_third():
    direct = Comparison([row("a", fee=Amount("0.5"))])
    gradient = Comparison([row("a", fee=Amount("3", "OPG"), correct=True)])
    both = together({"Direct": direct, "OG": gradient}, rates={"0G": "0.8", "OPG": "0.05"})
    assert [each.target for each in both] == ["Direct: a", "OG: a"]
    assert [each.fee for each in both] == [Amount("0.4", "USD"), Amount("0.15", "USD")]
    assert both.cost == both.spent == Amount("0.55", "USD")
    assert both.rows[1].correct is True
    shown = both.summary().to_markdown()
    assert "cost (USD)" in shown
    assert "(0G)" not in shown
    assert "1 0G = 0.8 USD, 1 OPG = 0.05 USD" in shown
    assert "1 0G = 0.8 USD" in both.summary()._repr_html_()
    figure = both.plot()
    assert "1 OPG = 0.05 USD" in figure.get_supxlabel()
    assert "USD" in figure.axes[0].get_xlabel()


def test_what_cannot_be_converted_is_an_error_and_never_added_up():
    mixed = {"a": Comparison([row("a")]), "b": Comparison([row("b", fee=Amount(1, "OPG"))])}
    with pytest.raises(ConfigError, match="paid in OPG") as missing:
        together(mixed, rates={"0G": "0.8"})
    assert missing.value.code == "bad_rate"
    for rate in ("0", "-1", "dear", "NaN", "Infinity", 0.8):
        with pytest.raises(ConfigError, match="positive number"):
            together(mixed, rates={"0G": rate, "OPG": "1"})
    rows = [each for comparison in mixed.values() for each in comparison]
    with pytest.raises(ConfigError, match="cannot mix"):
        _ = Comparison(rows).cost
    assert together({"a": mixed["a"]}, currency="0G").note == ""


@example(units=91_543_674_971_471_324_812_911_851_446, rate=Decimal("0.008475"))
@given(st.integers(0, 10**30), st.decimals("0.000001", "1000", places=6))
def test_no_amount_becomes_smaller_by_converting(units, rate):
    (found,) = together({"": Comparison([row("a", fee=Amount(units))])}, rates={"0G": str(rate)})
    assert 0 <= found.fee.units - Fraction(units) * Fraction(rate) < 1  # exact: a product of decimals is rounded


def test_a_relayed_answer_looks_unlike_one_from_inside_an_enclave():
    figure = Comparison(HONEST + LIAR + PLAIN + HASTY).plot("price", "answers", "cost")
    figure.canvas.draw()
    for axes in figure.axes:
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        assert [name for name in names if "TeeTLS" in name], names
        assert [name for name in names if name.endswith("verified")], names
    price, answers, _ = figure.axes
    dots = {each.get_label(): each for each in price.collections}
    inside, outside = dots["verified"], dots["verified, TeeTLS"]
    assert len(inside.get_facecolor())
    assert not len(outside.get_facecolor())  # hollow, also without colour
    assert not all(
        (a.vertices == b.vertices).all() for a, b in zip(inside.get_paths(), outside.get_paths(), strict=True)
        if a.vertices.shape == b.vertices.shape
    ) or inside.get_paths()[0].vertices.shape != outside.get_paths()[0].vertices.shape  # fmt: skip
    looks = {each.get_label(): each.patches[0] for each in answers.containers}
    pairs = {(look.get_facecolor(), look.get_hatch()) for look in looks.values()}
    assert len(pairs) == len(looks) == 5


def test_what_is_told_apart_by_colour_is_told_apart_in_grey():
    figure = Comparison(HONEST + LIAR + PLAIN + HASTY).plot("answers")
    looks = []
    for container in figure.axes[0].containers:
        red, green, blue, _ = container.patches[0].get_facecolor()
        looks.append((0.299 * red + 0.587 * green + 0.114 * blue, container.patches[0].get_hatch() or ""))
    for (one, hatch), (other, another) in itertools.combinations(looks, 2):
        assert hatch != another or abs(one - other) > 0.2, looks


def test_a_figure_says_who_was_right_and_what_that_cost():
    (axes,) = Comparison(HONEST + LIAR + HASTY).plot("answers").axes
    said = [text.get_text() for text in axes.texts]
    assert "none right" in said
    assert "0.000000012" in said  # 4 calls of 3, one of them right
    assert "0G per right answer" in said
    wrong = next(each for each in axes.containers if each.get_label() == "wrong")
    assert [bar.get_width() for bar in wrong.patches] == [0, 0, 0, 0, 75]
