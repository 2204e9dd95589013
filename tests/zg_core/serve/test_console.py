"""What the console is told: the owner's data, harmless for a screen; pages without data, and nothing from elsewhere."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

import zg_core.serve
from tests.patience import until
from tests.zg_core.serve.serving import QUESTION, Running, running, settings_of
from zg_core.errors import ConfigError
from zg_core.localnet import LocalNet, LocalProvider, LocalWallet
from zg_core.money import Amount
from zg_core.receipts import write_bundle
from zg_core.receipts.stored import ReceiptStore
from zg_core.serve.access import Keys
from zg_core.serve.settings import Allowance, allowance_of
from zg_core.store import Store

GOOD = {"model": "chat-ml", **QUESTION}
STATIC = Path(zg_core.serve.__file__).parent / "static"
API = "/console/api"


@pytest.fixture(scope="module")
def kept(reach: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with a store and a budget."""
    store = f"sqlite:///{tmp_path_factory.mktemp('console')}/store.db"
    with running(settings_of(reach, store=store, budget=(Allowance(Amount("5"), "day"),))) as server:
        yield server


def test_pages_come_without_a_token_and_let_nothing_in_from_elsewhere(served: Running) -> None:
    for path in ["/", *(f"/console/{each.name}" for each in STATIC.iterdir() if each.name != "index.html")]:
        got = served.get(path, Authorization="")
        assert got.status == 200, path
        policy = got.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
    assert served.get("/console/../access.py", Authorization="").status == 401
    assert served.get("/console/nothing.js").status == 404


def test_pages_name_no_other_address_and_make_no_html_of_texts() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        outside = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not outside, path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son[a-z]+=|style=\"", text), path.name


@pytest.mark.parametrize("what", ["calls", "overview", "spend", "providers", "account", "export", "receipts/abc"])
def test_data_is_the_owners(kept: Running, what: str) -> None:
    assert kept.get(f"{API}/{what}", Authorization="").error["code"] == "bad_token"
    keys = Keys(Store.open(kept.server.settings.store))
    secret, key = keys.create(f"user {what}", allowance_of("1/day"))
    assert kept.get(f"{API}/{what}", Authorization=f"Bearer {secret.reveal()}").error["code"] == "owner_only"
    keys.revoke(key.id)


def test_calls_are_told_once_and_again_when_they_change(kept: Running) -> None:
    before = kept.get(f"{API}/calls").json["last"]
    sent = kept.chat(GOOD)
    news = kept.get(f"{API}/calls?after={before}").json
    (call,) = news["calls"]
    assert call["id"] == sent.headers["x-zerog-receipt"]
    assert (call["verdict"], call["caller"], call["model"]) == ("verified", "owner", "chat-ml")
    assert call["fee"]["units"] == sent.headers["x-zerog-fee"]
    assert kept.get(f"{API}/calls?after={news['last']}").json == {"last": news["last"], "calls": []}
    kept.server.seen.verdict(kept.server.seen.get(call["id"]).receipt)
    assert [each["id"] for each in kept.get(f"{API}/calls?after={news['last']}").json["calls"]] == [call["id"]]
    assert kept.get(f"{API}/calls?after=x").status == 400
    assert kept.get(f"{API}/calls?{'&'.join(['a=1'] * 30)}").status == 400


def test_calls_of_other_programs_with_the_same_store_show_too(reach: dict[str, Any], tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    with running(settings_of(reach, store=store)) as watching, running(settings_of(reach, store=store)) as working:
        secret, _ = Keys(Store.open(store)).create("alice", allowance_of("1/day"))
        last = watching.get(f"{API}/calls").json["last"]
        found = working.chat(GOOD, Authorization=f"Bearer {secret.reveal()}").headers["x-zerog-receipt"]
        calls = until(lambda: watching.get(f"{API}/calls?after={last}").json["calls"])  # it looks once a second
        assert [(each["id"], each["caller"]) for each in calls] == [(found, "alice")]
        assert watching.get(f"{API}/calls?after={calls[0]['number']}").json["calls"] == []
        own = watching.chat(GOOD).headers["x-zerog-receipt"]
        threading.Event().wait(1.1)  # what it made itself comes once, not from the store again
        again = watching.get(f"{API}/calls?after={calls[0]['number']}").json["calls"]
        assert [(each["id"], each["caller"]) for each in again] == [(own, "owner")]


def test_who_asked_is_known_after_a_restart_and_to_the_store(reach: dict[str, Any], tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    secret, _ = Keys(Store.open(store)).create("bob", allowance_of("1/day"))
    with running(settings_of(reach, store=store)) as server:
        found = server.chat(GOOD, Authorization=f"Bearer {secret.reveal()}").headers["x-zerog-receipt"]
        server.chat(GOOD)
    with running(settings_of(reach, store=store)) as server:
        assert [each["caller"] for each in server.get(f"{API}/calls").json["calls"]] == ["bob", ""]
    assert [each.id for each in ReceiptStore(Store.open(store)).select(run="serve:bob")] == [found]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("data", "nope"), ("data", '["c","","",0,0,1,1,Infinity]'), ("verdict", "{"), ("currency", "XYZ"),
        ("fee", "zz"), ("context", "lost"), ("context", "other"), ("started", 1e300),
    ],
)  # fmt: skip
def test_what_strangers_write_to_the_store_hides_nothing_else(
    reach: dict[str, Any], tmp_path: Path, column: str, value: Any
) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/store.db")
    with running(settings_of(reach, store=f"sqlite:///{tmp_path}/store.db")) as server:
        found = server.chat(GOOD).headers["x-zerog-receipt"]
    with store.transaction() as work:
        row = dict(work.one("SELECT * FROM receipts"))
        (known,) = work.all("SELECT data FROM receipt_contexts")
        work.run("INSERT INTO receipt_contexts VALUES ('other', :data)", data=known["data"].replace("direct", "x", 1))
        row |= {"id": "f" * 32, column: value}
        work.run(f"INSERT INTO receipts ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", **row)
    with running(settings_of(reach, store=f"sqlite:///{tmp_path}/store.db")) as server:
        told = {what: server.get(f"{API}/{what}") for what in ("calls", "spend", "providers", "export")}
        assert {each.status for each in told.values()} == {200}
        assert found in [each["id"] for each in told["calls"].json["calls"]]
        assert found in [each["receipt_id"] for each in told["export"].json["receipts"]]
        assert b"Infinity" not in told["calls"].body
        assert server.get(f"{API}/receipts/{found}").status == 200
        assert server.get(f"{API}/receipts/{'f' * 32}").error["code"] == "bad_receipt"
        with pytest.raises(ConfigError, match="ffffffff"):
            ReceiptStore(store).select()


def test_what_strangers_write_keeps_no_call_from_its_verdict(reach: dict[str, Any], tmp_path: Path) -> None:
    path = f"sqlite:///{tmp_path}/store.db"
    with running(settings_of(reach, store=path)) as server:
        found = server.chat(GOOD).headers["x-zerog-receipt"]
    with Store.open(path).transaction() as work:
        work.run("UPDATE receipts SET status = 'pending', verdict = :said, judged = NULL", said='{"s":"pending"}')
        row = dict(work.one("SELECT * FROM receipts")) | {"id": "f" * 32, "data": "nope"}
        work.run(f"INSERT INTO receipts ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", **row)
    with running(settings_of(reach, store=path)) as server:
        assert server.post(f"{API}/receipts/{found}/verify", {}).json.get("result") == "passed"


def test_a_receipt_says_what_each_check_showed_and_can_be_checked_again(kept: Running) -> None:
    found = kept.chat(GOOD).headers["x-zerog-receipt"]
    told = kept.get(f"{API}/receipts/{found}").json
    assert told["receipt"]["receipt_id"] == found
    results = {each["name"]: each["result"] for each in told["steps"]}
    assert results["The signed hash is that of the bytes received"] == "passed"
    assert results["The key that signed is the one on chain"] == "passed"
    assert results["The key lives in genuine hardware"] == "open"
    assert results["Token counts"] == "told"
    again = kept.post(f"{API}/receipts/{found}/verify", {}).json
    assert (again["result"], again["anchor"]) == ("passed", "the chain")
    assert "seconds" in again["unvouched"]
    assert kept.get(f"{API}/receipts/{found}/verify").status == 404
    assert kept.get(f"{API}/receipts/nothing").error["code"] == "unknown_receipt"


def test_a_refused_answer_shows_which_check_failed(kept: Running, provider: LocalProvider) -> None:
    provider.fault("body_changed")
    found = kept.chat(GOOD).headers["x-zerog-receipt"]
    told = kept.get(f"{API}/receipts/{found}").json
    results = {each["name"]: each["result"] for each in told["steps"]}
    assert results["The signed hash is that of the bytes received"] == "failed"
    assert kept.post(f"{API}/receipts/{found}/verify", {}).json["result"] == "failed"


def test_a_bundle_is_checked_against_the_chain_or_offline(kept: Running, tmp_path: Path) -> None:
    for _ in range(2):
        kept.chat(GOOD)
    receipts = [each.receipt for each in kept.server.seen.after(0) if str(each.receipt.verdict.status) == "verified"]
    write_bundle(tmp_path / "run.zip", receipts[-2:], run="r")
    data = (tmp_path / "run.zip").read_bytes()
    told = kept.post(f"{API}/bundle?anchor=chain", data).json
    assert [(each["result"], each["verdict"]) for each in told["lines"]] == [("passed", "verified")] * 2
    assert (told["run"], told["signer"]) == ("r", None)
    assert "seconds" in told["lines"][0]["unvouched"]
    offline = kept.post(f"{API}/bundle", data).json
    assert [each["result"] for each in offline["lines"]] == ["unproven"] * 2
    for wrong in (b"", b"PK", data[: len(data) // 2]):
        assert kept.post(f"{API}/bundle", wrong).error["code"] == "bad_bundle"
    assert kept.get(f"{API}/bundle").status == 404


def test_spend_and_what_is_left_agree_with_the_receipts(kept: Running) -> None:
    kept.chat(GOOD)
    told = kept.get(f"{API}/spend").json
    receipts = [each.receipt for each in kept.server.seen.after(0)]
    (left,) = told["left"]
    assert left["period"] == "day"
    spent = sum(each.fee.amount.units for each in receipts)
    assert 5 * 10**18 - int(left["left"]["units"]) >= spent > 0
    assert sum(int(each["spent"]["units"]) for each in told["days"]) <= spent


def test_providers_and_account_are_those_of_the_chain(kept: Running, net: LocalNet, wallet: LocalWallet) -> None:
    found = kept.get(f"{API}/providers").json
    assert {each["provider"] for each in found} == {each.address for each in net.providers}
    assert found[0]["kind"] == "TeeML"
    account = kept.get(f"{API}/account").json
    assert account["wallet"] == wallet.address
    assert len(account["accounts"]) == len(net.providers)
    assert account["accounts"][0]["fund"].startswith("zerog transfer 0x")


def test_exports_hold_what_fits_and_no_formula(kept: Running) -> None:
    kept.chat(GOOD)
    verified = kept.get(f"{API}/export?format=json&verdict=verified").json["receipts"]
    assert verified
    assert {each["status"] for each in verified} == {"verified"}
    assert kept.get(f"{API}/export?format=json&model=none").json["receipts"] == []
    text = kept.get(f"{API}/export?format=csv")
    assert text.headers["content-type"].startswith("text/csv")
    assert text.body.startswith(b'"id","started_at"')
    assert kept.get(f"{API}/export?format=html").status == 400


def test_a_server_that_begins_again_shows_the_calls_of_its_store(reach: dict[str, Any], tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    with running(settings_of(reach, store=store)) as first:
        found = first.chat(GOOD).headers["x-zerog-receipt"]
    with running(settings_of(reach, store=store)) as second:
        new = second.chat(GOOD).headers["x-zerog-receipt"]
        calls = second.get(f"{API}/calls").json["calls"]
        assert [each["id"] for each in calls] == [found, new]
        assert second.get(f"{API}/receipts/{found}").json["steps"]
