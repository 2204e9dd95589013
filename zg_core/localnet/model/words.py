"""What the rules see in a text: words and their stems, sentences, quoted literals, numbers, names."""

import re
from dataclasses import dataclass
from typing import Final

_STOP_WORDS: Final = """
    a about all also am an and any are as ask asked at be because been best better but by call called can
    could did do does each else even every for from function get give given gives go got had has have he her
    here hi him his how i if in information into is it its itself just let list like me more most much must my
    name need no not now of on one only or other our out own please provide question questions return returns
    said same say see set she should so some such take tell than that the their them then there these they
    thing this those to tool tools too under up us use used useful user using value very want was way we well
    were what when where which while who whom why will with would write you your
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())
"""Words that say nothing about what a text is about."""

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W\d_]+)?")
_LONG_SPACE: Final = re.compile(r"\s{20,}")
_CONTRACTION: Final = re.compile(r"['\u2019].*", re.DOTALL)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])[\"'\u201d\u2019)]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_NUMBER: Final = re.compile(r"(?<![\w.])(?:(?<![\d)])-)?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\.?\d)")
_QUOTED: Final = re.compile(
    r"\"([^\"\n]{1,200})\"|“([^”\n]{1,200})”|「([^」\n]{1,200})」|«([^»\n]{1,200})»|`([^`\n]{1,200})`"
    r"|(?<!\w)'([^'\n]{1,200})'(?!\w)|\u2018([^\u2019\n]{1,200})\u2019(?!\w)"
)
_CAPITALISED: Final = r"[A-ZÀ-ÖØ-Þ][\w\u2019'-]*"
_NAME: Final = re.compile(
    rf"{_CAPITALISED}(?:(?:\s+(?:(?:de|of|da|del|la|le|van|von)\s+)?|,\s+(?=[A-Z]{{2}}\b)){_CAPITALISED})*"
)
_ABOUT: Final = re.compile(r"\b(?:about|regarding|concerning)\s+([^,.;:!?\n]{1,80})", re.IGNORECASE)
_LONGEST_SUFFIX_FIRST: Final = "ications ication ations ation iers ier ies ied ing ers est er or ed es s y e"
_SUFFIXES: Final = tuple(_LONGEST_SUFFIX_FIRST.split())
_ARITHMETIC: Final = {
    "add": ("plus", "sum", "addition", "total", "adder"),
    "subtract": ("minus", "subtraction", "difference", "sub"),
    "multipl": ("times", "product", "mul", "multiplication"),
    "divid": ("division", "div", "quotient", "divisor"),
    "power": ("pow", "exponent", "exponentiation", "raise"),
}
_SAME: Final = {word: root for root, synonyms in _ARITHMETIC.items() for word in synonyms}


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text and where it stands."""

    value: int | float
    start: int
    end: int


def squeeze(text: str) -> str:
    """`text` with very long runs of white space shortened, over which patterns would run many times."""
    return _LONG_SPACE.sub(lambda match: "\n\n" if "\n" in match.group() else " ", text)


def bare(word: str) -> str:
    """`word` without a contraction or a possessive: `what's` is `what`."""
    return _CONTRACTION.sub("", word)


def stem(word: str) -> str:
    """`word` (lower case) without its ending, so that forms of one word meet; arithmetic synonyms meet too."""
    root = bare(word)
    if root in _SAME:
        return _SAME[root]
    for suffix in _SUFFIXES:
        if root.endswith(suffix) and len(root) - len(suffix) >= 3:
            root = root[: -len(suffix)]
            break
    return root


def words(text: str) -> list[str]:
    """The words of `text` as they stand, `snake_case` and `camelCase` names taken apart."""
    return _WORD.findall(_CAMEL.sub(" ", text))


def keywords(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order, each once."""
    lowered = (word.lower() for word in words(text))
    return list(dict.fromkeys(stem(word) for word in lowered if bare(word) not in STOP_WORDS and not word.isdigit()))


def topic(text: str, limit: int = 4) -> str:
    """What `text` is about: the words after "about", else its first words that carry meaning, else "that"."""
    for part in (*_ABOUT.findall(text), text):
        named = [word for word in words(part) if bare(word.lower()) not in STOP_WORDS]
        if named:
            return " ".join(named[:limit])
    return "that"


def sentences(text: str) -> list[str]:
    """The sentences and lines of `text`, without surrounding space, empty ones left out."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def numbers(text: str) -> list[Number]:
    """The numbers of `text` in order. A minus between two operands is an operator, not a sign."""
    found = []
    for match in _NUMBER.finditer(text):
        digits = match.group().replace(",", "")
        # Python refuses to read integers of thousands of digits; nothing sensible has them.
        if len(digits) <= 40:
            found.append(Number(float(digits) if "." in digits else int(digits), match.start(), match.end()))
    return found


def quoted(text: str) -> list[str]:
    """What stands in quotation marks, of any kind, in order."""
    return [_inside(match) for match in _QUOTED.finditer(text)]


def quoted_at(text: str, place: int) -> str | None:
    """The quoted literal that begins at `place`, if one does."""
    match = _QUOTED.match(text, place)
    return _inside(match) if match else None


def _inside(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None)


def names(text: str) -> list[str]:
    """Capitalised phrases that do not just open a sentence, such as `San Francisco, CA`."""
    found = []
    for match in _NAME.finditer(text):
        before = text[: match.start()].rstrip(" \t\"'“\u2018(")
        opens = not before or before[-1] in ".!?:\n"
        phrase = match.group().rstrip("'\u2019-")
        if opens and len(phrase) < len(text.strip(" ?!.\"'")):
            # The opening word is capitalised anyway; what follows it may still be a name.
            head, _, rest = phrase.partition(" ")
            phrase = phrase if bare(head.lower()) not in STOP_WORDS and " " in phrase else rest
        if phrase and (len(phrase) > 1) and phrase.lower() not in STOP_WORDS:
            found.append(phrase)
    return found
