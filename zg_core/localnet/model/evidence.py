"""What a prompt offers for filling in a form: labelled values, numbers, quoted literals, names, each used once."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from zg_core.localnet.model.arithmetic import expressions
from zg_core.localnet.model.context import best_choice
from zg_core.localnet.model.words import keywords, names, numbers, quoted, quoted_at, stem, topic, words

_PLACES: Final = frozenset(
    {"location", "city", "place", "country", "destination", "town", "region", "address", "origin", "capital", "state"}
)
_WHOLE: Final = frozenset({"question", "input", "prompt", "request", "instruction", "task", "query"})
_MATHS: Final = frozenset({"expression", "equation", "formula", "calculation"})
_OUTCOME: Final = frozenset({"answer", "summary", "result", "response", "output", "conclusion", "report"})
_SHAPES: Final = (
    (("email", "mail"), r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"),
    (("url", "uri", "link", "website"), r"https?://[^\s\"'<>)]{1,2000}"),
    (("datetime", "timestamp"), r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?"),
    (("date", "day", "birthday"), r"\d{4}-\d{2}-\d{2}"),
    (("time",), r"\b\d{1,2}:\d{2}(?::\d{2})?\b"),
    (("address", "wallet", "contract", "account"), r"\b0x[0-9a-fA-F]{40}\b"),
)
_NO: Final = (
    r"(?:no|without|omit|skip|exclude|excluding|leave out|leave off|do(?:n['\u2019]t| not) (?:include|add|give))"
)
_PLAIN_VALUE: Final = re.compile(
    # Words up to punctuation, or to a word that begins something else.
    r"[^\s,;:.!?()\"'`][^\n,;()!?\"']{0,80}?(?=$|[\n,;()!?\"']|\.(?:\s|$)|\s(?:and|with|in|at|for|from|to|on)\s)"
)


class Evidence:
    """The usable content of a text. What was taken once is not offered again.

    Args:
        text: The part of the prompt this form is about.
        whole: All of the prompt, for fields that take a question as a whole; `text` if not given.
        results: What tools returned for it, newest last.
    """

    def __init__(self, text: str, whole: str | None = None, results: Sequence[str] = ()) -> None:
        self.text = text
        self.whole = (whole or text).strip()
        self.results = tuple(results)
        facts = "\n".join((*self.results, text))
        self.keywords = frozenset(keywords(text))
        self._numbers = [number.value for number in numbers(facts)]
        choice = best_choice(text)
        if choice is not None:
            self._numbers.insert(0, choice)
        self._quoted = quoted(text)
        self._names = names(text)

    def declines(self, name: str) -> bool:
        """Whether the text says to leave `name` out."""
        pattern = rf"\b{_NO}\s+(?:the |a |an |any )?(?:{'|'.join(_labels(name))})s?\b"
        return re.search(pattern, self.text, re.IGNORECASE) is not None

    def mentions(self, name: str) -> bool:
        """Whether the text names `name` or one of its words."""
        return any(stem(word.lower()) in self.keywords for word in words(name) if len(word) > 1)

    def says(self, literal: str) -> bool:
        """Whether `literal` stands in the text as a word of its own."""
        return re.search(rf"(?<!\w){re.escape(literal)}(?!\w)", self.text, re.IGNORECASE) is not None

    def gives(self, name: str) -> bool:
        """Whether the text gives `name` a value, as in `name: …` or `name is …`."""
        return self._labelled_number(name) is not None or any(True for _ in self._labelled_strings(name))

    def denies(self, name: str) -> bool:
        """Whether the text says no to a yes-or-no field."""
        labels = "|".join(_labels(name))
        pattern = (
            rf"\b(?:{_NO}|not|disable|false)\s+(?:(?!but\b|and\b|or\b)\w+\s+){{0,2}}?(?:{labels})\b"
            rf"|\b(?:{labels})\s*(?:is|=|:)?\s*(?:false|no|off|disabled)\b"
        )
        return re.search(pattern, self.text, re.IGNORECASE) is not None

    def take_number(self, name: str, *, integer: bool) -> int | float | None:
        """The number that belongs to `name`, else the next unused one; an integer field prefers whole numbers."""
        value = self._labelled_number(name)
        if value is None:
            fitting = [number for number in self._numbers if not integer or isinstance(number, int)]
            value = next(iter(fitting or self._numbers), None)
        if value is None:
            return None
        if value in self._numbers:
            self._numbers.remove(value)
        return int(value) if integer else value

    def take_count(self, name: str) -> int | None:
        """How many of `name` the text asks for, as in `3 songs`."""
        for label in _labels(name):
            match = re.search(rf"(?<![\w.])(\d{{1,3}})\s+(?:\w+\s+)?{label}", self.text, re.IGNORECASE)
            if match:
                count = int(match.group(1))
                if count in self._numbers:
                    self._numbers.remove(count)
                return count
        return None

    def number_count(self) -> int:
        """How many unused numbers are left."""
        return len(self._numbers)

    def literals(self) -> list[str]:
        """The unused quoted literals."""
        return list(self._quoted)

    def strings(self, name: str) -> Iterator[str]:
        """Texts for the field `name`, best first; there is always one."""
        kinds = {word.lower() for word in words(name)}
        for fields, pattern in _SHAPES:
            if kinds & set(fields) and (match := re.search(pattern, self.text)):
                yield match.group()
        if self.results and kinds & _OUTCOME:
            yield "\n".join(self.results)
        yield from self._labelled_strings(name)
        if kinds & _MATHS:
            yield from (found.text for found in expressions(self.text))
        if kinds & _WHOLE and not ("query" in kinds and self._quoted):
            yield self.whole
        if kinds & _PLACES:
            yield from self._places()
        yield from list(self._quoted)
        yield from list(self._names)
        yield from _composed(name, topic(self.text))

    def take(self, text: str) -> None:
        """Mark `text` as used."""
        self._quoted = [literal for literal in self._quoted if literal != text]
        self._names = [known for known in self._names if known != text and known not in text]

    def _places(self) -> Iterator[str]:
        for known in self._names:
            if re.search(rf"\b(?:in|at|for|to|from|of|near|visit)\s+(?:the\s+)?{re.escape(known)}", self.text):
                yield known

    def _labelled_number(self, name: str) -> int | float | None:
        for label in _labels(name):
            pattern = rf"\b{label}\s*(?:is|are|was|of|to|at|=|:)?\s*\$?(-?\d[\d,]{{0,30}}(?:\.\d{{1,30}})?)"
            if match := re.search(pattern, self.text, re.IGNORECASE):
                return next((number.value for number in numbers(match.group(1))), None)
        return None

    def _labelled_strings(self, name: str) -> Iterator[str]:
        for label in _labels(name):
            joined = rf"\b{label}\s*(?P<is>=|:|\bis\b|\bnamed\b|\bcalled\b|\btitled\b)?\s*"
            for match in re.finditer(joined, self.text, re.IGNORECASE):
                literal = quoted_at(self.text, match.end())
                if literal is not None:
                    yield literal
                elif match["is"] and (plain := _PLAIN_VALUE.match(self.text, match.end())):
                    yield plain.group().strip()


def _labels(name: str) -> list[str]:
    """Patterns for how a text may call the field `name`: all its words, then its last, then the others."""
    parts = [re.escape(word.lower()) for word in words(name)] or [re.escape(name)]
    phrase = r"[\s_-]*".join(parts)
    singles = [part for part in (parts[-1], *parts[:-1]) if len(part) > 2]
    return list(dict.fromkeys([phrase, *singles]))


def _composed(name: str, about: str) -> Iterator[str]:
    """Texts of the model's own, for fields the prompt says nothing about."""
    jokes = {
        "setup": f"Why did {about} cross the road?",
        "punchline": "To get to the other side of the ledger.",
    }
    yield jokes.get(name.lower()) or f"{' '.join(words(name)).capitalize() or 'Value'} for {about}"
    yield about
