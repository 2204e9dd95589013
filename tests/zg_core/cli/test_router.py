"""``zerog router``, ``zerog chat --backend router`` and ``zerog localnet up --router`` on a local network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.zg_core.cli.running import Zerog, zerog_of
from zg_core.localnet import LocalNet


@pytest.fixture(scope="module")
def routed() -> Iterator[LocalNet]:
    with LocalNet(providers=2, router=True) as net:
        yield net


@pytest.fixture
def zerog(routed: LocalNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zerog:
    monkeypatch.setenv("ZEROG_ROUTER_URL", routed.router.base_url)
    monkeypatch.setenv("ZEROG_ROUTER_API_KEY", routed.router.api_key)
    monkeypatch.setenv("ZEROG_ROUTER_MANAGEMENT_KEY", routed.router.management_key)
    return zerog_of(routed, tmp_path, routed.new_wallet())


def test_a_chat_through_the_router_is_shown_with_what_it_proves(zerog: Zerog, routed: LocalNet) -> None:
    asked = ("chat", "Say: hello", "--backend", "router", "--model", "local-chat-1", "--json")
    ran = zerog(*asked, ok=False)
    assert (ran.code, ran.document["answer"]) == (3, "hello")  # less than verified, which is asked for unless named
    document = zerog(*asked, "--minimum", "signer_only").document
    assert document["answer"] == "hello"
    assert document["receipt"]["verdict"]["status"] == "signer_only"
    entry = routed.router.history[-1]
    found = zerog("router", "usage", "--limit", "1", "--json").document["requests"][0]
    assert found["request_id"] == entry["request_id"]
    audit = zerog("router", "audit", "--json")
    assert (audit.code, audit.document["agrees"] > 0, audit.document["differs"]) == (0, True, 0)
    same = zerog("receipts", "audit", "--backend", "router", "--json")
    assert (same.code, same.document["ok"], same.document["backend"]) == (0, True, "router")
    assert {one["result"] for one in same.document["calls"]} == {"agrees"}
    (row,) = same.document["providers"]
    assert (row["settled"], row["calls"]) == (row["exact"], len(same.document["calls"]))


def test_the_account_is_shown(zerog: Zerog, routed: LocalNet) -> None:
    document = zerog("router", "balance", "--json").document
    assert int(document["total"]["neuron"]) == routed.router.balance
    assert "local-chat-1" in zerog("router", "models").out


def test_a_key_is_made_and_ended(zerog: Zerog, routed: LocalNet) -> None:
    made = zerog("router", "keys", "create", "of the command line", "--json").document
    assert routed.router.key_record(made["key"]).name == "of the command line"
    assert made["key"] not in zerog("router", "keys", "list", "--json").out
    changed = zerog("router", "keys", "update", made["key_id"], "--trust-mode", "private", "--json").document
    assert (changed["trust_mode"], changed["name"]) == ("private", "of the command line")
    changed = zerog("router", "keys", "update", made["key_id"], "--trust-mode", "none", "--json").document
    assert changed["trust_mode"] == ""
    assert zerog("router", "keys", "revoke", made["key_id"], ok=False).code == 2  # nobody to ask
    assert zerog("router", "keys", "revoke", made["key_id"], "--yes").code == 0
    assert routed.router.key_record(made["key"]).revoked


def test_a_sealed_question_is_proven_where_the_local_hardware_is_believed_by_name(
    zerog: Zerog, routed: LocalNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("chat", "Say: hello", "--model", "local-chat-1", "--sealed", "--json")
    doubted = zerog(*asked, "--backend", "router", ok=False)
    assert "--local-root" in zerog(*asked[:-1], "--backend", "router", ok=False).err
    assert doubted.code != 0  # Intel has signed nothing of a made-up machine
    assert b"_e2ee" not in b"".join(routed.router.seen)
    monkeypatch.setenv("ZEROG_STATUS_URL", routed.status_url)
    document = zerog(*asked, "--backend", "router", "--local-root").document
    assert (document["answer"], document["verdict"]) == ("hello", "verified")
    assert document["receipt"]["verdict"]["prompt"] == "sealed"
    assert b"_e2ee" in b"".join(routed.router.seen)
    monkeypatch.delenv("ZEROG_STATUS_URL")
    nowhere = zerog(*asked, "--backend", "router", "--local-root", ok=False)
    assert nowhere.code != 0
    assert "status service" in nowhere.err
