"""Which target to choose, and why: decided from the numbers of a comparison, and said in words with these numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zg_core.compare.targets import TargetSummary, money
from zg_core.shown.escaping import html, line, markdown
from zg_core.types import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zg_core.money import Amount

__all__ = ["Recommendation", "recommend"]

_INSIDE = (Prompt.DECLARED, Prompt.SEALED)


class _Name(str):
    """A stranger's word, to be escaped where it is shown."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to choose, and why. Shows itself as a paragraph in a notebook.

    Attributes:
        private: The cheapest of those whose answers were proven and right, and whose prompts stay in enclaves; None if
            there is none.
        fastest: The quickest to its first token among the same.
        cheapest: The cheapest where a vendor, too, may read the prompt.
        passed_over: By target, why it is out of the question.
        text: All of it in sentences. Names in it are strangers' words; shown, they are escaped.
    """

    private: str | None
    fastest: str | None
    cheapest: str | None
    passed_over: Mapping[str, str]
    text: str
    _parts: tuple[tuple[str, ...], ...] = ()

    def __str__(self) -> str:
        return line(self.text)

    def _shown(self, name: Callable[[str], str]) -> list[str]:
        return ["".join(name(each) if isinstance(each, _Name) else each for each in part) for part in self._parts]

    def _repr_markdown_(self) -> str:
        return "\n\n".join(self._shown(lambda each: f"**{markdown(each)}**"))

    def _repr_html_(self) -> str:
        return "".join(f"<p>{each}</p>" for each in self._shown(lambda each: f"<b>{html(each)}</b>"))


def recommend(
    targets: Sequence[TargetSummary], *, verified: float = 0.95, correct: float = 0.75, failed: float = 0.05
) -> Recommendation:
    """Choose among targets.

    A target comes into question if enough of its calls were verified, enough of the graded answers right, and few
    failed. Of these the one whose right answers cost least is chosen (without grades: whose tokens do), once among
    those whose prompts stay in enclaves, once among all.

    Args:
        targets: Their numbers.
        verified: Least share of calls that were verified, 0 to 1.
        correct: Least share of right answers.
        failed: Greatest share of calls that failed.

    Example:
        >>> recommend([]).text
        'There is nothing to choose from: no call was made.'
    """
    asked = [each for each in targets if each.calls]
    passed = {each.target: why for each in asked if (why := _against(each, verified, correct, failed))}
    fit = sorted((each for each in asked if each.target not in passed), key=_price)
    inside = [each for each in fit if each.readers in _INSIDE]
    private, cheapest = (group[0] if group else None for group in (inside, fit))
    fastest = min(inside, key=_first, default=None)
    sentences: list[tuple[str, ...]] = [_rule(asked, fit, verified, correct, failed)]
    if private is not None and fastest is not None:
        sentences.append(_private(private, fastest))
    elif asked:
        sentences.append(("None of them keeps the prompt in enclaves.",) if fit else ("So none can be recommended.",))
    if cheapest is not None and cheapest is not private:
        sentences.append(_cheapest(cheapest, private))
    if passed:
        sentences.append(_passed_over(asked, passed, cheapest))
    return Recommendation(
        private=_name(private),
        fastest=_name(fastest),
        cheapest=_name(cheapest),
        passed_over=passed,
        text=" ".join("".join(each) for each in sentences),
        _parts=tuple(sentences),
    )


def _against(target: TargetSummary, verified: float, correct: float, failed: float) -> str:
    """Why it is out of the question; "" if it is not."""
    against = []
    if (target.failure_rate or 0) > failed:
        against.append(f"{_percent(target.failure_rate)} of its calls failed")
    elif (target.verified_rate or 0) < verified:
        proven = f"{_percent(target.verified_rate)} of its answers were verified"
        if target.signer_only_rate:
            proven += f"; of {_percent(target.signer_only_rate)} the signer is known, not what it signed"
        against.append(proven)
    if target.correct_rate is not None and target.correct_rate < correct and not against:
        against.append(f"{_percent(target.correct_rate)} of its answers were right")
    return "; ".join(against)


def _rule(
    asked: Sequence[TargetSummary], fit: Sequence[TargetSummary], verified: float, correct: float, failed: float
) -> tuple[str, ...]:
    if not asked:
        return ("There is nothing to choose from: no call was made.",)
    graded = any(each.correct_rate is not None for each in asked)
    right = f", at least {_percent(correct)} of the graded ones right" if graded else ""
    bars = f"at least {_percent(verified)} of their answers verified{right}, at most {_percent(failed)} of calls failed"
    return (f"{len(fit)} of {len(asked)} targets come into question: {bars}.",)


def _private(private: TargetSummary, fastest: TargetSummary) -> tuple[str, ...]:
    said = (
        "If the prompt must stay in enclaves, take ",
        _Name(private.target),
        f": it costs least of those, {_cost(private)}",
    )
    if fastest is private:
        return (*said, f", and it is the first to answer, after {_speed(private)}.")
    return (
        *said,
        f" (first token after {_speed(private)}). If time matters more, take ",
        _Name(fastest.target),
        f": {_speed(fastest)}, at {_cost(fastest)}{_times(fastest, private)}.",
    )


def _cheapest(cheapest: TargetSummary, private: TargetSummary | None) -> tuple[str, ...]:
    who = "a vendor" if cheapest.readers == Prompt.VENDOR else "others"
    than = "" if private is None else _times(private, cheapest, "; the one above costs {} times that")
    start = f"If {who} may read the prompt, take " if private is not None else f"{who.capitalize()} read it; take "
    return (start, _Name(cheapest.target), f": {_cost(cheapest)}, first token after {_speed(cheapest)}{than}.")


def _passed_over(
    asked: Sequence[TargetSummary], passed: Mapping[str, str], cheapest: TargetSummary | None
) -> tuple[str, ...]:
    said: list[str] = ["Passed over: "]
    for number, each in enumerate(one for one in asked if one.target in passed):
        said += ["; " if number else "", _Name(each.target)]
        less = cheapest is not None and _tokens(each) < _tokens(cheapest)
        said.append(f" ({'cheaper, but ' if less else ''}{passed[each.target]})")
    return (*said, ".")


def _name(target: TargetSummary | None) -> str | None:
    return None if target is None else target.target


def _price(target: TargetSummary) -> float:
    """What it is chosen by: a right answer's cost, without grades that of tokens; a target without either is last."""
    price = target.cost_per_correct if target.correct_rate is not None else target.cost_per_1000_tokens
    return float("inf") if price is None else price.units


def _tokens(target: TargetSummary) -> float:
    return float("inf") if target.cost_per_1000_tokens is None else target.cost_per_1000_tokens.units


def _first(target: TargetSummary) -> float:
    return float("inf") if target.first_token_ms is None else target.first_token_ms


def _cost(target: TargetSummary) -> str:
    graded = target.correct_rate is not None
    price: Amount | None = target.cost_per_correct if graded else target.cost_per_1000_tokens
    about = "" if target.cost_exact else "at least "
    return f"{about}{money(price)} {target.cost.currency} {'a right answer' if graded else 'for 1,000 tokens'}"


def _speed(target: TargetSummary) -> str:
    if target.first_token_ms is None or target.tokens_per_second is None:
        return "a time that was not measured"
    return f"{target.first_token_ms:,.0f} ms, {target.tokens_per_second:,.0f} tokens/s"


def _times(dear: TargetSummary, cheap: TargetSummary, form: str = ", {} times as much") -> str:
    low, high = _price(cheap), _price(dear)
    return form.format(f"{high / low:.1f}") if 0 < low < high < float("inf") else ""


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0):.0f} %"
