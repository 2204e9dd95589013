"""``zerog verify``: what it shows, keeps, and ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.cli.running import Zerog, zerog_of
from zg_core.localnet import LocalNet

pytest.importorskip("dcap_qvl")


@pytest.fixture
def zerog(market: LocalNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zerog]:
    """Somebody without a wallet, on the local network, who has fetched no collateral yet."""
    monkeypatch.setattr("zg_core.verify.attestation.pccs._kept", {})
    made = zerog_of(market, tmp_path, None)
    made.environ["ZEROG_STATUS_URL"] = market.status_url
    yield made
    for provider in market.providers:
        provider.clear_faults()


def test_the_levels_are_shown_with_what_was_seen(zerog, market):
    ran = zerog("verify", market.providers[0].address, "--local-root")
    for words in ("0 chain", "1 binding", "2 dcap", "3 config", "pass", "TCB status    UpToDate", "level 2 holds"):
        assert words in ran.out, ran
    assert "prompt        declared" in ran.out
    assert "asking the broker for its report" in ran.err


def root_and_collateral(market: LocalNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Believes in the made-up hardware, and in no OS image."""
    from zg_core.cli import verify

    trust = verify.local_trust
    monkeypatch.setattr(verify, "local_trust", lambda *given: trust(*given) | {"os_images": None})
    return ["verify", market.providers[0].address, "--local-root"]


def test_without_an_os_image_it_says_what_level_3_lacks_and_what_was_measured(zerog, market, tmp_path, monkeypatch):
    words = root_and_collateral(market, tmp_path, monkeypatch)
    ran = zerog(*words)
    image = ":".join(market.os_image)
    assert "level 2 holds" in ran.out
    assert "not asked for, and lacking: level 3 (broker): nobody said which OS images to believe" in ran.out
    assert f"--os-image {image}" in ran.out
    document = zerog(*words, "--json").document
    assert (document["level"], document["satisfied"], document["reached"]) == (2, True, 2)
    assert zerog(*words, "--level", "3", ok=False).code == 3
    assert zerog(*words, "--pinned", ok=False).code == 3, "a matter of level 3"
    ran = zerog(*words, "--os-image", image)
    assert "level 3 holds" in ran.out, ran
    assert "level 3 holds" in zerog(*words, "--os-image", image.upper(), "--pinned").out
    assert zerog(*words, "--os-image", "00:11:22", ok=False).code == 1


def test_what_is_left_to_do_by_hand_is_listed_image_by_image(zerog, market):
    words = ("verify", market.providers[0].address, "--local-root", "--json")
    left = {each["what"]: each["how"] for each in zerog(*words).document["by_hand"]}
    assert "dstack-verifier" in left[f"os image {':'.join(market.os_image)}"]
    (image,) = (what for what in left if what.startswith("image "))
    assert left[image].endswith("search.sigstore.dev/?hash=" + image.rpartition("@")[2])


def test_of_a_quote_that_is_not_genuine_no_image_is_offered(zerog, market, tmp_path):
    collateral = tmp_path / "collateral.json"
    collateral.write_text(market.providers[0].collateral)
    ran = zerog("verify", market.providers[0].address, "--collateral", str(collateral), ok=False)
    assert "--os-image" not in ran.out


@pytest.mark.parametrize("option", [("--pinned",), ("--compose-hash", "00"), ("--os-image", "00:11:22")])
def test_a_matter_of_level_3_makes_no_sense_below(zerog, market, option):
    error = zerog.fails("verify", market.providers[0].address, "--level", "2", *option, code=2)
    assert "level 3" in error["message"]


def test_for_teetls_it_says_who_is_outside(zerog, market):
    assert (
        "the vendor that answers is outside the enclave"
        in zerog("verify", market.providers[1].address, "--local-root").out
    )


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("debug_td", 1, "debug bit"),
        ("edited_compose", 1, "not the one that was measured"),
        ("outdated_tcb", 1, "LOCAL-SA-00001"),
        ("expired_collateral", 3, "expired"),
    ],
)
def test_the_exit_code_says_how_it_ended(zerog, market, fault, code, words):
    market.providers[0].attestation_fault(fault)
    asked = ("verify", market.providers[0].address, "--local-root", "--level", "3")
    ran = zerog(*asked, ok=False)
    assert ran.code == code, ran
    assert words in ran.out
    assert "level 3 does not hold" in ran.out
    document = zerog(*asked, "--json", ok=False).document
    assert document["satisfied"] is False


def test_a_level_below_the_fault_holds(zerog, market):
    market.providers[0].attestation_fault("edited_compose")
    assert zerog("verify", market.providers[0].address, "--local-root", "--level", "2").code == 0


def test_without_the_local_root_made_up_hardware_is_refused(zerog, market, tmp_path):
    collateral = tmp_path / "collateral.json"
    collateral.write_text(market.providers[0].collateral)
    ran = zerog("verify", market.providers[0].address, "--collateral", str(collateral), ok=False)
    assert ran.code == 1, ran


def test_evidence_is_kept_where_it_is_asked_for_and_nowhere_else(zerog, market, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    zerog("verify", market.providers[0].address, "--local-root")
    assert sorted(tmp_path.rglob("*")) == before
    zerog("verify", market.providers[0].address, "--local-root", "--report-dir", str(tmp_path / "kept"))
    assert json.loads((tmp_path / "kept" / "broker.json").read_text())["quote"]
    assert json.loads((tmp_path / "kept" / "report.json").read_text())["reached"] == 3


@pytest.mark.parametrize(
    ("words", "more", "code"),
    [
        (("--local-root",), {"ZEROG_STATUS_URL": ""}, "no_status_service"),
        (("--local-root",), {"ZEROG_STATUS_URL": "https://status.example"}, "no_status_service"),
        (("--local-root", "--status-url", "http://127.0.0.1:9"), {}, "connect_failed"),
        (("--collateral", "/no/such/file"), {}, "bad_collateral"),
        (("--status", "Fine"), {}, "bad_attestation_options"),
        (("--compose-hash", "37bf…"), {}, "bad_attestation_options"),
        (("--os-image", "00"), {}, "bad_attestation_options"),
    ],
)
def test_what_cannot_be_run_is_one_line_with_a_hint(zerog, market, words, more, code):
    error: dict[str, Any] = zerog.fails("verify", market.providers[0].address, *words, code=1, **more)
    assert error["code"] == code
    assert error["hint"]


def test_the_local_root_is_for_local_networks_only(zerog, market, monkeypatch):
    from zg_core.cli.terminal.trust import local_trust
    from zg_core.config import NETWORKS
    from zg_core.errors import ConfigError

    with pytest.raises(ConfigError, match="local networks only"):
        local_trust(NETWORKS["testnet"], None, market.status_url, None)


def test_what_an_enclave_measured_commands_no_terminal(tmp_path, monkeypatch):
    name = "evil\x1b[2J\u202e\ud800"
    file = json.dumps({"services": {"a": {"image": name}}})
    compose = json.dumps({"runner": "docker-compose", "docker_compose_file": file})
    monkeypatch.setattr("zg_core.localnet.hardware.attestation.app_compose", lambda: compose)
    with LocalNet(providers=1) as net:  # a provider makes its quote once
        zerog = zerog_of(net, tmp_path, None)
        zerog.environ["ZEROG_STATUS_URL"] = net.status_url
        words = ("verify", net.providers[0].address, "--local-root")
        ran = zerog(*words, "--report-dir", str(tmp_path / "kept"))
        document = zerog(*words, "--json").document
    assert "the image 'evil" in ran.out, ran
    assert not {"\x1b", "\u202e"} & set(ran.out + ran.err)
    assert document["reached"] == 3
    assert json.loads((tmp_path / "kept" / "report.json").read_text())["reached"] == 3


def test_on_a_local_network_the_option_that_it_takes_is_named(nobody, market):
    words = ("verify", market.providers[0].address)
    assert "--local-root believes in it" in nobody(*words, ok=False).err
    assert "--local-root" not in nobody(*words, "--level", "1", ok=None).err
