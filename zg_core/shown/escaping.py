"""Strangers' words, made harmless for where they go: terminal, HTML, Markdown, CSV. One function for each.

Names on chain, answers, errors of providers and nodes, and what stands in compose files is written by strangers. On a
terminal it could give commands, in a notebook run scripts, in a spreadsheet run formulas, and everywhere say with
invisible characters what nobody sees.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

__all__ = ["csv", "html", "line", "markdown", "terminal"]

# Control characters but tab and newline, what turns the writing direction, breaks lines or cannot be seen (tags,
# fillers, supplementary variation selectors), and halves of characters, which no stream takes.
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
# Joiners and variation selectors are part of emoji and of some scripts: text keeps them, names do not need them.
_JOINING = "\u200c\u200d\ufe00-\ufe0f"
_IN_TEXT = re.compile(f"[{_UNSEEN}]")
_IN_LINE = re.compile(f"[{_UNSEEN}{_JOINING}]")
_BREAKS = re.compile(r"\s*[\n\r\t\x0b\x0c\x85\u2028\u2029]\s*")
# What Markdown reads as markup, also in the dialects of notebooks ($) and repositories (@name, #1, bare addresses).
_MARKUP = re.compile(
    r"[\\`*\[\]|<>&$#]|~(?=~)|(?<=~)~|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|@(?=\w)|:(?=//)|(?<=mailto):|(?<=xmpp):"
    r"|(?<=www)\.|^[-+=~](?=.)",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^([0-9]+)([.)])(?=\s|$)")
# Also in full and small widths, and the minus sign.
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b"


def terminal(text: str) -> str:
    r"""Text of several lines for a terminal, a pipe or a log; what could command one is U+FFFD.

    Example:
        >>> terminal("a\x1b[2Jb\r\n\tc\u202ed")
        'a�[2Jb\n\tc�d'
    """
    return _IN_TEXT.sub("\ufffd", text.replace("\r\n", "\n"))


def line(text: str) -> str:
    r"""A name or a sentence on one line, for a terminal, a pipe, a log or an error.

    Example:
        >>> line("model\x1b[2J\nof mine\u200b")
        'model�[2J of mine�'
    """
    return _IN_LINE.sub("\ufffd", _BREAKS.sub(" ", text))


def html(value: object) -> str:
    """A text in HTML, also within quotes.

    Example:
        >>> html("<img src=x onerror='alert(1)'>")
        '&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt;'
    """
    return escape(terminal("" if value is None else str(value)))


def markdown(value: object) -> str:
    r"""A text within a paragraph or a cell of a table in Markdown; what could be markup in it is an entity.

    Example:
        >>> markdown("a|b\n[c](http://d)"), markdown("qwen_3-8b")
        ('a&#124;b &#91;c&#93;(http&#58;//d)', 'qwen_3-8b')
    """
    text = line("" if value is None else str(value)).strip()
    text = _MARKUP.sub(lambda found: f"&#{ord(found[0])};", text)
    return _NUMBERED.sub(lambda found: f"{found[1]}&#{ord(found[2])};", text)


def csv(value: Any) -> Any:
    r"""The cell of a table for spreadsheets; a text that they would take for a formula begins with an apostrophe.

    Numbers stay numbers, None is empty.

    Example:
        >>> csv("=1+1"), csv(-5), csv(None), csv(" @x"), csv("\t=1")
        ("'=1+1", -5, '', "' @x", "'\t=1")
    """
    if value is None or isinstance(value, bool | int | float):
        return "" if value is None else value
    text = str(value)
    begins = _IN_LINE.sub("", text).lstrip()[:1]
    text = terminal(text)
    return "'" + text if text[:1] in ("\t", "\r", "\n") or (begins and begins in _FORMULA) else text
