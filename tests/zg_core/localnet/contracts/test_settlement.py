"""Settling signed fees (0g-contracts C6, A7, A8; 0g-direct 2.5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zg_core.localnet.base.keys import Key, keccak256
from zg_core.localnet.chain import abi

OG = 10**18
ZERO = "0x" + "00" * 20
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SUCCESS, PARTIAL, PROVIDER_MISMATCH, NO_TEE_SIGNER, INVALID_NONCE, INVALID_SIGNATURE = range(6)

# The known answer of the shared vectors, for where they are not beside the repository.
VECTOR = {
    "private_key": "0x" + "11" * 32,
    "chain_id": 16602,
    "contract": "0xa79F4c8311FF93C06b8CfB403690cc987c93F91E",
    "message": {
        "requestsHash": "0x" + "01" * 32,
        "nonce": 17672256000000000,
        "provider": "0xa48f01287233509FD694a22Bf840225062E67836",
        "user": "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A",
        "totalFee": 123456789,
    },
    "domain_separator": "0xda596bc261f3030c2a3b8586fd56a01aab43437237aab631ee66fafb3f1e31a9",
    "digest": "0x33ceee9efbee8a0e8615f234352d75a7f9ed062f50aa6c463da8e001b98f289a",
    "signature": "0x568a844110832d2ad1076acddd7a035ed8a874f97a17e05ad3f7fe36d153ceb264add55936138c34ca75ab150dd5acbc"
    "9b8d139c3863dff6f3bf9fa86f3d9ff41c",
}


@pytest.fixture
def opened(stage: Any) -> Any:
    """pat serves; ann has 5 0G with pat and 5 0G left."""
    stage.open_service(stage.pat)
    stage.open_account(stage.ann, stage.pat, 5 * OG, deposit=10 * OG)
    return stage


def result(user: Key, status: int, unsettled: int) -> tuple[str, dict[str, Any]]:
    return "TEESettlementResult", {"user": user.address, "status": status, "unsettledAmount": unsettled}


# ---- the whole call ----


def test_an_empty_batch_is_refused(opened: Any) -> None:
    assert opened.refused(opened.pat, "settleFeesWithTEE", []) == ("NoSettlementsProvided",)


def test_a_batch_of_51_is_refused_and_of_50_accepted(opened: Any) -> None:
    items = [opened.item(opened.ann, opened.pat, OG // 1000, nonce) for nonce in range(1, 52)]
    assert opened.refused(opened.pat, "settleFeesWithTEE", items) == ("TooManySettlements", 51, 50)
    before = opened.chain.balance(opened.pat.address)
    receipt = opened.chain.send(
        opened.pat.secret,
        to=opened.inference.address,
        data=opened.inference.encode("settleFeesWithTEE", items[:50]),
    )
    gas = receipt.gas_used * receipt.effective_gas_price
    assert opened.chain.balance(opened.pat.address) == before + OG // 20 - gas
    assert len(receipt.logs) == 150


# ---- statuses ----


def high_s(signature: bytes) -> bytes:
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "64 bytes": lambda signature: signature[:64],
    "66 bytes": lambda signature: signature + b"\x00",
    "v 0": lambda signature: signature[:64] + b"\x00",
    "v 1": lambda signature: signature[:64] + b"\x01",
    "v 29": lambda signature: signature[:64] + b"\x1d",
    "other v": lambda signature: signature[:64] + bytes([55 - signature[64]]),
    "high s": high_s,
    "all zero": lambda _: bytes(64) + b"\x1b",
    "r at the order": lambda signature: ORDER.to_bytes(32, "big") + signature[32:],
}


@pytest.mark.parametrize("change", SIGNATURES.values(), ids=list(SIGNATURES))
def test_a_malformed_signature_is_invalid(opened: Any, change: Callable[[bytes], bytes]) -> None:
    item = opened.item(opened.ann, opened.pat, OG, 1)
    broken = item | {"signature": change(item["signature"])}
    assert opened.settle(opened.pat, broken) == ([INVALID_SIGNATURE], [result(opened.ann, INVALID_SIGNATURE, OG)])
    assert opened.settle(opened.pat, item)[0] == [SUCCESS], "nothing was used up by the failure"


def test_another_signer_is_invalid(opened: Any) -> None:
    item = opened.item(opened.ann, opened.pat, OG, 1, signer=Key("22" * 32))
    assert opened.settle(opened.pat, item)[0] == [INVALID_SIGNATURE]


@pytest.mark.parametrize("field", ["totalFee", "requestsHash", "nonce"])
def test_every_field_is_signed(opened: Any, field: str) -> None:
    item = opened.item(opened.ann, opened.pat, OG, 1)
    other = {"totalFee": OG - 1, "requestsHash": b"\x08" * 32, "nonce": 2}[field]
    assert opened.settle(opened.pat, item | {field: other})[0] == [INVALID_SIGNATURE]


def test_the_parties_are_signed(opened: Any) -> None:
    opened.open_account(opened.bob, opened.pat, OG)
    opened.open_service(opened.quinn)
    opened.do(opened.bob, "transferFund", opened.quinn.address, "inference-v1.0", OG)
    item = opened.item(opened.ann, opened.pat, OG, 1)
    assert opened.settle(opened.pat, item | {"user": opened.bob.address})[0] == [INVALID_SIGNATURE]
    moved = item | {"user": opened.bob.address, "provider": opened.quinn.address}
    assert opened.settle(opened.quinn, moved)[0] == [INVALID_SIGNATURE]


def test_checks_come_in_their_order(stage: Any) -> None:
    """0g-contracts C6.2: one item wrong in everything, repaired step by step."""
    bad = stage.item(stage.ann, stage.quinn, OG, 0) | {"signature": b""}

    def status(item: dict[str, Any]) -> int:
        statuses, events = stage.settle(stage.pat, item)
        assert events == [result(stage.ann, statuses[0], OG)], "a refused item leaves one event"
        return statuses[0]

    assert status(bad) == PROVIDER_MISMATCH
    own = bad | {"provider": stage.pat.address}
    assert status(own) == INVALID_SIGNATURE, "no account"
    stage.open_account(stage.ann, stage.pat, OG)
    assert status(own) == PROVIDER_MISMATCH, "no service"
    stage.open_service(stage.pat, signer=ZERO)
    assert status(own) == NO_TEE_SIGNER, "signer zero, although acknowledged"
    stage.do(stage.pat, "addOrUpdateService", record_with(stage, stage.tee.address))
    assert status(own) == NO_TEE_SIGNER, "not acknowledged by the owner"
    stage.do(stage.owner, "acknowledgeTEESignerByOwner", stage.pat.address)
    assert status(own) == INVALID_NONCE, "nonce 0"
    assert status(own | {"nonce": 1}) == INVALID_SIGNATURE
    assert stage.settle(stage.pat, stage.item(stage.ann, stage.pat, OG, 1))[0] == [SUCCESS]


def record_with(stage: Any, signer: str) -> dict[str, Any]:
    record = stage.read("getService", stage.pat.address)
    wanted = ("serviceType", "url", "model", "verifiability", "inputPrice", "outputPrice", "additionalInfo")
    return {name: record[name] for name in wanted} | {"teeSignerAddress": signer}


def test_a_user_who_withdrew_consent_is_not_charged(stage: Any) -> None:
    stage.open_service(stage.pat)
    stage.open_account(stage.ann, stage.pat, OG)
    stage.settle(stage.pat, stage.item(stage.ann, stage.pat, OG, 1))
    stage.do(stage.ann, "acknowledgeTEESigner", stage.pat.address, False)
    assert stage.settle(stage.pat, stage.item(stage.ann, stage.pat, 0, 2))[0] == [NO_TEE_SIGNER]


def test_a_nonce_must_grow(opened: Any) -> None:
    item = opened.item(opened.ann, opened.pat, 1, 10)
    assert opened.settle(opened.pat, item)[0] == [SUCCESS]
    assert opened.settle(opened.pat, item)[0] == [INVALID_NONCE]
    assert opened.settle(opened.pat, opened.item(opened.ann, opened.pat, 1, 9))[0] == [INVALID_NONCE]
    assert opened.settle(opened.pat, opened.item(opened.ann, opened.pat, 1, 2**256 - 1))[0] == [SUCCESS]


# ---- paying ----


def test_a_paid_item_reports_ledger_account_and_result_in_that_order(opened: Any) -> None:
    statuses, events = opened.settle(opened.pat, opened.item(opened.ann, opened.pat, OG, 7))
    parties = {"user": opened.ann.address, "provider": opened.pat.address}
    assert statuses == [SUCCESS]
    assert events == [
        ("FundSpent", {"user": opened.ann.address, "service": opened.inference.address, "amount": OG}),
        ("BalanceUpdated", parties | {"amount": 4 * OG, "pendingRefund": 0}),
        result(opened.ann, SUCCESS, 0),
    ]
    assert opened.purse(opened.ann) == (5 * OG, 9 * OG)
    account = opened.account(opened.ann, opened.pat)
    assert (account["balance"], account["nonce"]) == (4 * OG, 7)


def test_a_fee_above_the_balance_is_paid_in_part_and_uses_the_nonce(opened: Any) -> None:
    statuses, events = opened.settle(opened.pat, opened.item(opened.ann, opened.pat, 8 * OG, 7))
    assert statuses == [PARTIAL]
    assert [name for name, _ in events] == ["FundSpent", "BalanceUpdated", "TEESettlementResult"]
    assert events[0][1]["amount"] == 5 * OG
    assert events[2] == result(opened.ann, PARTIAL, 3 * OG)
    account = opened.account(opened.ann, opened.pat)
    assert (account["balance"], account["nonce"]) == (0, 7)
    assert opened.purse(opened.ann) == (5 * OG, 5 * OG)


def test_an_empty_balance_pays_nothing_but_uses_the_nonce(opened: Any) -> None:
    opened.settle(opened.pat, opened.item(opened.ann, opened.pat, 5 * OG, 1))
    statuses, events = opened.settle(opened.pat, opened.item(opened.ann, opened.pat, OG, 2))
    assert (statuses, events) == ([PARTIAL], [result(opened.ann, PARTIAL, OG)])
    assert opened.account(opened.ann, opened.pat)["nonce"] == 2


def test_a_fee_of_zero_succeeds_silently_and_uses_the_nonce(opened: Any) -> None:
    statuses, events = opened.settle(opened.pat, opened.item(opened.ann, opened.pat, 0, 3))
    assert (statuses, events) == ([SUCCESS], [result(opened.ann, SUCCESS, 0)])
    assert opened.account(opened.ann, opened.pat)["nonce"] == 3


def test_later_items_see_what_earlier_ones_left(opened: Any) -> None:
    opened.open_account(opened.bob, opened.pat, OG)
    before = opened.chain.balance(opened.inference.address)
    statuses, events = opened.settle(
        opened.pat,
        opened.item(opened.ann, opened.pat, 4 * OG, 1),
        opened.item(opened.ann, opened.pat, 4 * OG, 1),
        opened.item(opened.bob, opened.pat, OG, 1),
        opened.item(opened.ann, opened.pat, 4 * OG, 2),
        opened.item(opened.eve, opened.pat, OG, 1),
    )
    assert statuses == [SUCCESS, INVALID_NONCE, SUCCESS, PARTIAL, INVALID_SIGNATURE]
    assert [arguments["unsettledAmount"] for name, arguments in events if name == "TEESettlementResult"] == [
        0, 4 * OG, 0, 3 * OG, OG
    ]  # fmt: skip
    assert opened.chain.balance(opened.inference.address) == before - 6 * OG


def test_the_provider_is_paid_what_was_taken(opened: Any) -> None:
    opened.open_account(opened.bob, opened.pat, OG)
    items = [opened.item(opened.ann, opened.pat, 2 * OG, 1), opened.item(opened.bob, opened.pat, 9 * OG, 1)]
    before = opened.chain.balance(opened.pat.address)
    receipt = opened.chain.send(
        opened.pat.secret,
        to=opened.inference.address,
        data=opened.inference.encode("settleFeesWithTEE", items),
    )
    gas = receipt.gas_used * receipt.effective_gas_price
    assert opened.chain.balance(opened.pat.address) == before + 3 * OG - gas


@pytest.mark.parametrize(
    ("fee", "refunds", "pending"),
    [(1, [4], 4), (2, [3], 3), (5, [0], 0)],
    ids=["free balance covers it", "part of a refund", "all of it"],
)
def test_a_fee_reaches_into_pending_refunds_only_as_far_as_needed(
    opened: Any, fee: int, refunds: list[int], pending: int
) -> None:
    opened.retrieve(opened.ann, opened.pat)
    opened.transfer(opened.ann, opened.pat, OG)
    opened.settle(opened.pat, opened.item(opened.ann, opened.pat, fee * OG, 1))
    account = opened.account(opened.ann, opened.pat)
    assert [refund["amount"] for refund in account["refunds"]] == [amount * OG for amount in refunds]
    assert account["pendingRefund"] == pending * OG
    assert account["balance"] == (5 - fee) * OG


def test_a_fee_takes_the_newest_refunds_first(opened: Any) -> None:
    opened.retrieve(opened.ann, opened.pat)
    opened.transfer(opened.ann, opened.pat, 2 * OG)
    opened.retrieve(opened.ann, opened.pat)
    assert opened.account(opened.ann, opened.pat)["pendingRefund"] == 5 * OG
    _, events = opened.settle(opened.pat, opened.item(opened.ann, opened.pat, 3 * OG, 1))
    account = opened.account(opened.ann, opened.pat)
    assert account["validRefundsLength"] == 1
    assert [refund["amount"] for refund in account["refunds"]] == [2 * OG, 0]
    assert events[1][1] | {} == {
        "user": opened.ann.address,
        "provider": opened.pat.address,
        "amount": 2 * OG,
        "pendingRefund": 2 * OG,
    }


# ---- preview ----


def preview(stage: Any, *items: dict[str, Any], sender: str | None = None) -> tuple[list[Any], ...]:
    answer = stage.read("previewSettlementResults", list(items), sender=sender or stage.pat.address)
    return tuple(list(part) for part in answer)


def test_a_preview_refuses_like_the_settlement(opened: Any) -> None:
    item = opened.item(opened.ann, opened.pat, 1, 1)
    assert opened.unreadable("previewSettlementResults", []) == ("NoSettlementsProvided",)
    assert opened.unreadable("previewSettlementResults", [item] * 51) == ("TooManySettlements", 51, 50)


def test_a_preview_lists_failures_and_partial_payments_in_item_order(opened: Any) -> None:
    opened.open_account(opened.bob, opened.pat, OG)
    answer = preview(
        opened,
        opened.item(opened.eve, opened.pat, 1, 1),
        opened.item(opened.bob, opened.pat, 3 * OG, 1),
        opened.item(opened.ann, opened.pat, OG, 1),
        opened.item(opened.ann, opened.pat, 6 * OG, 1),
        opened.item(opened.ann, opened.pat, OG, 0),
        opened.item(opened.ann, opened.quinn, OG, 1),
    )
    eve, bob, ann = opened.eve.address, opened.bob.address, opened.ann.address
    assert answer == (
        [eve, ann, ann],
        [INVALID_SIGNATURE, INVALID_NONCE, PROVIDER_MISMATCH],
        [bob, ann],
        [2 * OG, OG],
    )


def test_a_preview_judges_each_item_alone(opened: Any) -> None:
    item = opened.item(opened.ann, opened.pat, 4 * OG, 1)
    assert preview(opened, item, item) == ([], [], [], [])
    assert opened.settle(opened.pat, item, item)[0] == [SUCCESS, INVALID_NONCE]


def test_a_preview_needs_the_provider_as_sender(opened: Any) -> None:
    item = opened.item(opened.ann, opened.pat, OG, 1)
    failed, reasons, *_ = preview(opened, item, sender=ZERO)
    assert (failed, reasons) == ([opened.ann.address], [PROVIDER_MISMATCH])


def test_a_preview_changes_nothing(opened: Any) -> None:
    item = opened.item(opened.ann, opened.pat, 4 * OG, 1)
    opened.do(opened.pat, "previewSettlementResults", [item])
    assert opened.account(opened.ann, opened.pat)["balance"] == 5 * OG
    assert opened.settle(opened.pat, item)[0] == [SUCCESS]


# ---- what is signed ----


def test_the_type_hashes_are_those_of_the_notes(helpers: Any) -> None:
    domain = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    settlement = b"TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)"
    assert keccak256(domain).hex() == "8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f"
    assert keccak256(settlement).hex() == "6e525043a6c7323bdf60ce222f35127cdd9d8e867ec6350c83fcc254ed18b756"


def test_these_tests_sign_like_the_known_answer(helpers: Any) -> None:
    domain = helpers.domain_separator(VECTOR["chain_id"], VECTOR["contract"])
    assert "0x" + domain.hex() == VECTOR["domain_separator"]
    message: Any = VECTOR["message"]
    item = message | {"requestsHash": bytes.fromhex(message["requestsHash"][2:])}
    digest = helpers.settlement_digest(item, domain)
    assert "0x" + digest.hex() == VECTOR["digest"]
    assert "0x" + Key(str(VECTOR["private_key"])).sign_digest(digest).hex() == VECTOR["signature"]


def test_the_known_answer_is_the_shared_one(shared: Path) -> None:
    vector = json.loads((shared / "vectors" / "settlement.json").read_text(encoding="utf-8"))
    domain = vector["typed_data"]["domain"]
    assert vector["typed_data"]["message"] == VECTOR["message"]
    assert (domain["chainId"], domain["verifyingContract"]) == (VECTOR["chain_id"], VECTOR["contract"])
    same = ("private_key", "domain_separator", "digest", "signature")
    assert {name: vector[name] for name in same} == {name: VECTOR[name] for name in same}


def test_the_domain_is_this_chain_and_this_proxy(opened: Any, helpers: Any) -> None:
    item = opened.item(opened.ann, opened.pat, OG, 1)
    for chain_id, contract in (
        (16602, abi.INFERENCE_ADDRESS),
        (abi.CHAIN_ID, abi.LEDGER_ADDRESS),
        (abi.CHAIN_ID, VECTOR["contract"]),
    ):
        digest = helpers.settlement_digest(item, helpers.domain_separator(chain_id, contract))
        foreign = item | {"signature": opened.tee.sign_digest(digest)}
        assert opened.settle(opened.pat, foreign)[0] == [INVALID_SIGNATURE]
    assert opened.settle(opened.pat, item)[0] == [SUCCESS]
