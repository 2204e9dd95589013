"""Encoding and decoding for the serving contracts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from zg_core.localnet.chain import abi

ALICE = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
PAT = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def address_word(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])


SERVICE = {
    "serviceType": "chatbot",
    "url": "http://127.0.0.1:1",
    "model": "demo",
    "verifiability": "TeeML",
    "inputPrice": 1,
    "outputPrice": 2,
    "additionalInfo": "{}",
    "teeSignerAddress": PAT,
}


# ---- call data ----


def test_call_data_is_selector_and_words() -> None:
    expected = bytes.fromhex("278ecde1") + word(5)
    assert abi.ledger().encode("refund", 5) == expected
    assert abi.ledger().encode("deleteLedger") == bytes.fromhex("410b3815")


def test_a_struct_is_given_by_name_or_in_order() -> None:
    by_name = abi.inference().encode("addOrUpdateService", SERVICE)
    shuffled = dict(sorted(SERVICE.items(), reverse=True))
    assert by_name == abi.inference().encode("addOrUpdateService", shuffled)
    assert by_name == abi.inference().encode("addOrUpdateService", tuple(SERVICE.values()))
    name, arguments = abi.inference().decode_input(by_name)
    assert (name, arguments) == ("addOrUpdateService", {"params": SERVICE})


def test_a_list_of_structs_comes_back_as_it_was_given() -> None:
    item = {
        "user": ALICE,
        "provider": PAT,
        "totalFee": 3,
        "requestsHash": b"\x01" * 32,
        "nonce": 4,
        "signature": b"\x02" * 65,
    }
    data = abi.inference().encode("settleFeesWithTEE", [item, item])
    assert abi.inference().decode_input(data) == ("settleFeesWithTEE", {"settlements": [item, item]})


def test_addresses_may_have_any_letter_case() -> None:
    expected = abi.ledger().encode("getLedger", ALICE)
    assert abi.ledger().encode("getLedger", ALICE.lower()) == expected


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("refund", ()),
        ("refund", (1, 2)),
        ("refund", (-1,)),
        ("refund", (2**256,)),
        ("refund", ("5",)),
        ("getLedger", ("0x1234",)),
        ("retrieveFund", ([ALICE, "x"], "inference-v1.0")),
        ("noSuchFunction", ()),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_functions_name(function: str, args: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=function):
        abi.ledger().encode(function, *args)


@pytest.mark.parametrize("change", [{"model": None}, {"surplus": 1}], ids=["missing field", "unknown field"])
def test_a_struct_with_other_fields_is_refused(change: dict[str, Any]) -> None:
    broken = {name: value for name, value in (SERVICE | change).items() if value is not None}
    with pytest.raises(ValueError, match="needs the fields"):
        abi.inference().encode("addOrUpdateService", broken)


def test_foreign_call_data_is_refused() -> None:
    with pytest.raises(ValueError, match="no function with selector 0xdeadbeef"):
        abi.ledger().decode_input(b"\xde\xad\xbe\xef")


# ---- results ----


def test_one_result_is_the_value_several_are_a_tuple_none_is_none() -> None:
    assert abi.ledger().decode("MAX_SERVICES", word(500)) == 500
    assert abi.inference().decode("processRefund", word(1) + word(2) + word(3)) == (1, 2, 3)
    assert abi.ledger().decode("refund", b"") is None


def test_addresses_come_back_with_checksum() -> None:
    assert abi.ledger().decode("owner", address_word(ALICE)) == ALICE


def test_structs_come_back_by_field_name() -> None:
    body = address_word(ALICE) + word(1) + word(2) + word(128) + word(2) + b"hi".ljust(32, b"\0")
    expected = {"user": ALICE, "availableBalance": 1, "totalBalance": 2, "additionalInfo": "hi"}
    assert abi.ledger().decode("getLedger", word(32) + body) == expected


def test_nested_lists_of_structs_come_back_by_field_name() -> None:
    refund = word(7) + word(8) + word(9) + word(0)
    account = [address_word(ALICE), address_word(PAT), *map(word, (1, 2, 3))]
    account += [word(11 * 32), word(11 * 32 + 32 + 128), word(1), word(1), word(5), word(6)]
    tail = word(1) + refund + word(0)
    decoded = abi.inference().decode("getAccount", word(32) + b"".join(account) + tail)
    assert decoded == {
        "user": ALICE,
        "provider": PAT,
        "nonce": 1,
        "balance": 2,
        "pendingRefund": 3,
        "refunds": [{"index": 7, "amount": 8, "createdAt": 9, "processed": False}],
        "additionalInfo": "",
        "acknowledged": True,
        "validRefundsLength": 1,
        "generation": 5,
        "revokedBitmap": 6,
    }


def test_a_truncated_result_is_refused_with_the_functions_name() -> None:
    with pytest.raises(ValueError, match="MAX_SERVICES"):
        abi.ledger().decode("MAX_SERVICES", b"\x00" * 31)


# ---- refusals ----

REFUSALS = [
    (b"", ("", {})),
    (bytes.fromhex("3204506f"), ("CallFailed", {})),
    (bytes.fromhex("54443ec4") + word(1) + word(2), ("MinimumDepositRequired", {"provided": 1, "required": 2})),
    (bytes.fromhex("69e0a42c") + word(3) + word(4), ("AdditionalInfoTooLong", {"length": 3, "max": 4})),
    (bytes.fromhex("ef54fd9d"), ("AdditionalInfoTooLong", {})),
    (
        bytes.fromhex("9edd285f") + address_word(ALICE) + address_word(PAT),
        ("TooManyRefunds", {"user": ALICE, "provider": PAT}),
    ),
    (
        bytes.fromhex("08c379a0") + word(32) + word(4) + b"text".ljust(32, b"\0"),
        ("Error", {"message": "text"}),
    ),
    (bytes.fromhex("4e487b71") + word(0x11), ("Panic", {"code": 0x11})),
    (b"\xde\xad\xbe\xef\x01", ("unknown", {"data": b"\xde\xad\xbe\xef\x01"})),
    (b"\x01", ("unknown", {"data": b"\x01"})),
]


@pytest.mark.parametrize("contract", ["ledger", "inference"])
@pytest.mark.parametrize(("data", "expected"), REFUSALS, ids=[f"{name or 'empty'}" for _, (name, _) in REFUSALS])
def test_a_refusal_is_named_by_either_contract(contract: str, data: bytes, expected: tuple[str, Any]) -> None:
    assert getattr(abi, contract)().decode_error(data) == expected


# ---- events ----


def test_an_event_is_named_with_its_arguments_in_order() -> None:
    contract = abi.inference()
    topics = [contract.topic("RefundRequested"), address_word(ALICE), address_word(PAT), word(4)]
    found = contract.decode_log(abi.INFERENCE_ADDRESS.lower(), topics, word(99))
    assert found == ("RefundRequested", {"user": ALICE, "provider": PAT, "index": 4, "timestamp": 99})
    assert found is not None
    assert list(found[1]) == ["user", "provider", "index", "timestamp"]


def test_other_contracts_and_unknown_events_are_none() -> None:
    contract = abi.inference()
    topics = [contract.topic("ServiceRemoved"), address_word(ALICE)]
    assert contract.decode_log(abi.LEDGER_ADDRESS, topics, b"") is None
    assert contract.decode_log(abi.INFERENCE_ADDRESS, [word(1)], b"") is None
    assert contract.decode_log(abi.INFERENCE_ADDRESS, [], b"") is None


def test_an_unknown_event_has_no_topic() -> None:
    with pytest.raises(ValueError, match="no event 'Nope'"):
        abi.ledger().topic("Nope")


# ---- artifacts ----


def test_creation_code_is_the_code_and_its_arguments() -> None:
    code = bytes.fromhex(abi.artifact("UpgradeableBeacon")["bytecode"][2:])
    assert abi.creation_code("UpgradeableBeacon", ALICE) == code + address_word(ALICE)
    assert abi.creation_code("LedgerManager") == bytes.fromhex(abi.artifact("LedgerManager")["bytecode"][2:])


def test_an_unknown_artifact_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        abi.artifact("Nope")


def test_a_contract_shows_where_it_is() -> None:
    assert repr(abi.ledger()) == f"Contract('LedgerManager', '{abi.LEDGER_ADDRESS}')"


def test_importing_loads_no_codec_and_no_chain() -> None:
    program = (
        "import sys, zg_core.localnet.chain.abi\n"
        "print(sorted({'eth_abi', 'eth', 'web3', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
