"""Arithmetic in prose: finds the expressions in a text, as trees, and computes them exactly."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_NUMBER: Final = r"(?<![\d.,])-?\d[\d,]{0,40}(?:\.\d{1,40})?"
_PHRASES: Final = (
    # Verbs and nouns that stand before their operands; the operands are numbers or bracketed expressions.
    (rf"\b(?:add|sum of|sum|addition of|total of)\s+({_NUMBER})\s*(?:and|to|with|,)\s*({_NUMBER})", r"(\1 + \2)"),
    (rf"\b(?:multiply|product of|times)\s+({_NUMBER})\s*(?:and|by|with|,)\s*({_NUMBER})", r"(\1 * \2)"),
    (rf"\bsubtract\s+({_NUMBER})\s+from\s+({_NUMBER})", r"(\2 - \1)"),
    (rf"\b(?:difference (?:of|between))\s+({_NUMBER})\s*(?:and|,)\s*({_NUMBER})", r"(\1 - \2)"),
    (rf"\b(?:divide|quotient of)\s+({_NUMBER})\s*(?:and|by|,)\s*({_NUMBER})", r"(\1 / \2)"),
    (rf"({_NUMBER})\s*(?:%|percent)\s+of\s+({_NUMBER})", r"(\1 / 100 * \2)"),
    # Operators in words.
    (r"(?<=[\d)])\s*(?:multiplied by|times|\u00d7|·|x(?=\s*[\d(-]))\s*", " * "),
    (r"(?<=[\d)])\s*(?:divided by|÷)\s*", " / "),
    (r"(?<=[\d)])\s+plus\s+", " + "),
    (r"(?<=[\d)])\s+minus\s+", " - "),
    (r"(?<=[\d)])\s*(?:to the power of|\*\*)\s*", " ^ "),
    (r"(?<=\d)\s+squared\b", " ^ 2"),
    (r"(?<=\d)\s+cubed\b", " ^ 3"),
)
_REWRITES: Final = tuple((re.compile(pattern, re.IGNORECASE), into) for pattern, into in _PHRASES)
_NUMBER_WORDS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
_WORD_NUMBERS: Final = {name: str(value) for value, name in enumerate(_NUMBER_WORDS.split())}
_WORD_OPERAND: Final = re.compile(
    r"\b(" + "|".join(_WORD_NUMBERS) + r")\b(?=\s+(?:plus|minus|times|multiplied|divided|to the power|squared|cubed))"
    r"|(?<=\b(?:plus|imes)\s)("
    + "|".join(_WORD_NUMBERS)
    + r")\b|(?<=\b(?:minus)\s)("
    + "|".join(_WORD_NUMBERS)
    + r")\b"
    r"|(?<=\bby\s)(" + "|".join(_WORD_NUMBERS) + r")\b",
    re.IGNORECASE,
)
_NOT_ARITHMETIC: Final = re.compile(
    r"\b\d{1,4}-\d{1,2}-\d{1,4}\b(?:T[\d:.]{1,20}Z?)?|\b\d{1,4}/\d{1,2}/\d{1,4}\b|\b\d{1,6}(?:\.\d{1,6}){2,}|\b\w{1,20}://\S+"
)
_TOKEN: Final = re.compile(r"\s*(\d[\d,]*(?:\.\d+)?|[-+*/^%()])")
_START: Final = re.compile(r"(?<![\w.])[-(]{0,8}\d|(?<![\w.])-?\(")
_RUN: Final = re.compile(r"[\d\s.,+*/^%()-]*")

_MAX_DEPTH: Final = 20
_MAX_BITS: Final = 4096
_MAX_OPERATIONS: Final = 200


@dataclass(frozen=True, slots=True)
class Operation:
    """`left symbol right`, symbol one of `+ - * / % ^`; an operand is a number or another operation."""

    symbol: str
    left: "Operation | Fraction"
    right: "Operation | Fraction"


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression in a text: its tree, its text as written (words replaced by signs) and where it stands there."""

    tree: Operation
    text: str
    start: int
    end: int


class _SyntaxError(Exception):
    """Not an expression from here on."""


class _TooLongError(Exception):
    """More operations or brackets than any sensible expression has."""


def rewrite(text: str) -> str:
    """`text` with arithmetic in words written in signs: `12 times 7` becomes `12 * 7`."""
    text = _WORD_OPERAND.sub(lambda match: _WORD_NUMBERS[match.group().lower()], text)
    for pattern, into in _REWRITES:
        text = pattern.sub(into, text)
    return text


def expressions(text: str) -> list[Expression]:
    """The arithmetic expressions in `text`, in order; a lone number is none, nor is a date or a version."""
    text = _NOT_ARITHMETIC.sub(lambda match: "#" * len(match.group()), rewrite(text))
    found: list[Expression] = []
    place = 0
    while (match := _START.search(text, place)) is not None:
        parser = _Parser(text, match.start())
        try:
            tree = parser.sum(0)
        except _TooLongError:
            # Half an expression would have a wrong value: leave it out, all of it.
            place = parser.end_of_run()
            continue
        except _SyntaxError:
            place = match.start() + 1
            continue
        if isinstance(tree, Operation):
            written = text[match.start() : parser.place].strip()
            found.append(Expression(tree, _without_brackets(written), match.start(), parser.place))
        place = max(parser.place, match.start() + 1)
    return found


def evaluate(tree: Operation | Fraction) -> Fraction | None:
    """The exact value, or None where there is none (division by zero) or it would be absurdly large."""
    if isinstance(tree, Fraction):
        return tree
    left, right = evaluate(tree.left), evaluate(tree.right)
    if left is None or right is None:
        return None
    if tree.symbol in "/%" and right == 0:
        return None
    if tree.symbol == "^":
        return _power(left, right)
    value = {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "/": lambda: left / right,
        "%": lambda: left % right,
    }[tree.symbol]()
    return value if _bits(value) <= _MAX_BITS else None


def number_text(value: Fraction) -> str:
    """`value` as people write it: an integer, or a decimal with at most ten places."""
    if value.denominator == 1:
        return str(value.numerator)
    scaled = round(abs(value) * 10**10)
    whole, places = divmod(scaled, 10**10)
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{whole}.{places:010d}".rstrip("0").rstrip(".")


def number_value(value: Fraction) -> int | float:
    """`value` as a JSON number."""
    return value.numerator if value.denominator == 1 else float(value)


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1 or abs(exponent) * _bits(base) > _MAX_BITS or (base == 0 and exponent < 0):
        return None
    return Fraction(base**exponent.numerator)


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _without_brackets(text: str) -> str:
    """`(3 * 4)` as `3 * 4`: brackets that enclose all of it say nothing."""
    while text.startswith("(") and text.endswith(")"):
        depth = 0
        for index, char in enumerate(text):
            depth += (char == "(") - (char == ")")
            if depth == 0 and index < len(text) - 1:
                return text
        text = text[1:-1].strip()
    return text


class _Parser:
    """Recursive descent over `text` from `place`; stops where the expression does, `place` after its last token."""

    def __init__(self, text: str, place: int) -> None:
        self.text = text
        self.place = place
        self._operations = 0

    def sum(self, depth: int) -> Operation | Fraction:
        return self._chain("+-", self._product, depth)

    def _product(self, depth: int) -> Operation | Fraction:
        return self._chain("*/%", self._power, depth)

    def _power(self, depth: int) -> Operation | Fraction:
        base = self._operand(depth)
        before = self.place
        if self._peek() == "^":
            self._next()
            try:
                return self._operation("^", base, self._power(depth + 1))
            except _SyntaxError:
                self.place = before
        return base

    def _chain(self, symbols: str, operand: Callable[[int], Operation | Fraction], depth: int) -> Operation | Fraction:
        left = operand(depth)
        while (symbol := self._peek()) and symbol in symbols:
            before = self.place
            self._next()
            try:
                left = self._operation(symbol, left, operand(depth))
            except _SyntaxError:
                self.place = before
                break
        return left

    def _operand(self, depth: int) -> Operation | Fraction:
        if depth > _MAX_DEPTH:
            raise _TooLongError
        symbol = self._next()
        if symbol == "-":
            inner = self._operand(depth + 1)
            return -inner if isinstance(inner, Fraction) else self._operation("-", Fraction(0), inner)
        if symbol == "(":
            inner = self.sum(depth + 1)
            if self._next() != ")":
                raise _SyntaxError
            return inner
        if symbol and symbol[0].isdigit() and len(symbol) <= 40:
            return Fraction(symbol.replace(",", "").rstrip("."))
        raise _SyntaxError

    def _operation(self, symbol: str, left: Operation | Fraction, right: Operation | Fraction) -> Operation | Fraction:
        self._operations += 1
        if self._operations > _MAX_OPERATIONS:
            raise _TooLongError
        return Operation(symbol, left, right)

    def end_of_run(self) -> int:
        """Where digits and signs end."""
        match = _RUN.match(self.text, self.place)
        return match.end() if match else self.place

    def _peek(self) -> str:
        match = _TOKEN.match(self.text, self.place)
        return match.group(1) if match else ""

    def _next(self) -> str:
        match = _TOKEN.match(self.text, self.place)
        if match is None:
            return ""
        self.place = match.end()
        return match.group(1)
