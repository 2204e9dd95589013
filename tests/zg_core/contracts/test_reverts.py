"""Custom errors and events: the tables are complete and right, and each error says what to do."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest
from eth_abi import encode

from zg_core import Broker, TransactionReverted
from zg_core.contracts.abi import Call, decode_error
from zg_core.contracts.events import EVENTS, decode_logs
from zg_core.contracts.reverts import ERRORS, decode_revert, reverted
from zg_core.crypto import checksum_address, keccak256
from zg_core.localnet.chain import abi

USER, PROVIDER = checksum_address("0x" + "1a" * 20), checksum_address("0x" + "2b" * 20)
SAMPLES = {"address": USER, "uint256": 3 * 10**18, "string": "words", "uint8": 7, "bool": True}


def declared(shared: Path, section: str) -> dict[str, str]:
    """Selector or topic to arguments, of both contracts, as the reference has them."""
    text = (shared / "spec" / "0g-abi.md").read_text()
    found = {}
    for contract in ("LedgerManager", "InferenceServing"):
        part = text.split(f"## {contract}\n")[1].split("\n## ")[0].split(f"### {section}\n")[1].split("\n### ")[0]
        found |= {m[1]: f"{m[2]}|{m[3]}" for m in re.finditer(r"\| `(0x\w+)` \| `(\w+)\([^`]*` \| (.*?) \|", part)}
    return found


def test_every_error_of_both_contracts_is_known(shared: Path) -> None:
    wanted = declared(shared, "errors")
    assert len(wanted) == 45
    known = {
        selector: f"{error.name}|{', '.join(f'{n}:{t}' for n, t in error.arguments) or '-'}"
        for selector, error in ERRORS.items()
        if error.name not in ("Error", "Panic")
    }
    assert known == wanted


def test_every_event_of_both_contracts_is_known(shared: Path) -> None:
    wanted = {topic: line.replace("indexed ", "*") for topic, line in declared(shared, "events").items()}
    assert {topic: f"{name}|{arguments.replace(',', ', ')}" for topic, (name, arguments) in EVENTS.items()} == wanted


@pytest.mark.parametrize(("selector", "error"), ERRORS.items(), ids=[error.name for error in ERRORS.values()])
def test_an_error_is_decoded_with_meaning_and_hint(selector: str, error) -> None:
    assert "0x" + keccak256(error.signature.encode())[:4].hex() == selector
    values = [SAMPLES[kind] for _, kind in error.arguments]
    revert = decode_revert(selector + encode([kind for _, kind in error.arguments], values).hex())
    assert revert.name == error.name
    assert revert.arguments == dict(zip([name for name, _ in error.arguments], values, strict=True))
    assert revert.hint
    for text, template in ((revert.meaning, error.meaning), (revert.hint, error.hint)):
        assert "{" not in text
        fields = {field for _, field, _, _ in Formatter().parse(template) if field}
        assert fields <= {name for name, _ in error.arguments}
    assert decode_error(selector + encode([k for _, k in error.arguments], values).hex()) == (error.name, tuple(values))


def test_amounts_are_shown_in_0g() -> None:
    data = "0x54443ec4" + encode(["uint256", "uint256"], [5 * 10**17, 3 * 10**18]).hex()
    error = reverted(data, "depositFund")
    assert isinstance(error, TransactionReverted)
    assert "0.5 0G is below the contract's minimum of 3 0G (MinimumDepositRequired)" in str(error)
    assert error.arguments == {"provided": 5 * 10**17, "required": 3 * 10**18}
    assert (error.code, error.details["data"]) == ("reverted", data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "without a reason"),
        ("0x", "without a reason"),
        ("0xdeadbeef", "unknown data 0xdeadbeef"),
        ("0x54443ec4aabb", "MinimumDepositRequired"),
        ("0x54443ec4zz", "MinimumDepositRequired"),
    ],
)
def test_data_that_does_not_decode_is_told_as_such(data: str, said: str) -> None:
    error = reverted(data, "depositFund")
    assert said in str(error)
    assert error.arguments == {}


def test_an_address_in_the_data_is_not_taken_for_an_error() -> None:
    # Only the first four bytes count, never some blob inside.
    assert decode_revert("0x" + "00" * 12 + "7d2d536b" + "00" * 28).name == ""


def test_a_revert_of_the_real_contract_reads_the_same(net) -> None:
    with Broker.read_only(
        network="local", rpc_url=net.rpc_url, ledger=net.ledger, inference=net.inference, environ={}
    ) as broker:
        call = Call.of(net.ledger, "getLedger(address)", [USER])
        from zg_core.http.transport import run

        (answer,) = run(broker.core.chain.rpc.batch([("eth_call", [{"to": call.to, "data": call.data}, "latest"])]))
    assert decode_revert(answer.data).meaning == f"{USER} has no ledger"


def test_events_are_decoded_with_indexed_arguments() -> None:
    topic = next(topic for topic, (name, _) in EVENTS.items() if name == "RefundRequested")
    log = {
        "address": abi.INFERENCE_ADDRESS.lower(),
        "topics": [
            topic,
            *["0x" + encode(["address"], [each]).hex() for each in (USER, PROVIDER)],
            "0x" + "00" * 31 + "03",
        ],
        "data": "0x" + encode(["uint256"], [1_700_000_000]).hex(),
    }
    (event,) = decode_logs(
        [log, {"address": USER, "topics": ["0x" + "77" * 32], "data": "0x"}, {"address": USER, "topics": []}]
    )
    assert (event.name, event.contract) == ("RefundRequested", abi.INFERENCE_ADDRESS)
    assert event.arguments == {"user": USER, "provider": PROVIDER, "index": 3, "timestamp": 1_700_000_000}


def test_a_log_that_lies_about_its_event_is_refused() -> None:
    topic = next(topic for topic, (name, _) in EVENTS.items() if name == "FundSpent")
    with pytest.raises(ValueError, match="no FundSpent"):
        decode_logs([{"address": USER, "topics": [topic], "data": "0x"}])
