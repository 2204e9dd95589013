"""Providers' services, stakes and the owner's acknowledgement (0g-contracts C5, B5, B6)."""

from __future__ import annotations

from typing import Any

import pytest

OG = 10**18
ZERO = "0x" + "00" * 20
SIGNER = "0x" + "11" * 20
OTHER = "0x" + "22" * 20
NOT_OWNER = ("Error", "Ownable: caller is not the owner")


@pytest.fixture
def params(helpers: Any) -> Any:
    return lambda **changes: helpers.service_params(SIGNER, **changes)


def test_the_first_time_needs_the_stake_before_a_short_text(stage: Any, params: Any) -> None:
    long = params(additionalInfo="x" * 4097)
    for value in (0, 100 * OG - 1):
        answer = stage.refused(stage.pat, "addOrUpdateService", long, value=value)
        assert answer == ("InsufficientStake", value, 100 * OG)
    assert stage.refused(stage.pat, "addOrUpdateService", long, value=100 * OG) == ("AdditionalInfoTooLong",)


def test_an_update_takes_no_coins_and_a_short_text(stage: Any, params: Any) -> None:
    stage.do(stage.pat, "addOrUpdateService", params(), value=100 * OG)
    long = params(additionalInfo="x" * 4097)
    assert stage.refused(stage.pat, "addOrUpdateService", long, value=1) == ("CannotAddStakeWhenUpdating",)
    assert stage.refused(stage.pat, "addOrUpdateService", long) == ("AdditionalInfoTooLong",)


def test_a_new_service_is_stored_and_reported(stage: Any, params: Any) -> None:
    record = params()
    events = stage.do(stage.pat, "addOrUpdateService", record, value=150 * OG)
    shown = ("serviceType", "url", "inputPrice", "outputPrice")
    updated = {"service": stage.pat.address} | {name: record[name] for name in shown}
    updated |= {"updatedAt": stage.now, "model": "demo", "verifiability": "TeeML"}
    assert events == [
        ("ProviderStaked", {"provider": stage.pat.address, "amount": 150 * OG}),
        ("ServiceUpdated", updated),
    ]
    assert stage.read("getService", stage.pat.address) == record | {
        "provider": stage.pat.address,
        "updatedAt": stage.now,
        "teeSignerAcknowledged": False,
    }
    assert stage.read("serviceExists", stage.pat.address) is True


def test_an_update_without_a_change_is_reported_too(stage: Any, params: Any) -> None:
    stage.do(stage.pat, "addOrUpdateService", params(), value=100 * OG)
    stage.later(60)
    events = stage.do(stage.pat, "addOrUpdateService", params())
    assert [name for name, _ in events] == ["ServiceUpdated"]
    assert stage.read("getService", stage.pat.address)["updatedAt"] == stage.now


@pytest.mark.parametrize("field", ["serviceType", "url", "model", "verifiability"])
def test_only_the_text_of_additional_info_is_limited(stage: Any, params: Any, field: str) -> None:
    stage.do(stage.pat, "addOrUpdateService", params(**{field: "x" * 5_000}), value=100 * OG)
    assert len(stage.read("getService", stage.pat.address)[field]) == 5_000


def test_additional_info_of_4096_bytes_is_accepted(stage: Any, params: Any) -> None:
    stage.do(stage.pat, "addOrUpdateService", params(additionalInfo="y" * 4096), value=100 * OG)
    assert len(stage.read("getService", stage.pat.address)["additionalInfo"]) == 4096


def test_every_text_and_the_signer_may_be_empty(stage: Any, params: Any) -> None:
    empty = dict.fromkeys(("serviceType", "url", "model", "verifiability", "additionalInfo"), "")
    stage.do(stage.pat, "addOrUpdateService", params(**empty, teeSignerAddress=ZERO), value=100 * OG)
    record = stage.read("getService", stage.pat.address)
    assert [record[field] for field in empty] == [""] * 5
    assert record["teeSignerAddress"] == ZERO


# ---- the owner's acknowledgement ----

CHANGES = [
    ({"url": "http://127.0.0.1:2"}, True),
    ({"inputPrice": 11}, True),
    ({"outputPrice": 31}, True),
    ({}, True),
    ({"serviceType": "image"}, False),
    ({"model": "other"}, False),
    ({"verifiability": "OpML"}, False),
    ({"additionalInfo": '{"a":1}'}, False),
    ({"teeSignerAddress": OTHER}, False),
]


@pytest.mark.parametrize(("change", "kept"), CHANGES, ids=[str(*change) or "nothing" for change, _ in CHANGES])
def test_a_change_of_what_was_reviewed_ends_the_acknowledgement(
    stage: Any, params: Any, change: dict[str, Any], kept: bool
) -> None:
    stage.do(stage.pat, "addOrUpdateService", params(), value=100 * OG)
    stage.do(stage.owner, "acknowledgeTEESignerByOwner", stage.pat.address)
    stage.do(stage.pat, "addOrUpdateService", params(**change))
    assert stage.read("getService", stage.pat.address)["teeSignerAcknowledged"] is kept
    stage.do(stage.pat, "addOrUpdateService", params())
    after = stage.read("getService", stage.pat.address)["teeSignerAcknowledged"]
    assert after is kept, "going back to the old value restores nothing"


def test_acknowledging_and_revoking_are_reported_every_time(stage: Any, params: Any) -> None:
    stage.do(stage.pat, "addOrUpdateService", params(), value=100 * OG)
    parties = {"provider": stage.pat.address, "teeSignerAddress": SIGNER}
    for function, acknowledged in (
        ("acknowledgeTEESignerByOwner", True),
        ("revokeTEESignerAcknowledgement", False),
    ):
        for _ in range(2):
            events = stage.do(stage.owner, function, stage.pat.address)
            assert events == [("ProviderTEESignerAcknowledged", parties | {"acknowledged": acknowledged})]
            assert stage.read("getService", stage.pat.address)["teeSignerAcknowledged"] is acknowledged


@pytest.mark.parametrize("function", ["acknowledgeTEESignerByOwner", "revokeTEESignerAcknowledgement"])
def test_acknowledging_asks_for_the_owner_first_and_then_for_the_service(stage: Any, function: str) -> None:
    assert stage.refused(stage.ann, function, stage.pat.address) == NOT_OWNER
    assert stage.refused(stage.owner, function, stage.pat.address) == ("ServiceNotExist", stage.pat.address)


def test_a_zero_signer_can_be_acknowledged(stage: Any, params: Any) -> None:
    stage.do(stage.pat, "addOrUpdateService", params(teeSignerAddress=ZERO), value=100 * OG)
    events = stage.do(stage.owner, "acknowledgeTEESignerByOwner", stage.pat.address)
    assert events[0][1]["teeSignerAddress"] == ZERO


# ---- removal ----


def test_removal_returns_the_whole_stake_and_reports_first(stage: Any, params: Any) -> None:
    stage.do(stage.pat, "addOrUpdateService", params(), value=150 * OG)
    before = stage.chain.balance(stage.pat.address)
    receipt = stage.chain.send(
        stage.pat.secret, to=stage.inference.address, data=stage.inference.encode("removeService")
    )
    gas = receipt.gas_used * receipt.effective_gas_price
    assert stage.events(receipt.logs) == [
        ("ProviderStakeReturned", {"provider": stage.pat.address, "amount": 150 * OG}),
        ("ServiceRemoved", {"service": stage.pat.address}),
    ]
    assert stage.chain.balance(stage.pat.address) == before + 150 * OG - gas
    assert stage.read("serviceExists", stage.pat.address) is False
    assert stage.unreadable("getService", stage.pat.address) == ("ServiceNotExist", stage.pat.address)
    assert stage.refused(stage.pat, "removeService") == ("ServiceNotExist", stage.pat.address)


def test_coming_back_needs_a_stake_and_a_new_acknowledgement(stage: Any, params: Any) -> None:
    stage.do(stage.pat, "addOrUpdateService", params(), value=100 * OG)
    stage.do(stage.owner, "acknowledgeTEESignerByOwner", stage.pat.address)
    stage.do(stage.pat, "removeService")
    assert stage.refused(stage.pat, "addOrUpdateService", params()) == ("InsufficientStake", 0, 100 * OG)
    events = stage.do(stage.pat, "addOrUpdateService", params(), value=100 * OG)
    assert [name for name, _ in events] == ["ProviderStaked", "ServiceUpdated"]
    assert stage.read("getService", stage.pat.address)["teeSignerAcknowledged"] is False


def test_sub_accounts_outlive_the_service_but_cannot_be_charged(stage: Any) -> None:
    stage.open_service(stage.pat)
    stage.open_account(stage.ann, stage.pat, 2 * OG)
    stage.do(stage.pat, "removeService")
    stage.transfer(stage.ann, stage.pat, OG)
    stage.retrieve(stage.ann, stage.pat)
    statuses, _ = stage.settle(stage.pat, stage.item(stage.ann, stage.pat, OG, 1))
    assert statuses == [2]
    assert stage.account(stage.ann, stage.pat)["balance"] == 3 * OG


def test_removal_moves_the_last_service_into_the_gap_and_a_return_goes_to_the_end(stage: Any, params: Any) -> None:
    def order() -> list[str]:
        services, total = stage.read("getAllServices", 0, 0)
        assert total == len(services)
        return [each["provider"] for each in services]

    a, b, c, d = stage.ann, stage.bob, stage.pat, stage.quinn
    for provider in (a, b, c, d):
        stage.do(provider, "addOrUpdateService", params(), value=100 * OG)
    stage.do(b, "removeService")
    assert order() == [a.address, d.address, c.address]
    stage.do(c, "removeService")
    assert order() == [a.address, d.address]
    stage.do(b, "addOrUpdateService", params(), value=100 * OG)
    assert order() == [a.address, d.address, b.address]
