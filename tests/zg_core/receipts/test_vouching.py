"""Every field of a receipt, one after the other, made to say something else: the check fails, or names the field.

A receipt is flipped bit by bit and swapped field by field with another honest one, under every kind of anchor.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import EXHAUSTIVE
from tests.zg_core.receipts.test_model import receipt
from tests.zg_core.verify.scene import PROVIDER, SIGNING, Scene, sha
from zg_core.errors import ConfigError
from zg_core.money import Amount, Fee
from zg_core.pricing import fee_of
from zg_core.receipts import Anchor, Check, Receipt, check
from zg_core.receipts.bounds import bounded
from zg_core.receipts.contradictions import NESTED, flat
from zg_core.receipts.vouching import shortened
from zg_core.types import Kind, Usage
from zg_core.verify.schemes.gojson import marshal

SCHEMA = json.loads(files("zg_core.receipts").joinpath("schema-v2.json").read_text())
LEDGER, INFERENCE, PAYER = ("0x" + digit * 40 for digit in "567")
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}
ANSWER = json.dumps({"id": "chatcmpl-1", "choices": [{"message": {"content": "a"}}], "usage": USAGE}).encode()
FACTS = {"backend": "direct", "realm": "eip155:31337", "inference": INFERENCE, "ledger": LEDGER, "provider": PROVIDER}


def honest(
    kind: Kind, *, kept: bool = True, usage: bool = True, rewritten: bool = False, question: str = "q"
) -> Receipt:
    """A receipt as a client makes it, with every field filled."""
    sent = json.dumps({"model": "m", "messages": [{"role": "user", "content": question}], "max_tokens": 50}).encode()
    received = ANSWER if usage else b'{"choices":[]}'
    forwarded = marshal(json.loads(sent, parse_int=float)) if rewritten else sent  # as Go's broker marshals it anew
    scene = Scene(kind, sent=sent, received=received, signed_request=sha(forwarded), signed_answer=sha(received))
    exchange = scene.exchange()
    made = receipt(
        provider=PROVIDER,
        model="m",
        kind=kind,
        service=scene.record,
        service_block=7,
        input_price=scene.record.input_price,
        output_price=scene.record.output_price,
        usage=Usage(9, 4, 2) if usage else None,
        fee=Fee(Amount(0), exact=False, reason="outcome_unknown"),
        outcome="answered",
        complete=True,
        chat_id=exchange.chat_id,
        signature_ids=exchange.chat_ids,
        request_sha256=exchange.request_sha256,
        request_bytes=len(scene.sent),
        request_body=scene.sent,
        response_sha256=exchange.response_sha256,
        response_bytes=len(scene.received),
        response_body=scene.received,
        network="local",
        chain_id=31337,
        ledger=LEDGER,
        inference=INFERENCE,
        payer=PAYER,
        policy={"mode": "require", "stream": "after", "demand": {"at_least": "verified"}},
        attestation={"signer": scene.record.signer, "level": 2},
        certificate_sha256="cd" * 32,
        first_byte_seconds=0.25,
        seconds=0.5,
        started_at=datetime(2026, 3, 1, tzinfo=UTC),
    )
    made.fee = bounded(fee_of(scene.record, made.usage), made, scene.sent)
    made.settle(scene.verdict())
    if not kept:
        made.request_body = made.response_body = None
    return made


@dataclass(frozen=True)
class Case:
    """One honest receipt and somebody who vouches for its key."""

    name: str
    document: dict[str, Any]
    anchor: Anchor

    def checked(self, document: dict[str, Any]) -> Check | None:
        """What comes of it; None where it is refused as no receipt."""
        try:
            return check(document, self.anchor)
        except ConfigError as error:
            assert error.code == "bad_receipt"  # noqa: PT017 - anything else is a traceback
            return None


def cases() -> Iterator[Case]:
    for kind in SIGNING:
        for kept in (True, False):
            made = honest(kind, kept=kept)
            assert made.service is not None
            anchors = {
                "chain": Anchor("the chain", (made.service.signer,), (made.service,), facts=FACTS),
                "pins": Anchor("pins", (made.service.signer,), facts={"provider": PROVIDER, "realm": "eip155:31337"}),
                "signer": Anchor("--signer", (made.service.signer,)),
            }
            for name, anchor in anchors.items():
                yield Case(f"{kind} {'bytes' if kept else 'hashes'} {name}", made.to_dict(), anchor)
    without = honest(Kind.TEE_ML, usage=False)
    assert without.service is not None
    chain = Anchor("the chain", (without.service.signer,), (without.service,), facts=FACTS)
    yield Case("no usage", without.to_dict(), chain)
    yield Case("rewritten", honest(Kind.TEE_ML, rewritten=True).to_dict(), chain)


CASES = {case.name: case for case in cases()}


@pytest.mark.parametrize("name", CASES)
def test_an_honest_receipt_passes(name: str) -> None:
    case = CASES[name]
    found = case.checked(case.document)
    assert found is not None
    assert found.result == "passed", found.reason
    nobodys = {"receipt_id", "run", "payment.payer", "started_at", "attestation", "response.certificate_sha256"}
    assert nobodys <= set(found.unvouched)
    assert not {"response.sha256", "evidence.signature", "evidence.signer", "status"} & set(found.unvouched)
    if "chain" in name:
        vouched = {"backend", "provider", "kind", "prompt", "task", "service.url", "service.record", "payment.prices"}
        assert not vouched & set(found.unvouched)
    if "bytes chain" in name:
        assert not {"payment.fee", "usage", "model", "outcome"} & set(found.unvouched)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    else:
        yield path


def at(document: dict[str, Any], path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    copied = copy.deepcopy(document)
    at(copied, path[:-1])[path[-1]] = value
    return copied


def field_of(path: tuple[Any, ...]) -> set[str]:
    """The names under which a field may stand on the list."""
    return {".".join(str(step) for step in path[:depth]) for depth in (1, 2, 3)}


def others(value: Any) -> Iterator[Any]:
    """What else may stand in place of a value, of the same kind; every bit of a short text."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value * 2 + 3, 0)
        yield from (value ^ (1 << bit) for bit in range(0, 8, 3) if isinstance(value, int))
    elif isinstance(value, str):
        step = 1 if EXHAUSTIVE else max(1, len(value) // 6)
        for place in range(0, len(value), step):
            for bit in range(7) if EXHAUSTIVE else (0, 5):
                flipped = chr(ord(value[place]) ^ (1 << bit))
                yield value[:place] + flipped + value[place + 1 :]
        yield from ("", value + "0", value[:-1], "1" + value)
    elif value is None:
        yield from (0, 1, "x", {"level": 4}, [])
    elif value == []:
        yield ["not_stored"]


def alike(path: tuple[Any, ...], old: Any, new: Any) -> bool:
    """Whether two spellings mean the same."""
    if old == new:
        return True
    if path == ("evidence", "signature") and isinstance(new, str | None):  # capitals; 27 as 0, 28 as 1
        old, new = ((text or "").lower() for text in (old, new))
        return old == new or {old[-2:], new[-2:]} in ({"1b", "00"}, {"1c", "01"})
    if path[0] in ("request", "response") and path[-1] == "body" and isinstance(new, str) and isinstance(old, str):
        try:
            return base64.b64decode(new, validate=True) == base64.b64decode(old)
        except ValueError:
            return False
    return False


def slipped_through(case: Case, path: tuple[Any, ...], value: Any) -> bool:
    """Whether a changed field passes without being named."""
    document = changed(case.document, path, value)
    found = case.checked(document)
    if found is None or found.result == "failed":
        return False
    if not isinstance(value, dict):
        return not field_of(path) & set(found.unvouched)
    before, after = flat(case.document), flat(document)
    moved = {name for name in after if not alike(tuple(name.split(".")), before.get(name), after[name])}
    return not moved <= set(found.unvouched)


@pytest.mark.parametrize("name", CASES)
def test_no_field_can_be_flipped_unnoticed(name: str, tally: Any) -> None:
    case = CASES[name]
    tried, wrong = 0, []
    for path in leaves(case.document):
        old = at(case.document, path)
        for new in others(old):
            if not alike(path, old, new):
                tried += 1
                wrong += [(path, new)] if slipped_through(case, path, new) else []
    assert not wrong, wrong[:10]
    assert tried > 500
    tally("receipt with a flipped field", tried=tried, caught=tried)


@pytest.mark.parametrize("name", CASES)
def test_no_field_can_be_swapped_with_another_receipt_s(name: str, tally: Any) -> None:
    case, tried, wrong = CASES[name], 0, []
    strangers = [other.document for other in CASES.values()]
    strangers += [honest(kind, question="another").to_dict() for kind in SIGNING]
    for stranger in strangers:
        for path in [*((field,) for field in case.document), *leaves(case.document)]:
            try:
                new = at(stranger, path)
            except (KeyError, IndexError, TypeError):
                continue
            if not alike(path, at(case.document, path), new) and not true(case.document, path, new):
                tried += 1
                wrong += [(path, new)] if slipped_through(case, path, new) else []
    assert not wrong, wrong[:10]
    tally("receipt with a swapped field", tried=tried, caught=tried)


def are_bytes_of(said: dict[str, Any], body: Any) -> bool:
    """Whether `body` is what has the hash that is named, or left out."""
    try:
        return body is None or (isinstance(body, str) and sha(base64.b64decode(body, validate=True)) == said["sha256"])
    except ValueError:
        return False


def true(document: dict[str, Any], path: tuple[Any, ...], new: Any) -> bool:
    """Whether what stands there now is no lie: bytes left out, or the right ones; another verdict on the same bytes."""
    if path in (("request",), ("response",)) and isinstance(new, dict):
        old = document[path[0]]
        return {**new, "body": old["body"]} == old and are_bytes_of(old, new.get("body"))
    if path[0] in ("request", "response") and path[-1] == "body":
        return are_bytes_of(document[path[0]], new)
    if path != ("verdict",) or not isinstance(new, dict):
        return False
    return all(new.get(name) == document["verdict"][name] for name in ("request_sha256", "response_sha256", "kind"))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30)
ANYTHING = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2)
)


@settings(max_examples=2000 if EXHAUSTIVE else 150)
@given(st.data())
def test_no_field_can_be_anything_else_unnoticed(data: st.DataObject) -> None:
    case = CASES[data.draw(st.sampled_from(sorted(CASES)))]
    path = data.draw(st.sampled_from([*((field,) for field in case.document), *leaves(case.document)]))
    new = data.draw(ANYTHING)
    if not alike(path, at(case.document, path), new) and not true(case.document, path, new):
        assert not slipped_through(case, path, new)


@pytest.mark.parametrize("name", CASES)
def test_a_field_that_nobody_knows_is_named(name: str) -> None:
    case = CASES[name]
    for path in (("more",), *((name, "more") for name in NESTED)):
        found = case.checked(changed(case.document, path, "x"))
        assert found is not None
        assert found.result == "failed" or ".".join(path) in found.unvouched


def test_every_field_of_the_schema_is_one_that_is_flipped() -> None:
    flipped = {name for case in CASES.values() for name in flat(case.document)}
    schema = {
        f"{name}.{inner}" if inner else name
        for name, said in SCHEMA["properties"].items()
        for inner in (SCHEMA["$defs"].get(name, said)["properties"] if name in NESTED else [""])
    }
    assert flipped == schema


def test_of_an_unproven_one_everything_is_named() -> None:
    document = CASES["TeeML bytes chain"].document
    found = check(document)
    assert found.result == "unproven"
    assert set(found.unvouched) == set(flat(document))


def test_a_name_for_people_is_short() -> None:
    document = CASES["TeeML bytes signer"].document
    names = check(document, CASES["TeeML bytes signer"].anchor).unvouched
    assert "service" in shortened(names, document)
    assert not any(name.startswith("service.") for name in shortened(names, document))
