"""Receipts that travel: what is opened is what was put in, or nothing is."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.zg_core.receipts.test_model import PENDING, VERIFIED, receipt
from tests.zg_core.receipts.test_vouching import CASES, honest
from zg_core.errors import ConfigError
from zg_core.receipts import Receipt, Step, named_run, read_bundle, write_bundle
from zg_core.receipts.bundles import is_bundle
from zg_core.types import Kind
from zg_core.verify.verdict import Status
from zg_core.wallet import Wallet

WALLET = Wallet.from_key("0x" + "5a" * 32)
CASE = CASES["TeeML bytes chain"]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A signed bundle of an agent's run: two calls of a model under a tool, one beside it."""
    inner, other, outer = (honest(Kind.TEE_ML) for _ in range(3))
    steps = [
        Step("agent", "", "agent", "chain"),
        Step("tool", "agent", "search", "tool"),
        Step("last", "agent", "chat", "model", (outer.id,)),
        Step("first", "tool", "chat", "model", (inner.id, other.id)),
    ]
    path = tmp_path / "run.zip"
    write_bundle(
        path, [outer, inner, other], steps=steps, run="r", wallet=WALLET, evidence={"quote/report.json": b"{}"}
    )
    return path


def rewritten(path: Path, changes: dict[str, Any], *, leave_out: tuple[str, ...] = ()) -> Path:
    """A bundle with some files changed: bytes, or what makes other bytes of those that are there."""
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            files[name] = archive.read(name)
    for name, change in changes.items():
        files[name] = change(files[name]) if callable(change) else change
    other = path.with_name("other.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for name, data in files.items():
            if name not in leave_out:
                archive.writestr(name, data)
    return other


def test_what_is_opened_is_what_was_put_in(made: Path) -> None:
    assert is_bundle(made)
    found = read_bundle(made)
    assert read_bundle(io.BytesIO(made.read_bytes())) == found
    assert (found.run, found.signer) == ("r", WALLET.address)
    assert found.evidence == {"quote/report.json": b"{}"}
    assert [Receipt.from_dict(each).to_dict() for each in found.documents] == list(found.documents)
    lines = found.check(CASE.anchor)
    assert [(line.step, line.name) for line in lines] == [("1.1.1", "chat"), ("1.1.1", "chat"), ("1.2", "chat")]
    assert {line.check.result for line in lines} == {"passed"}
    assert all("payment.payer" in line.unvouched and "response" not in line.unvouched for line in lines)
    assert {line.check.result for line in found.check()} == {"unproven"}
    assert json.loads(json.dumps([line.to_dict() for line in lines]))[0]["step"] == "1.1.1"


def test_the_same_content_has_the_same_manifest_and_no_absolute_path(tmp_path: Path) -> None:
    one = honest(Kind.TEE_ML)
    digest = write_bundle(tmp_path / "a.zip", [one])
    assert read_bundle(tmp_path / "a.zip").sha256 == digest
    assert read_bundle(tmp_path / "a.zip").signer == ""
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert sorted(archive.namelist()) == ["manifest.json", "receipts.json", "run.json"]


def changed(name: str, old: bytes, new: bytes) -> dict[str, Any]:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return {name: change}


ALTERED: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "a receipt": (changed("receipts.json", b'"answered"', b'"refused"'), (), "not what the manifest says"),
    "a step": (changed("run.json", b"search", b"pay me"), (), "not what the manifest says"),
    "evidence": (changed("evidence/quote/report.json", b"{}", b"[]"), (), "not what the manifest says"),
    "a file more": ({"evidence/more": b"x"}, (), "there or not"),
    "a file less": ({}, ("evidence/quote/report.json",), "there or not"),
    "no manifest": ({}, ("manifest.json",), "no manifest"),
    "the manifest, signed by another": (changed("manifest.json", b"made_at", b"Made_at"), (), "not signed by"),
    "the signer": (changed("manifest.json", WALLET.address[2:8].encode(), b"000000"), (), "not signed by"),
    "the signature": ({"signature.json": b'{"signature": "0x00"}'}, (), "not signed by"),
    "a signature of nobody": ({"signature.json": b"{}"}, (), "the other is missing"),
    "no signature": ({}, ("signature.json",), "the other is missing"),
    "a manifest of another form": ({"manifest.json": b'{"form": "x"}'}, ("signature.json",), "its form"),
    "a name twice": ({"manifest.json": b'{"form": "zerog-bundle/1", "files": {}, "files": {}}'}, (), "no JSON object"),
    "junk": ({"manifest.json": b"[" * 100_000}, (), "no JSON object"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_bundle_that_was_changed_is_refused(made: Path, name: str) -> None:
    changes, leave_out, words = ALTERED[name]
    with pytest.raises(ConfigError, match=words) as caught:
        read_bundle(rewritten(made, changes, leave_out=leave_out))
    assert caught.value.code == "bad_bundle"


def test_every_byte_counts(made: Path) -> None:
    whole = made.read_bytes()
    before = read_bundle(made)
    for place in range(0, len(whole), max(1, len(whole) // 150)):
        made.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            found = read_bundle(made)
        except ConfigError as error:
            assert error.code == "bad_bundle"  # noqa: PT017 - and nothing else
        else:  # a byte of the frame that says nothing of the content
            assert (found.documents, found.steps, found.signer) == (before.documents, before.steps, before.signer)


def test_a_forged_receipt_inside_fails_its_check(tmp_path: Path) -> None:
    """A manifest says that nothing was changed since; not that what it names is true."""
    made = honest(Kind.TEE_ML)
    made.model = "gpt-9-huge"
    write_bundle(tmp_path / "a.zip", [made, honest(Kind.TEE_ML)], wallet=WALLET)
    results = [line.check.result for line in read_bundle(tmp_path / "a.zip").check(CASE.anchor)]
    assert results == ["failed", "passed"]


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zg_core.receipts.bundles._MOST_BYTES", 100_000)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("receipts.json", b" " * 200_000)
    with pytest.raises(ConfigError, match="more than"):
        read_bundle(path)
    whole = path.read_bytes()
    assert len(whole) < 1000
    # One that lies about its size.
    path.write_bytes(whole.replace((200_000).to_bytes(4, "little"), (9).to_bytes(4, "little")))
    with pytest.raises(ConfigError) as caught:
        read_bundle(path)
    assert caught.value.code == "bad_bundle"


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a\\b", "", "a\nb", "x" * 201])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no name for a file"):
        write_bundle(tmp_path / "a.zip", [receipt()], evidence={name: b""})


@pytest.mark.parametrize(
    "name", ["evidence/../../x", "/etc/x", "evidence/", "evidence//x", "evidence/a\\b", "evidence/\u202ex"]
)
def test_nor_is_one_taken_that_leads_elsewhere_in_a_bundle(made: Path, name: str) -> None:
    """Somebody else's tool made it: its manifest names the file, and whoever unpacks it writes where that says."""

    def named(data: bytes) -> bytes:
        manifest = json.loads(data)
        manifest["files"][name] = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
        return json.dumps({**manifest, "signer": ""}).encode()

    with pytest.raises(ConfigError, match="no name for a file"):
        read_bundle(rewritten(made, {"manifest.json": named, name: b"x"}, leave_out=("signature.json",)))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04junk", b'{"receipts": []}'])
def test_what_is_no_bundle_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_bundle(path)
    assert caught.value.code == "bad_bundle"


def test_steps_of_any_form_are_put_in_order(tmp_path: Path) -> None:
    one, two = honest(Kind.TEE_ML), honest(Kind.TEE_ML)
    circle = [Step("a", "b", "a", receipts=(one.id,)), Step("b", "a", "b"), Step("c", "c", "c", receipts=(two.id, "x"))]
    write_bundle(tmp_path / "a.zip", [one, two], steps=circle)
    lines = read_bundle(tmp_path / "a.zip").check(CASE.anchor)
    assert [(line.step, line.receipt.id) for line in lines] == [("1", two.id), ("-", one.id)]


def test_a_check_that_is_running_is_waited_for(tmp_path: Path) -> None:
    one = receipt()
    one.settle(PENDING)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_bundle, tmp_path / "a.zip", [one])
        one.settle(VERIFIED)
        writing.result(PATIENCE)
    assert read_bundle(tmp_path / "a.zip").documents[0]["status"] == str(Status.VERIFIED)


class TestRuns:
    def test_calls_inside_belong_to_it(self) -> None:
        async def inside() -> str:
            with named_run("b"):
                await asyncio.sleep(0)
                return receipt().run

        async def both() -> list[str]:
            return await asyncio.gather(inside(), asyncio.to_thread(lambda: receipt().run))

        with named_run("a"):
            assert receipt().run == "a"
            assert asyncio.run(both()) == ["b", "a"]
        assert receipt().run == ""

    def test_the_environment_names_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZEROG_RUN", "nightly")
        assert receipt().run == "nightly"
        with named_run("a"):
            assert receipt().run == "a"

    def test_one_that_is_read_keeps_its_own(self) -> None:
        document = receipt().to_dict()
        with named_run("a"):
            assert Receipt.from_dict(document).run == ""

    @pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", None])
    def test_a_name_that_is_none_is_refused(self, name: Any) -> None:
        with pytest.raises(ConfigError) as caught, named_run(name):
            pass
        assert caught.value.code == "bad_run"


def test_a_zip_of_something_else_is_no_bundle(tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.txt", "b")
    (tmp_path / "a.zip").write_bytes(data.getvalue())
    with pytest.raises(ConfigError, match="no manifest"):
        read_bundle(tmp_path / "a.zip")
