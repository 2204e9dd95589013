"""Receipts that were written by earlier packages: ``first_version.json`` holds documents that those have made."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.zg_core.receipts.test_vouching import CASES, at, changed, leaves, others
from zg_core.errors import ConfigError
from zg_core.receipts import Receipt, check
from zg_core.receipts.upgrade import upgraded

FIRST: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("first_version.json").read_text())
OLD, NEW = (json.loads(files("zg_core.receipts").joinpath(f"schema-v{n}.json").read_text()) for n in (1, 2))
EARLY = "of an early package"


@pytest.mark.parametrize("name", FIRST)
def test_a_receipt_of_the_first_version_is_read(name: str) -> None:
    before = copy.deepcopy(FIRST[name])
    if name != EARLY:
        jsonschema.validate(before, OLD)
    receipt = Receipt.from_dict(FIRST[name])
    assert FIRST[name] == before
    document = receipt.to_dict()
    jsonschema.validate(document, NEW)
    said = upgraded(before)
    said["verdict"].pop("explanation"), document["verdict"].pop("explanation")
    assert said["verdict"] == {key: document["verdict"][key] for key in said["verdict"]}
    assert {**said, "verdict": 0} == {**document, "verdict": 0}
    assert (receipt.id, receipt.backend, receipt.realm) == (before["receipt_id"], "direct", "eip155:31337")
    assert (receipt.chat_id, receipt.payer) == (before["chat_id"], before["payer"])
    assert str(receipt.fee.amount.units) == before["payment"]["fee"]


@pytest.mark.parametrize("name", [name for name in FIRST if name in CASES])
def test_it_passes_as_one_of_the_second_does(name: str) -> None:
    case = CASES[name]
    old, new = check(FIRST[name], case.anchor), check(case.document, case.anchor)
    assert (old.result, old.reason) == (new.result, new.reason)
    assert set(old.unvouched) == set(new.unvouched)


def test_one_of_an_early_package_passes() -> None:
    case = CASES["TeeML bytes chain"]
    assert check(FIRST[EARLY], case.anchor).result == "passed"
    for path in (("prompt_in_tee",), ("verdict", "prompt_in_tee")):
        with pytest.raises(ConfigError, match="does not follow"):
            check(changed(FIRST[EARLY], path, False), case.anchor)


def test_no_field_of_the_first_version_can_be_flipped_unnoticed() -> None:
    """The names are those of the second: where a field went is where it is on the list."""
    case = CASES["TeeML bytes chain"]
    document, tried, passed = FIRST["TeeML bytes chain"], 0, set()
    for path in leaves(document):
        for new in others(at(document, path)):
            forged = changed(document, path, new)
            found = case.checked(forged)
            tried += 1
            if found is not None and found.result == "passed" and upgraded(forged) != upgraded(document):
                flat_old, flat_new = (
                    {json.dumps(p): at(d, p) for p in leaves(d)} for d in map(upgraded, (document, forged))
                )
                moved = {p for p in {*flat_old, *flat_new} if flat_old.get(p) != flat_new.get(p)}
                names = {n for p in moved for n in (".".join(map(str, json.loads(p)[:2])), json.loads(p)[0])}
                passed |= {path} if not names & set(found.unvouched) else set()
    assert tried > 500
    # A signature in capitals, or with its last byte as 0 or 1, is the same one.
    assert {path for path in passed if path != ("verdict", "signature")} == set()


@pytest.mark.parametrize("junk", [None, 3, [], "x"])
@pytest.mark.parametrize("part", ["verdict", "payment", "service", "chain_id", "signature_ids", "request_body"])
def test_junk_in_its_parts_is_refused_in_words(part: str, junk: Any) -> None:
    if junk is None and part in ("service", "request_body"):
        junk = 7
    if (part, junk) in (("chain_id", 3), ("signature_ids", [])):
        junk = -1
    with pytest.raises(ConfigError) as caught:
        Receipt.from_dict({**FIRST["TeeML bytes chain"], part: junk})
    assert caught.value.code == "bad_receipt"


def test_what_it_does_not_know_is_not_lost() -> None:
    document = upgraded({**FIRST["pending"], "more": 1})
    assert document["more"] == 1
    assert upgraded([1]) == [1]
    assert upgraded({"schema": "zerog-receipt/3"}) == {"schema": "zerog-receipt/3"}
    with pytest.raises(ConfigError, match="zerog-receipt/3"):
        Receipt.from_dict({"schema": "zerog-receipt/3"})
