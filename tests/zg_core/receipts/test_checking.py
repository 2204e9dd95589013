"""Checking receipts again: what contradicts itself or its anchor fails, what is not anchored is unproven."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import PATIENCE
from tests.zg_core.receipts.test_model import receipt
from tests.zg_core.verify.scene import BROKER, PROVIDER, SIGNING, STRANGER, Scene
from zg_core import ConfigError
from zg_core.money import Fee, neuron
from zg_core.receipts import Anchor, MemoryReceipts, Receipt, audit, check
from zg_core.receipts.anchors import read_pins
from zg_core.receipts.export import to_csv
from zg_core.receipts.model import OUTCOMES
from zg_core.shown import escaping
from zg_core.types import Kind, Usage
from zg_core.verify.verdict import Status, Verdict

SCHEMA = json.loads(files("zg_core.receipts").joinpath("schema-v2.json").read_text())


def recorded(scene: Scene, *, kept: bool = True, **changes: Any) -> Receipt:
    """The receipt of a scene, as a client would have made it."""
    exchange = scene.exchange()
    made = receipt(
        provider=PROVIDER,
        kind=scene.kind,
        service=scene.record,
        input_price=1,
        output_price=1,
        fee=Fee(neuron(0), exact=False, reason="no_usage"),
        outcome="answered",
        complete=scene.complete,
        chat_id=exchange.chat_id,
        signature_ids=exchange.chat_ids,
        request_sha256=exchange.request_sha256,
        request_bytes=len(scene.sent),
        request_body=scene.sent if kept else None,
        response_sha256=exchange.response_sha256,
        response_bytes=len(scene.received),
        response_body=scene.received if kept else None,
        **changes,
    )
    made.settle(scene.verdict())
    return made


def anchored(scene: Scene) -> Anchor:
    return Anchor("a test", (scene.record.signer,))


@pytest.fixture(params=SIGNING, ids=str)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


@pytest.mark.parametrize("kept", [True, False])
def test_an_honest_receipt_passes_with_an_anchor_only(scene: Scene, kept: bool) -> None:
    made = recorded(scene, kept=kept)
    alone = check(made)
    assert (alone.result, "not anchored" in alone.reason) == ("unproven", True)
    found = check(made, anchored(scene))
    assert (found.result, found.verdict.status) == ("passed", Status.VERIFIED)
    assert any("hashes only" in note for note in found.notes) is not kept
    assert "nobody vouches for: receipt_id" in found.notes[-1]
    assert check(made, Anchor("chain", services=(scene.record,))).result == "passed"
    again = Receipt.from_dict(json.loads(json.dumps(made.to_dict())))
    assert check(again, anchored(scene)).result == "passed"


def test_another_signer_fails(scene: Scene) -> None:
    other = Account.from_key(STRANGER).address
    assert check(recorded(scene), Anchor("a test", (other,))).result == "failed"
    stranger = replace(scene.record, tee_signer=other, additional_info="{}")
    assert check(recorded(scene), Anchor("chain", services=(stranger,))).result == "failed"
    assert check(recorded(scene), Anchor("chain", services=(stranger,), complete=False)).result == "unproven"
    assert check(recorded(scene), Anchor("pins")).result == "unproven"


@pytest.mark.parametrize(
    "change",
    [
        {"request_body": b"{}"},
        {"response_body": b"{}"},
        {"response_sha256": "00" * 32},
        {"input_price": 2},
        {"provider": "0x" + "cd" * 20},
        {"fee": Fee(neuron(5), exact=True), "usage": Usage(1, 1)},
        {"usage": Usage(1, 1)},
    ],
    ids=",".join,
)
def test_a_receipt_that_contradicts_itself_fails(scene: Scene, change: dict[str, Any]) -> None:
    made = recorded(scene)
    for name, value in change.items():
        setattr(made, name, value)
    assert check(made).result == "failed"
    assert check(made, anchored(scene)).result == "failed"


def test_a_claim_beyond_the_evidence_fails() -> None:
    scene = Scene(Kind.TEE_ML, signed_request="ab" * 32)
    made = recorded(scene)
    assert made.verdict.status is Status.RESPONSE_BOUND
    made.verdict = replace(made.verdict, status=Status.VERIFIED)
    assert check(made, anchored(scene), minimum="response_bound").result == "failed"


def test_less_than_verified_passes_by_name_only() -> None:
    scene = Scene(Kind.TEE_ML, signed_request="ab" * 32)
    made = recorded(scene)
    found = check(made, anchored(scene))
    assert (found.result, "the minimum is verified" in found.reason) == ("unproven", True)
    assert check(made, anchored(scene), minimum="verified").result == "unproven"
    by_name = check(made, anchored(scene), minimum="response_bound")
    assert by_name.result == "passed"
    assert {"request.sha256", "request.body", "model"} <= set(by_name.unvouched), "anybody's question"
    assert check(recorded(Scene(Kind.TEE_ML)), anchored(scene), minimum="response_bound").result == "passed"
    for word in ("failed", "not_checked", "sure"):
        with pytest.raises(ConfigError):
            check(made, anchored(scene), minimum=word)


def test_a_provider_that_lied_is_shown_to_have(scene: Scene) -> None:
    scene.signed_answer = "ab" * 32
    made = recorded(scene)
    assert made.verdict.status is Status.FAILED
    assert check(made, anchored(scene)).result == "failed"


def test_without_a_signature_nothing_is_proven(scene: Scene) -> None:
    scene.found = False
    assert check(recorded(scene), anchored(scene)).result == "unproven"
    scene.found, scene.complete = True, False
    assert check(recorded(scene), anchored(scene)).result == "unproven"


@given(st.data())
def test_a_changed_digit_never_passes(data: st.DataObject) -> None:
    scene = Scene(Kind.TEE_ML)
    plain = recorded(scene).to_dict()
    places = [("evidence", "signed_text"), ("evidence", "signature"), ("response", "sha256"), ("request", "sha256")]
    whole, name = data.draw(st.sampled_from([*places, ("verdict", "response_sha256"), ("verdict", "request_sha256")]))
    text = plain[whole][name]
    place = data.draw(st.integers(2, len(text) - 1))
    digit = data.draw(st.sampled_from("0123456789abcdef"))
    if digit != text[place]:
        plain[whole][name] = text[:place] + digit + text[place + 1 :]
        assert check(Receipt.from_dict(plain), anchored(scene)).result != "passed"


class TestPins:
    def test_names_signers_by_provider_and_chain(self, tmp_path) -> None:
        path = tmp_path / "pins.json"
        signer = Account.from_key(BROKER).address
        path.write_text(json.dumps({PROVIDER.upper().replace("0X", "0x"): signer, f"1:{PROVIDER}": [signer.lower()]}))
        assert read_pins(path, PROVIDER, 1).signers == (signer, signer)
        assert read_pins(path, PROVIDER, 2).signers == (signer,)
        assert read_pins(path, "0x" + "12" * 20, 1).signers == ()

    @pytest.mark.parametrize("junk", ["", "[]", '{"x": "y"}', '{"0x' + "ab" * 20 + '": 1}', "[" * 100_000])
    def test_junk_is_refused(self, tmp_path, junk) -> None:
        (tmp_path / "pins.json").write_text(junk)
        with pytest.raises(ConfigError) as caught:
            read_pins(tmp_path / "pins.json", PROVIDER, 1)
        assert caught.value.code == "bad_pins"


class TestSchema:
    @pytest.mark.parametrize("outcome", OUTCOMES)
    @pytest.mark.parametrize("kind", list(Kind))
    def test_describes_every_outcome(self, outcome: str, kind: Kind) -> None:
        made = receipt(outcome=outcome, kind=kind, usage=Usage(1, 2) if outcome == "answered" else None)
        made.settle(Verdict(Status.PENDING, kind=kind))
        jsonschema.validate(made.to_dict(), SCHEMA)
        made.fee = Fee(neuron(0), exact=False, reason="outcome_unknown", upper=None)
        jsonschema.validate(made.to_dict(), SCHEMA)

    def test_describes_real_ones(self, caller, options, provider, net) -> None:
        for one in net.providers[:4]:
            answered = caller.call(
                {**options, "provider": one.address, "keep_bytes": True, "verify": "background"},
                {"messages": [{"role": "user", "content": "hi"}]},
            )
            answered.receipt.resolve(PATIENCE)
            jsonschema.validate(answered.receipt.to_dict(), SCHEMA)

    def test_names_every_field_and_no_other(self) -> None:
        assert set(receipt().to_dict()) == set(SCHEMA["properties"]) == set(SCHEMA["required"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**receipt().to_dict(), "more": 1}, SCHEMA)


texts = st.text(max_size=20)
receipts = st.builds(
    receipt,
    outcome=st.sampled_from(OUTCOMES),
    kind=st.sampled_from(list(Kind)),
    model=texts,
    chat_id=texts,
    network=texts,
    service=st.none() | st.sampled_from([Scene(kind).record for kind in Kind]),
    service_block=st.none() | st.integers(0, 10**12),
    run=texts,
    task=texts,
    grant=st.dictionaries(texts, texts | st.integers(), max_size=2),
    usage=st.none() | st.builds(Usage, *[st.integers(0, 10**9)] * 4),
    fee=st.builds(
        Fee,
        st.integers(0, 10**70).map(neuron),
        exact=st.just(False),
        reason=texts,
        upper=st.none() | st.integers(0, 10**70),
    ),
    seconds=st.floats(0, 1e6),
    first_byte_seconds=st.none() | st.floats(0, 1e6),
    request_body=st.none() | st.binary(max_size=50),
    flags=st.lists(texts, max_size=3).map(tuple),
    attestation=st.none() | st.dictionaries(texts, texts | st.integers() | st.none(), max_size=3),
    complete=st.booleans(),
    replayed=st.booleans(),
)


@given(receipts)
def test_a_receipt_survives_the_round_trip(made: Receipt) -> None:
    plain = json.loads(json.dumps(made.to_dict()))
    assert Receipt.from_dict(plain).to_dict() == plain


@given(receipts, st.data())
def test_a_broken_receipt_is_refused_in_words(made: Receipt, data: st.DataObject) -> None:
    plain = made.to_dict()
    name = data.draw(st.sampled_from(sorted(plain)))
    plain[name] = data.draw(
        st.none() | st.integers() | st.floats() | texts | st.lists(texts, max_size=2) | st.booleans()
    )
    with suppress(ConfigError):  # and nothing else
        Receipt.from_dict(plain)


@given(st.lists(texts, min_size=1, max_size=5))
def test_no_cell_is_a_formula(cells: list[str]) -> None:
    for cell in cells:
        assert not str(escaping.csv(cell)).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_csv_of_nothing_is_nothing() -> None:
    assert to_csv([]) == ""


def test_html_is_escaped() -> None:
    made = receipt(model="<script>alert(1)</script>", chat_id='"><img>')
    assert "<script>" not in made._repr_html_()
    assert "<img>" not in made._repr_html_()
    made.settle(Verdict(Status.FAILED, signed_text="<b>"))
    assert "<b>" not in made.verdict._repr_html_()


def test_tables_for_pandas() -> None:
    pytest.importorskip("pandas")
    made = receipt()
    assert list(made.to_pandas()["id"]) == [made.id]
    assert list(made.verdict.to_pandas()["status"]) == ["not_checked"]


def test_without_pandas_a_table_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for thing in (receipt(), receipt().verdict, MemoryReceipts(), audit([], [])):
        with pytest.raises(ImportError, match=r"zerog-integrations\[notebooks\]"):
            thing.to_pandas()
