"""Sums for Prometheus: what they count, and that strangers' names stay names."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.zg_core.serve.serving import QUESTION, Running
from zg_core.money import Amount, Fee
from zg_core.receipts.model import Receipt
from zg_core.serve.metrics import Metrics
from zg_core.types import Kind

LINE = re.compile(r'[a-z_]+(\{([a-z_]+="([^"\\\n]|\\[\\"n])*",?)*\})? -?[0-9.e+]+')


def receipt_of(model: str) -> Receipt:
    fee = Fee(Amount(7), exact=True)
    return Receipt("direct", "local", 31337, "0x" + "ab" * 20, model, Kind.TEE_ML, "11" * 32, 1, 2, fee)


def test_calls_fees_tokens_and_times_are_summed(served: Running) -> None:
    got = served.chat({"model": "chat-ml", **QUESTION})
    served.chat(b"{")
    text = served.get("/metrics").body.decode()
    where = f'model="chat-ml",provider="{got.headers["x-zerog-provider"]}"'
    assert re.search(f'zerog_serve_calls_total{{{where},outcome="answered",verdict="verified"}} [1-9]', text)
    assert re.search(f'zerog_serve_fee_units_total{{{where},unit="neuron"}} [1-9]', text)
    assert re.search(f'zerog_serve_tokens_total{{{where},kind="prompt"}} [1-9]', text)
    assert re.search(f'zerog_serve_call_seconds_bucket{{{where},le="\\+Inf"}} [1-9]', text)
    assert re.search('zerog_serve_errors_total{code="bad_request_body"} [1-9]', text)
    assert all(line.startswith("#") or LINE.fullmatch(line) for line in text.splitlines())


def test_a_name_cannot_end_its_label() -> None:
    metrics = Metrics()
    metrics.call(receipt_of('m"} 1\nzerog_evil{a="\\'))
    lines = metrics.text(in_flight=0).splitlines()
    assert all(line.startswith("#") or LINE.fullmatch(line) for line in lines)
    assert not any(line.startswith("zerog_evil") for line in lines)


def test_names_without_end_do_not_fill_the_memory() -> None:
    metrics = Metrics()
    for number in range(2000):
        metrics.call(receipt_of(f"model-{number}"))
    text = metrics.text(in_flight=0)
    assert len(re.findall("^zerog_serve_calls_total", text, re.MULTILINE)) <= 501
    assert 'zerog_serve_calls_total{model="other"' in text


def test_the_dashboard_asks_for_metrics_that_there_are(repository: Path, served: Running) -> None:
    dashboard = json.loads((repository / "docs" / "grafana-serve.json").read_text(encoding="utf-8"))
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"zerog_[a-z_]+", target["expr"])
    }
    served.chat({"model": "chat-ml", **QUESTION})
    text = served.get("/metrics").body.decode()
    told = set(re.findall("^# TYPE (zerog_[a-z_]+) ", text, re.MULTILINE))
    assert {name.removesuffix("_bucket") for name in asked} == told - {"zerog_serve_late"}
