"""Strangers' words: nothing that can command, run or hide where they are shown."""

from __future__ import annotations

import csv as csv_module
import html as html_module
import io
import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.shown import escaping
from zg_core.shown.escaping import csv, html, line, markdown, terminal

ESC = "\x1b"
HOSTILE = [
    f"{ESC}]52;c;ZXZpbA==\x07",
    f"{ESC}[2J{ESC}[31mred",
    "\x9b31m\x85\x90",
    "a\x08\x08b\x7f\x00",
    "line one\r\nerror: line two\rover it\x0b\x0c",
    "abc\u202etxt.exe\u2066x\u2069\u200e\u200f\u061c",
    "visible\U000e0041\U000e0042\U000e007f\U000e0100",
    "zero\u200bwidth\u2060\ufeff\u00ad\u180e",
    "broken\u2028lines\u2029",
    "\ud800half\udfff",
    "<img src=x onerror=alert(1)>",
    "\"'><script>alert(1)</script>&amp;",
    "[click](javascript:alert(1)) ![i](http://evil.example/?leak) <http://evil.example>",
    "https://evil.example www.evil.example mailto:a@evil.example @user #1",
    "a | b |\n| c | d |",
    "`code` ```\nfence\n``` **bold** _em_ ~~gone~~ $x^2$ \\[m\\]",
    "# heading",
    "- item",
    "1. item",
    "10) item",
    "> quote",
    '=HYPERLINK("http://evil.example")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\u00a0=1+1",
    "\u200b=1+1",
    "\u3000\uff1d1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(1)",
    "\u22121+1",
    "x;=1+1",
]
# Signs from the middle of the attacks above, in any order, among plain ones.
SIGNS = sorted({sign for text in HOSTILE for sign in text} | set("abc019 "))
# Signs of scripts that Unicode counts among the formatting ones, and that are seen all the same.
VISIBLE = "".join(
    map(chr, [*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)])
)
texts = st.text(st.one_of(st.sampled_from(SIGNS), st.characters()), max_size=40)


def unseen(text: str, *, but: str = "") -> list[str]:
    """What commands a terminal, breaks a line, turns its direction or is not seen."""
    return [
        sign
        for sign in text
        if sign not in but
        and (unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") or 0xE0000 <= ord(sign) < 0xE1000)
    ]


class TestTerminal:
    @given(texts)
    def test_nothing_in_text_commands_one(self, text: str) -> None:
        shown = terminal(text)
        assert not unseen(shown, but="\n\t\u200c\u200d" + VISIBLE)
        shown.encode()  # every stream takes it

    @given(texts)
    def test_a_line_is_one_line(self, text: str) -> None:
        shown = line(text)
        assert not unseen(shown, but=VISIBLE)
        assert len(shown.splitlines()) <= 1

    @pytest.mark.parametrize("text", HOSTILE)
    def test_the_known_ways(self, text: str) -> None:
        for shown in (terminal(text), line(text)):
            assert ESC not in shown
            assert not unseen(shown, but="\n\t")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "two\nlines\n\tand a tab",
            "\u4e2d\u6587 \u0639\u0631\u0628\u064a \u05e2\u05d1\u05e8\u05d9\u05ea",
            "e\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
        ],
    )
    def test_text_of_people_stays_as_it_is(self, text: str) -> None:
        assert terminal(text) == text

    def test_what_was_replaced_is_seen(self) -> None:
        assert line(f"a{ESC}b\u200bc\u202ed") == "a\ufffdb\ufffdc\ufffdd"


class _Parsed(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


class TestHtml:
    @given(texts)
    def test_a_text_is_no_markup_and_reads_the_same(self, text: str) -> None:
        for where in ("<td>{}</td>", "<td title='{}'></td>", '<td title="{}"></td>'):
            parsed = _Parsed()
            parsed.feed(where.format(html(text)))
            parsed.close()
            assert parsed.tags == ["td"]
        assert html_module.unescape(html(text)) == terminal(text)

    def test_what_is_no_text_is_shown_too(self) -> None:
        assert (html(None), html(5)) == ("", "5")


MARKUP = re.compile(
    r"[\\`*\[\]|<>$#]|://|^[-+=~](?=.)|^[0-9]+[.)](?:\s|$)|www\.|~~|@\w|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
)


class TestMarkdown:
    @given(texts)
    def test_nothing_is_left_that_is_markup(self, text: str) -> None:
        shown = markdown(text)
        bare = re.sub(r"&#[0-9]+;", "", shown)
        assert "&" not in bare
        assert "\n" not in shown
        assert not MARKUP.search(re.sub(r"&#[0-9]+;", "\ufffc", shown)), shown
        assert html_module.unescape(shown) == line(text).strip()

    @pytest.mark.parametrize("text", HOSTILE)
    def test_a_renderer_makes_nothing_of_it(self, text: str) -> None:
        renderer = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
        cell = renderer.render(f"| a | b |\n|---|---|\n| {markdown(text)} | x |")
        parsed = _Parsed()
        parsed.feed(cell)
        assert set(parsed.tags) == {"table", "thead", "tbody", "tr", "th", "td"}, cell
        assert parsed.tags.count("td") == 2
        parsed = _Parsed()
        parsed.feed(renderer.render(markdown(text)))
        assert set(parsed.tags) <= {"p"}, parsed.tags

    @pytest.mark.parametrize("name", ["qwen/qwen-2.5-7b_instruct", "model:tag", "a (b)", "50 % of 1.5"])
    def test_names_stay_as_they_are(self, name: str) -> None:
        assert markdown(name) == name


class TestCsv:
    @given(texts)
    def test_no_cell_is_a_formula(self, text: str) -> None:
        out = io.StringIO()
        csv_module.writer(out, quoting=csv_module.QUOTE_NONNUMERIC).writerow([csv(text), "next"])
        cell, following = next(csv_module.reader(io.StringIO(out.getvalue(), newline="")))
        assert following == "next"
        assert not re.sub(r"^[\s\u200b\ufeff]+", "", cell).startswith(
            ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
        )
        assert not cell.startswith(("\t", "\r", "\n"))
        assert cell.removeprefix("'") == terminal(text).removeprefix("'")

    @pytest.mark.parametrize("text", HOSTILE)
    def test_the_known_ways(self, text: str) -> None:
        cell = str(csv(text))
        assert not cell.lstrip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20\u2212"))
        assert not unseen(cell, but="\n\t")

    def test_numbers_stay_numbers(self) -> None:
        assert (csv(-5), csv(1.5), csv(True), csv(None)) == (-5, 1.5, True, "")
        assert (csv("plain"), csv("a=b"), csv("it's")) == ("plain", "a=b", "it's")


def test_every_destination_has_its_one_function() -> None:
    assert escaping.__all__ == ["csv", "html", "line", "markdown", "terminal"]
