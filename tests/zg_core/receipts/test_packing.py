"""A receipt as a row is the same receipt, whatever it holds, in a third of the space."""

from __future__ import annotations

import copy
import json
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from tests.zg_core.receipts.test_checking import receipts, texts
from tests.zg_core.receipts.test_model import receipt
from tests.zg_core.receipts.test_vouching import CASES, honest
from zg_core.money import Fee, neuron
from zg_core.receipts import Receipt
from zg_core.receipts.documents import Documents
from zg_core.receipts.export import cells
from zg_core.receipts.packing import COLUMNS, Row, packed, unpacked
from zg_core.types import Kind
from zg_core.verify.schemes.evidence import Evidence
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

verdicts = st.builds(
    Verdict,
    st.sampled_from(list(Status)),
    st.sampled_from(list(Reason)),
    st.none() | st.sampled_from(list(Kind)),
    st.sampled_from(list(Binding)),
    *[texts] * 11,
    signed_model=texts,
    record_age=st.none() | st.integers(0, 10**6),
    sealed=st.booleans(),
)
evidences = st.builds(
    Evidence, texts, st.lists(texts, max_size=3).map(tuple), texts, texts, texts, st.none() | st.integers(0, 10**10),
    st.dictionaries(texts, texts | st.integers() | st.booleans(), max_size=3),
)  # fmt: skip


def as_row(made: Receipt) -> tuple[Row, str]:
    values, context = packed(made)
    return tuple(values[name] for name in COLUMNS), context.data


def back(made: Receipt) -> Receipt:
    return unpacked(*as_row(made))


@given(receipts, verdicts, evidences, st.booleans())
def test_every_receipt_comes_back(made: Receipt, verdict: Verdict, evidence: Evidence, of_it: bool) -> None:
    made.evidence = evidence
    made.signature_ids = evidence.ids
    if of_it:
        made.settle(verdict)
    else:
        made.verdict = replace(verdict, signed_model="", signed_adapter="")  # what settling puts into the model
    again = back(made)
    assert again.to_dict() == made.to_dict()
    assert again.verdict == made.verdict
    assert (again.signature_ids, again.chain_id, again.realm) == (made.signature_ids, made.chain_id, made.realm)
    assert json.loads(Documents().text(*as_row(made))) == made.to_dict()
    assert list(Documents().cells(*as_row(made))) == cells(made)


def test_honest_ones_come_back_and_are_small() -> None:
    for case in CASES.values():
        made = Receipt.from_dict(copy.deepcopy(case.document))
        assert back(made).to_dict() == case.document
        assert json.loads(Documents().text(*as_row(made))) == case.document
    made = honest(Kind.TEE_ML, kept=False)
    row, _ = as_row(made)
    assert sum(len(str(value)) for value in row) < 700 < len(json.dumps(made.to_dict())) / 4


def test_each_field_of_a_verdict_comes_back_alone() -> None:
    """Also one that is added later, which has no short name yet."""
    plain = Verdict(Status.PENDING)
    for each in fields(Verdict):
        value = {"status": Status.FAILED, "reason": Reason.REPLAYED, "kind": Kind.TEE_TLS, "binding": Binding.RENAMED}
        other = value.get(each.name, True if each.type == "bool" else 7 if "int" in str(each.type) else "x")
        made = receipt()
        made.verdict = replace(plain, **{each.name: other})
        assert back(made).verdict == made.verdict


def test_fees_of_every_form_come_back() -> None:
    for fee in (
        Fee(neuron(7), exact=True),
        Fee(neuron(7), exact=True, lower=7, upper=7),
        Fee(neuron(0), exact=False, reason="refused", upper=10**20),
        Fee(neuron(0), exact=False, reason="no_usage"),
        Fee(neuron(5), exact=False, reason="", lower=5, upper=5),
    ):
        made = receipt(fee=fee)
        assert back(made).to_dict() == made.to_dict()
        assert (back(made).fee.upper, back(made).fee.exact) == (fee.upper or (7 if fee.exact else None), fee.exact)


def test_a_reader_of_one_row_keeps_nothing_of_the_next() -> None:
    documents = Documents()
    made = [receipt(model=f"m{number}", run=f"r{number % 2}", network="n") for number in range(4)]
    assert [json.loads(documents.text(*as_row(each))) for each in made * 2] == [each.to_dict() for each in made * 2]


def test_a_context_follows_what_its_objects_hold_now() -> None:
    """Calls share them, so a context is made once; somebody may have changed them since."""
    one = receipt(policy={"mode": "require"}, attestation={"levels": ["hardware"]})
    first = packed(one)[1]
    assert packed(one)[1] is first
    one.policy["mode"] = "off"
    second = packed(one)[1]
    one.attestation["levels"].append("os")
    assert len({first.name, second.name, packed(one)[1].name}) == 3
    assert back(one).to_dict() == one.to_dict()
    other = replace(one, policy={"mode": "off", "more": True})
    assert back(other).to_dict() == other.to_dict()
