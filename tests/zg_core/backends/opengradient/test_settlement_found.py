"""What the chain says of a permit, read from logs, calldata and Permit2's bitmap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zg_core.backends.opengradient.settlement import Settlement, is_used, taken_by, used_call
from zg_core.money import Amount

VECTORS = json.loads(Path(__file__).with_name("x402.json").read_text(encoding="utf-8"))
CALL = bytes.fromhex(VECTORS["upto_settle_calldata"]["calldata"][2:])


def test_the_bit_of_a_permit_is_where_permit2_sets_it():
    vector = VECTORS["upto_permit2"]
    nonce = int(vector["payment_payload"]["payload"]["permit2Authorization"]["nonce"])
    word, bit = int(vector["nonce_bitmap"]["word"]), vector["nonce_bitmap"]["bit"]
    assert used_call(VECTORS["payer"], nonce)[-32:] == word.to_bytes(32)
    assert is_used((1 << bit).to_bytes(32), nonce)
    assert not is_used((~(1 << bit) & (2**256 - 1)).to_bytes(32), nonce)


def test_calldata_of_the_proxy_tells_permit_and_amount():
    taken = taken_by(CALL)
    assert taken is not None
    assert taken.amount == int(VECTORS["upto_settle_calldata"]["metered_amount"])
    assert taken.owner == VECTORS["payer"]
    assert taken.nonce == int("123456789abcdef0" * 4, 16) or taken.nonce > 0


@pytest.mark.parametrize("data", [b"", CALL[:4], CALL[:100], b"\x00" * 300, CALL[:4] + b"\xff" * 320])
def test_other_data_takes_nothing(data):
    assert taken_by(data) is None


def test_what_was_taken_beyond_the_claims_is_shown():
    found = Settlement("settled", "0x1", 1, Amount(30, "OPG"), 2, Amount(10, "OPG"))
    assert found.excess == Amount(20, "OPG")
    assert Settlement("settled", "0x1", 1, Amount(10, "OPG"), 2, Amount(10, "OPG")).excess is None
    assert found.to_dict()["excess"] == "20"
