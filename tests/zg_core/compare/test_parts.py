"""The parts of a comparison that need no network: prompts, summaries, pictures."""

from __future__ import annotations

import csv
import io
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core import Amount, ConfigError
from zg_core.compare import Comparison, Prompt, Row, Target, read_prompts
from zg_core.compare.progress import Bar
from zg_core.compare.summary import percentile
from zg_core.progress import Progress


def row(target: str, **facts) -> Row:
    usual = {
        "provider": "0x" + "ab" * 20,
        "model": target,
        "kind": "TeeML",
        "prompt": "1",
        "repeat": 1,
        "verdict": "verified",
        "first_token_ms": 10.0,
        "total_ms": 100.0,
        "tokens_in": 15,
        "tokens_out": 5,
        "fee": Amount(2 * 10**12),
    }
    return Row(target=target, **{**usual, **facts})


ROWS = [
    row("good", total_ms=100.0),
    row("good", total_ms=300.0, correct=True),
    row("liar", verdict="failed", error="content_mismatch", correct=False),
    row("plain", verdict="not_verifiable", kind="standard", fee=Amount(0)),
    row("down", verdict="", error="provider_unavailable", first_token_ms=None, total_ms=None, tokens_in=None,
        tokens_out=None, fee=None),
    row("down", verdict="", error="budget_exceeded", first_token_ms=None, total_ms=None, tokens_in=None,
        tokens_out=None, fee=None),
]  # fmt: skip


def test_a_summary_counts_what_was_sent():
    summary = Comparison(ROWS).summary()
    good, liar, plain, down = summary
    assert (good.calls, good.verified_rate, good.failure_rate, good.total_ms, good.total_p95_ms) == (2, 1, 0, 200, 290)
    assert good.cost_per_1000_tokens == Amount(10**14)
    assert good.cost_per_correct == Amount(4 * 10**12)
    assert (liar.verified_rate, liar.failure_rate, liar.correct_rate, liar.cost_per_correct) == (0, 1, 0, None)
    assert (plain.verified_rate, plain.failure_rate, plain.cost_per_1000_tokens) == (0, 0, Amount(0))
    assert (down.calls, down.unsent, down.failure_rate, down.cost_per_1000_tokens) == (1, 1, 1, None)
    assert summary["liar"] is liar
    with pytest.raises(KeyError):
        summary["nobody"]


def test_a_summary_shows_itself_in_text_html_and_pandas():
    summary = Comparison([row("<b>|x")]).summary()
    assert "<b>\\|x" in str(summary)
    assert "&lt;b&gt;|x" in summary._repr_html_()
    table = Comparison(ROWS).summary().to_pandas()
    assert list(table["target"]) == ["good", "liar", "plain", "down"]
    assert table["cost"][0] == 4 * 10**12
    lines = Comparison(ROWS).summary().to_markdown().splitlines()
    assert len(lines) == 6
    assert len({line.count("|") for line in lines}) == 1


def test_inexact_fees_are_marked():
    assert "≥ 0.000002" in str(Comparison([row("a", fee_exact=False)]).summary())
    assert "≥" not in str(Comparison([row("a")]).summary())


def test_rows_become_a_table_with_exact_fees():
    big = row("a", fee=Amount(10**20 + 1))
    table = Comparison([big, row("b", fee=None)]).to_pandas()
    assert table["fee"][0] == 10**20 + 1
    assert table["fee"][1] is None
    assert table["tokens_per_second"][0] == 50


def test_rows_become_a_file(tmp_path):
    Comparison([row("a", answer='1, "2"\n3')]).to_csv(tmp_path / "rows.csv")
    (read,) = csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text()))
    assert (read["answer"], read["fee"], read["error"]) == ('1, "2"\n3', "2000000000000", "")
    with pytest.raises(ConfigError):
        Comparison(ROWS).to_csv(tmp_path / "no" / "such" / "directory.csv")


def test_a_comparison_shows_itself_escaped():
    html = Comparison([row("<script>")])._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("which", [(), ("cost",), ("latency", "spend"), ("answers", "throughput", "spend")])
def test_pictures_have_units_on_their_axes(which):
    figure = Comparison(ROWS).plot(*which)
    assert len(figure.axes) == (len(which) or 4)
    for axes in figure.axes:
        assert axes.get_xlabel()
        units = ("(ms)", "milliseconds", "0G", "(%)", "per second")
        assert any(unit in axes.get_xlabel() + axes.get_ylabel() for unit in units), axes
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    assert drawn.getvalue().startswith(b"\x89PNG")


def test_the_verdict_is_the_marker():
    (axes,) = Comparison(ROWS).plot("cost").axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["verified", "cannot be verified", "proven false"]
    named = {text.get_text() for text in axes.texts}
    assert named == {"good", "liar", "plain"}


def test_names_in_pictures_do_not_overlap():
    crowded = [row(f"target-{number}", total_ms=100.0 + number) for number in range(8)]
    figure = Comparison(crowded).plot("cost")
    figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in figure.axes[0].texts), key=lambda box: box.y0)
    centres = [(box.y0 + box.y1) / 2 for box in boxes]
    assert all(high - low > 9 for low, high in itertools.pairwise(centres)), centres


def test_pictures_of_nothing_and_of_unknown_names():
    assert Comparison([ROWS[-2]]).plot().axes
    assert Comparison([]).plot().axes
    with pytest.raises(ConfigError, match="'pie'"):
        Comparison(ROWS).plot("pie")


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0, 100))
def test_a_percentile_lies_between_the_ends(values, rank):
    found = percentile(values, rank)
    assert (
        min(values) <= found <= max(values)
        or found == pytest.approx(min(values))
        or found == pytest.approx(max(values))
    )


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("qwen/qwen-2.5", Target(model="qwen/qwen-2.5")),
        ("0x" + "ab" * 20, Target("0x" + "ab" * 20)),
        ("0x" + "ab" * 20 + "/a/b", Target("0x" + "ab" * 20, "a/b")),
        ("0x" + "ab" * 21, Target(model="0x" + "ab" * 21)),
    ],
)
def test_a_target_is_read_from_text(text, target):
    assert Target.of(text) == target
    assert str(Target.of(text)) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.txt", "one\n\ntwo\n"),
        ("p.jsonl", '"one"\n{"prompt": "two"}\n'),
        ("p.txt", '{"prompt": "one"}\n{"messages": [{"role": "user", "content": "two"}]}\n'),
        ("p.json", json.dumps(["one", {"prompt": "two"}])),
    ],
)
def test_prompts_are_read_from_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert [prompt.messages[0]["content"] for prompt in read_prompts(tmp_path / name)] == ["one", "two"]


@pytest.mark.parametrize(("name", "data"), [("p.txt", b""), ("p.txt", b"\xff"), ("p.jsonl", b"{"), ("p.json", b"{}")])
def test_a_bad_file_of_prompts_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError):
        read_prompts(tmp_path / name)
    with pytest.raises(ConfigError):
        read_prompts(tmp_path / "missing.txt")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("p.jsonl", '"one"\n\n{"prompt": }\n', 3),
        ("p.jsonl", '"one"\n\n{"prompt": ""}\n', 3),
        ("p.ndjson", '{"prompt": "one"}\n{"promt": "two"}\n', 2),
        ("p.txt", '{"prompt": "one"}\n[1]\n', 2),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, name, text, line):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=f"^line {line} of "):
        read_prompts(tmp_path / name)


def test_a_prompt_keeps_its_name():
    assert Prompt.of("hi", 3).id == "3"
    assert Prompt.of({"prompt": "hi", "id": "greeting"}, 3).id == "greeting"
    assert Prompt.of(Prompt(({"role": "user", "content": "hi"},)), 4).id == "4"


def test_the_bar_is_one_line_and_hands_on():
    stream, steps = io.StringIO(), []
    bar = Bar(stream, steps.append)
    bar(Progress("planned", "…"))
    for done in (1, 2):
        bar(Progress("call_done", "…", {"done": done, "total": 2, "failed": 1}))
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("] 2/2, 1 failed\n")
    assert len(steps) == 3
