"""``zerog compare``."""

from __future__ import annotations

import csv
import json

import pytest

QUESTION = "What is the capital of France?"


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": QUESTION, "expected": "Paris"}) + "\n" + json.dumps({"prompt": "hi"}) + "\n")
    return str(path)


@pytest.fixture
def calls(tmp_path):
    return ["--cache", str(tmp_path / "calls")]


def test_the_document_has_a_row_per_call_and_a_summary_per_target(steady, prompts, calls):
    document = steady.json("compare", "--models", "chat-ml,chat-standard", "--prompts", prompts, "--yes", *calls)
    assert [row["verdict"] for row in document["rows"]] == ["verified", "not_verifiable"] * 2
    assert [one["target"] for one in document["summary"]] == ["chat-ml", "chat-standard"]
    assert document["summary"][0]["cost_per_correct"]["neuron"] == str(
        sum(int(row["fee"]["neuron"]) for row in document["rows"][::2])
    )
    assert document["spent"]["neuron"] == str(sum(int(row["fee"]["neuron"]) for row in document["rows"]))
    assert document["calls"] == 4


def test_a_second_run_spends_nothing_and_asks_nothing(steady, prompts, calls):
    words = ["compare", "--models", "chat-ml", "--prompts", prompts, *calls]
    assert "cost at most" not in steady(*words, "--yes").out
    second = steady.json(*words)  # no --yes, no terminal: there is nothing to pay
    assert second["spent"]["neuron"] == "0"
    assert int(second["cost"]["neuron"]) > 0
    assert all(row["cached"] for row in second["rows"])


def test_nothing_is_sent_unconfirmed(steady, market, prompts, calls):
    before = len(market.providers[0].log)
    error = steady.fails("compare", "--models", "chat-ml", "--prompts", prompts, *calls, code=2)
    assert error["code"] == "not_confirmed"
    assert "2 calls to 1 targets, which cost at most 0.0" in error["message"]
    assert len(market.providers[0].log) == before


def test_rows_and_a_picture_are_written(steady, prompts, calls, tmp_path):
    table, picture = tmp_path / "rows.csv", tmp_path / "picture.png"
    written = ["--csv", str(table), "--plot", str(picture)]
    ran = steady("compare", "--models", "chat-ml", "--prompts", prompts, "--yes", "--repeats", "2", *calls, *written)
    assert "chat-ml" in ran.out
    assert len(list(csv.DictReader(table.open()))) == 4
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_paid(steady, market, prompts, calls):
    before = len(market.providers[0].log)
    words = ["compare", "--models", "chat-ml", "--prompts", prompts, "--yes", *calls]
    assert steady.fails(*words, "--plot", "picture.doc", code=2)["code"] == "usage"
    assert len(market.providers[0].log) == before


def test_a_budget_that_is_too_small_says_how_far_it_gets(steady, prompts, calls):
    words = ["compare", "--models", "chat-ml", "--prompts", prompts, "--yes", *calls]
    assert "pays for 0 in any case" in steady.fails(*words, "--budget", "0.000001", code=1)["message"]
    document = steady.json(*words, "--budget", "0.0002", "--repeats", "9")
    assert any("is too small for 18 calls" in warning for warning in document["warnings"])
    assert float(document["spent"]["amount"]) <= 0.0002


def test_no_provider_matches(steady, prompts, calls):
    error = steady.fails("compare", "--models", "chat-9", "--prompts", prompts, "--yes", *calls, code=1)
    assert error["code"] == "no_match"
    assert "chat-ml" in error["hint"]


def test_no_answer_at_all_is_an_error(steady, market, prompts, calls):
    market.providers[0].fault("unavailable", times=None)
    words = ["compare", "--models", "chat-ml", "--prompts", prompts, "--yes", *calls]
    ran = steady(*words, "--json", ok=False)
    assert ran.code == 1
    assert {row["error"] for row in ran.document["rows"]} == {"provider_unavailable"}


def test_a_missing_file_is_an_error(steady, calls):
    assert steady.fails("compare", "--prompts", "nowhere.txt", "--yes", *calls, code=1)["code"] == "bad_prompts"
