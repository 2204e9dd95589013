"""Comparing: rows, verdicts, budgets, failures half-way, and what is kept of finished calls."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tests.zg_core.compare.conftest import PROMPTS
from zg_core import Amount, BudgetExceeded, ConfigError, VerificationWarning
from zg_core.compare import BudgetWarning, Prompt, Target, acompare, compare, estimate
from zg_core.compare.runner import run_plan

TARGETS = ["dear", "separated", "relayed", "plain"]
VERDICTS = {"dear": "verified", "separated": "verified", "relayed": "verified", "plain": "not_verifiable"}


def test_every_call_is_a_row_with_its_facts(market, options):
    result = compare(TARGETS, PROMPTS, repeats=2, **options)
    assert len(result) == 4 * 2 * 2
    for row in result:
        assert (row.error, row.verdict) == ("", VERDICTS[row.target]), row
        assert row.correct is True
        assert row.kind == market.provider(row.model).kind
        assert 0 < row.first_token_ms <= row.total_ms
        assert row.tokens_per_second == pytest.approx(row.tokens_out / row.total_ms * 1000)
        into, out = market.provider(row.model).prices
        assert row.fee == Amount(into * row.tokens_in + out * row.tokens_out)
        assert row.receipt.id == row.receipt_id
    assert [(row.target, row.prompt, row.repeat) for row in result][:5] == [
        *((name, "1", 1) for name in TARGETS),
        ("dear", "sum", 1),
    ]
    assert {row.answer for row in result if row.prompt == "1"} == {"The capital of France is Paris."}


def test_the_fees_are_what_the_providers_bill(market, options):
    before = {one.address: sum(entry.fee for entry in one.log) for one in market.providers}
    result = compare(TARGETS, PROMPTS, repeats=2, **options)
    billed = sum(sum(entry.fee for entry in one.log) - before[one.address] for one in market.providers)
    assert result.spent.units == billed
    assert result.spent == result.cost


def test_without_targets_every_usable_chat_service_takes_part(options):
    assert estimate(None, PROMPTS, **options).targets == TARGETS


def test_targets_may_be_addresses_models_services_or_both(market, options):
    dear = market.provider("dear").address
    for target in (dear, dear.lower(), f"{dear}/dear", Target(dear), "dear", Target(model="dear")):
        assert estimate([target, "dear"], ["hi"], **options).calls == 1, target
    assert estimate("dear", "hi", **options).calls == 1


def test_the_same_prompt_twice_is_asked_twice(options, billed):
    assert len(compare("plain", ["hi", "hi"], **options)) == 2
    assert billed() == 2


def test_a_model_that_a_provider_does_not_serve_is_a_row(market, options, billed):
    result = compare([f"{market.provider('dear').address}/other", "plain"], ["hi"], **options)
    assert next((row.error, row.fee) for row in result) == ("model_not_served", None)
    assert result.rows[1].error == ""
    assert billed() == 1


@pytest.mark.parametrize(
    ("targets", "prompts", "code"),
    [
        (["nobody-serves-this"], ["hi"], "no_match"),
        (["dear", "0x" + "ab" * 20], ["hi"], "no_match"),
        (["embed"], ["hi"], "no_match"),
        (["not-yet"], ["hi"], "no_match"),
        ([], ["hi"], "no_match"),
        ([3], ["hi"], "bad_target"),
        (["dear"], [], "bad_prompts"),
        (["dear"], [" "], "bad_prompt"),
        (["dear"], [{"question": "hi"}], "bad_prompt"),
        (["dear"], [{"prompt": "hi", "messages": []}], "bad_prompt"),
        (["dear"], [[1]], "bad_prompt"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(options, billed, targets, prompts, code):
    with pytest.raises(ConfigError) as caught:
        compare(targets, prompts, **options)
    assert caught.value.code == code
    assert caught.value.hint
    assert billed() == 0


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"concurrency": 0}, {"max_tokens": True}, {"verify": "off"}])
def test_malformed_arguments_are_refused(options, wrong):
    with pytest.raises(ConfigError):
        compare("dear", "hi", **options, **wrong)


def test_no_match_says_what_there_is(options):
    with pytest.raises(ConfigError, match=r"dear, plain, relayed, separated"):
        compare("local-chat-99", "hi", **options)


def test_an_altered_answer_is_a_row_and_no_warning(market, options):
    market.provider("dear").fault("body_changed", times=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error", VerificationWarning)
        result = compare(TARGETS, PROMPTS, **options)
    for row in result:
        if row.target == "dear":
            assert (row.verdict, row.error, row.correct) == ("failed", "content_mismatch", False)
            assert row.answer
            assert row.fee.units > 0
        else:
            assert row.error == ""
    dear = result.summary()["dear"]
    assert (dear.verified_rate, dear.failure_rate, dear.correct_rate, dear.cost_per_correct) == (0, 1, 0, None)


def test_a_provider_that_fails_half_way_leaves_rows_with_the_error_and_the_rest_complete(market, options):
    failing = market.provider("relayed")
    failing.fault("unavailable", times=None)
    result = compare(TARGETS, PROMPTS, max_retries=0, **options)
    assert [row.error for row in result if row.target == "relayed"] == ["provider_unavailable"] * 2
    assert all(not row.error for row in result if row.target != "relayed")
    failing.clear_faults()
    failing.fault("truncated_stream", times=1)
    second = compare(TARGETS, PROMPTS, max_retries=0, concurrency=1, **options)  # what was never served is asked again
    assert [row.error for row in second if row.target == "relayed"] == ["stream_truncated", ""]
    assert [row.cached for row in second] == [row.target != "relayed" for row in second]


def test_a_second_run_pays_nothing_and_says_the_same(options, billed):
    first = compare(TARGETS, PROMPTS, repeats=2, **options)
    assert billed() == 16
    second = compare(TARGETS, PROMPTS, repeats=2, **options)
    assert billed() == 16
    assert second.spent == Amount(0)
    assert second.cost == first.spent
    assert all(row.cached for row in second)
    for old, new in zip(first, second, strict=True):
        assert {**old.record(), "cached": None} == {**new.record(), "cached": None}
        assert new.receipt.to_dict() == old.receipt.to_dict()
    third = compare(TARGETS, PROMPTS, repeats=3, **options)
    assert billed() == 24
    assert third.spent.units * 2 == first.spent.units


def test_another_question_is_not_known(options, billed):
    compare("plain", "hi", **options)
    compare("plain", "hi", parameters={"temperature": 0}, **options)
    compare("plain", "hi", max_tokens=100, **options)
    compare("dear", "hi", **options)
    assert billed() == 4


def test_without_a_cache_nothing_is_kept(options, billed, tmp_path):
    for _ in range(2):
        compare("plain", "hi", **{**options, "cache": None})
    assert billed() == 2
    assert not list(tmp_path.iterdir())


def test_calls_that_ended_in_an_error_are_made_again_only_when_asked(market, options, billed):
    market.provider("plain").fault("truncated_stream", times=1)
    assert compare("plain", "hi", **options).rows[0].error == "stream_truncated"
    assert compare("plain", "hi", **options).rows[0].error == "stream_truncated"
    assert billed() == 1
    assert compare("plain", "hi", again=True, **options).rows[0].error == ""
    assert billed() == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"answer": "x"}', "\udcff"])
def test_a_damaged_file_is_asked_anew(options, billed, damage):
    compare("plain", "hi", **options)
    for path in options["cache"].iterdir():
        path.write_bytes(damage.encode("utf-8", "surrogateescape"))
    assert compare("plain", "hi", **options).rows[0].cached is False
    assert billed() == 2


def test_what_is_kept_is_for_its_owner_alone_and_holds_no_key(market, options):
    compare("plain", "hi", **options)
    for path in options["cache"].iterdir():
        assert path.stat().st_mode & 0o077 == 0
        text = path.read_text()
        assert market.wallet.private_key.removeprefix("0x") not in text
        assert "app-sk-" not in text


def test_a_directory_that_cannot_be_written_is_found_out_before_anything_is_paid(options, billed, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be kept"):
        compare("plain", "hi", **{**options, "cache": tmp_path / "file"})
    assert billed() == 0


CHILD = """
import json, sys
from zg_core.compare import compare
environ, cache, prompts = json.load(sys.stdin)
compare("slow", prompts, concurrency=1, environ=environ, cache=cache)
"""


def wait_for(cache, finished, child):
    """Until so many calls of another process have been kept; nothing tells us."""
    until = time.monotonic() + PATIENCE
    while len(list(cache.glob("*.json"))) < finished:
        assert child.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "it never came so far"
        time.sleep(0.01)


def test_a_killed_process_loses_no_finished_call(tmp_path):
    import json

    from zg_core.localnet import LocalNet, ProviderSpec

    prompts = [f"Say {number}" for number in range(8)]
    cache = tmp_path / "calls"
    with LocalNet(providers=[ProviderSpec(model="slow")]) as net:
        net.open_account(net.wallet, net.providers[0])
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, cwd=Path.cwd())
        with net.providers[0].fault("hang", times=None, containing="Say 3"):
            child.stdin.write(json.dumps([net.env(), str(cache), prompts]).encode())
            child.stdin.close()
            wait_for(cache, 3, child)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        finished = len(list(cache.glob("*.json")))
        assert finished == 3, "the process was not killed in the middle"
        result = compare("slow", prompts, environ=net.env(), cache=cache)
        assert sum(row.cached for row in result) == finished
        assert all(not row.error for row in result)
        # at most the one call under way when it died is paid twice
        assert len(prompts) <= len(net.providers[0].log) <= len(prompts) + 1


def test_the_budget_is_a_hard_cap(options, billed):
    plan = estimate(TARGETS, PROMPTS, **options)
    one = max(job.most for job in plan.jobs)
    with pytest.warns(BudgetWarning, match=r"too small for 40 calls, .* it pays for \d+ in any case"):
        result = compare(TARGETS, PROMPTS, repeats=5, budget=Amount(2 * one), **options)
    assert result.spent <= Amount(2 * one)
    assert {row.error for row in result} == {"", "budget_exceeded"}
    sent = [row for row in result if row.sent]
    assert billed() == len(sent)
    assert (
        len(sent)
        >= estimate(TARGETS, PROMPTS, repeats=5, budget=Amount(2 * one), cache=None, environ=options["environ"]).covered
    )
    unsent = sum(target.unsent for target in result.summary())
    assert unsent == len(result) - len(sent)


def test_a_price_that_was_raised_since_the_plan_does_not_lead_beyond_the_budget(market, options, billed):
    provider = market.provider("plain")
    snapshot = market.snapshot()
    plan = estimate("plain", PROMPTS, budget=Amount(2 * 10**15), **options)
    assert plan.enough
    provider.set_price(provider.prices[0] * 10_000, provider.prices[1] * 10_000)
    try:
        result = asyncio.run(run_plan(plan, **options))
    finally:
        market.revert(snapshot)
    assert [row.error for row in result] == ["budget_exceeded"] * 2
    assert billed() == 0


def test_a_budget_that_is_too_small_for_one_call_sends_nothing(options, billed):
    with pytest.raises(BudgetExceeded, match=r"pays for 0 in any case.*nothing was sent"):
        compare("dear", PROMPTS, budget=Amount(1), **options)
    assert billed() == 0


def test_how_far_it_gets_is_said_before_the_first_call(options):
    plan = estimate("dear", PROMPTS, **options)
    steps = []
    with pytest.warns(BudgetWarning):
        compare("dear", PROMPTS, budget=Amount(plan.jobs[0].most), on_progress=steps.append, **options)
    assert [step.name for step in steps][:2] == ["planned", "budget_too_small"]
    assert steps[1].details["covered"] == 1
    assert [step.name for step in steps][2:] == ["call_done"] * 2


def test_no_call_costs_more_than_was_estimated(options):
    plan = estimate(TARGETS, [*PROMPTS, "Write a story of 400 words."], **options)
    result = compare(TARGETS, [*PROMPTS, "Write a story of 400 words."], **options)
    for job, row in zip(plan.jobs, result, strict=True):
        assert row.fee.units <= job.most
    assert result.spent <= plan.most


def test_the_budget_may_come_from_the_environment(options, billed):
    environ = {**options["environ"], "ZEROG_MAX_SPEND": "0.000000000000000001"}
    with pytest.raises(BudgetExceeded):
        compare("dear", "hi", **{**options, "environ": environ})
    assert billed() == 0


@pytest.mark.parametrize("budget", ["a lot", "-1", 0.5, Amount(1, "USD")])
def test_a_malformed_budget_is_refused(options, budget):
    with pytest.raises(ConfigError):
        compare("dear", "hi", budget=budget, **options)


def test_a_real_network_needs_a_budget(options, billed):
    from dataclasses import replace

    plan = estimate("dear", "hi", **options)
    real = replace(plan, network=replace(plan.network, name="testnet"))
    with pytest.raises(ConfigError) as caught:
        asyncio.run(run_plan(real, **options))
    assert caught.value.code == "no_budget"
    assert "ZEROG_MAX_SPEND" in caught.value.hint
    assert billed() == 0


async def test_the_blocking_form_works_where_a_loop_is_running(options):
    assert len(compare("plain", "hi", **options)) == 1
    assert (await acompare("plain", "hi", **options)).rows[0].cached


async def test_an_error_crosses_the_loop_too(options):
    with pytest.raises(ConfigError):
        compare("nobody", "hi", **options)


def test_at_most_so_many_calls_are_under_way(market, options, monkeypatch):
    from zg_core.compare import runner

    under_way, most = 0, 0
    ask = runner._Run._ask

    async def counted(self, job):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await ask(self, job)
        finally:
            under_way -= 1

    monkeypatch.setattr(runner._Run, "_ask", counted)
    compare(TARGETS, PROMPTS, repeats=2, concurrency=3, **options)
    assert most == 3


def test_a_fault_of_ours_in_one_call_does_not_cost_the_others(options, monkeypatch):
    from zg_core.compare import runner

    piece = runner._piece

    def broken(event):
        if "elephant" in str(event):
            raise ValueError("odd")
        return piece(event)

    monkeypatch.setattr(runner, "_piece", broken)
    result = compare("plain", [*PROMPTS, "Say elephant"], concurrency=1, **options)
    assert [row.error for row in result] == ["", "", "internal"]
    assert result.rows[2].message == "ValueError: odd"
    assert result.rows[2].receipt.outcome == "abandoned"


def test_a_grader_judges_and_its_failure_loses_nothing(options):
    def grader(prompt: Prompt, answer: str) -> bool:
        if prompt.id == "sum":
            raise RuntimeError("cannot judge")
        return "London" in answer

    result = compare("plain", PROMPTS, grader=grader, **options)
    assert [row.correct for row in result] == [False, None]


def test_nothing_is_printed_unless_asked(options, capsys):
    compare("plain", "hi", **options)
    assert capsys.readouterr() == ("", "")
    compare("plain", PROMPTS, progress=True, **options)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("] 2/2\n")


INTERRUPTED = """
import asyncio, json, signal, sys
from zg_core.compare import compare
environ, cache, prompts = json.load(sys.stdin)
def call():
    compare("slow", prompts, concurrency=2, environ=environ, cache=cache)
async def notebook():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as kernels do for each cell
    call()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
try:
    asyncio.run(notebook()) if sys.argv[1] == "notebook" else call()
except KeyboardInterrupt:
    sys.exit(42)
"""


@pytest.mark.parametrize("where", ["notebook", "script"])
def test_an_interrupt_ends_it_and_loses_no_finished_call(tmp_path, where):
    import json

    from zg_core.localnet import LocalNet, ProviderSpec

    prompts = [f"Say {number}" for number in range(40)]
    cache = tmp_path / "calls"
    with LocalNet(providers=[ProviderSpec(model="slow")]) as net:
        net.open_account(net.wallet, net.providers[0])
        # Two at a time, until both wait for an answer that never comes.
        net.providers[0].fault("hang", times=None, containing="Say 1")
        # a shell's background jobs ignore Ctrl-C, and so would their children
        child = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import signal\nsignal.signal(2, signal.default_int_handler)\n{INTERRUPTED}",
                where,
            ],
            stdin=subprocess.PIPE,
            cwd=Path.cwd(),
        )
        child.stdin.write(json.dumps([net.env(), str(cache), prompts]).encode())
        child.stdin.close()
        wait_for(cache, 9, child)
        child.send_signal(signal.SIGINT)
        assert child.wait(PATIENCE) == 42
        finished = len(list(cache.glob("*.json")))
        assert finished == 9
        assert not list(cache.glob(".*"))
        known = [job for job in estimate("slow", prompts, environ=net.env(), cache=cache).jobs if job.known]
        assert len(known) == finished
