"""The ledger's registry of services, and what only a service may do (0g-contracts C7, A4, B4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zg_core.localnet.chain.chain import Reverted
from zg_core.localnet.chain.genesis import DESCRIPTION, REGISTERED_AT

OG = 10**18
ZERO = "0x" + "00" * 20
NOBODY = "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"
NOT_OWNER = ("Error", "Ownable: caller is not the owner")
TRUE, FALSE = (1).to_bytes(32, "big"), bytes(32)
ERC165, INVALID, SERVING = (bytes.fromhex(each) for each in ("01ffc9a7", "ffffffff", "160841b1"))

Answer = tuple[bool, bytes] | None
YES: Answer = (False, TRUE)
NO: Answer = (False, FALSE)


@pytest.fixture
def service(stage: Any) -> Callable[..., Any]:
    """Deploy a service that answers the ERC-165 questions as told: (reverts, data), or None for an empty revert."""

    def deploy(erc165: Answer = YES, invalid: Answer = NO, serving: Answer = YES) -> Any:
        made = stage.deploy("test/ScriptedService")
        for interface, answer in ((ERC165, erc165), (INVALID, invalid), (SERVING, serving)):
            if answer is not None:
                stage.do(stage.eve, "answerInterface", interface, *answer, to=made)
        return made

    return deploy


@pytest.fixture
def register(stage: Any) -> Callable[..., list[Any]]:
    def call(service_type: str, version: str, address: str, description: str = "") -> list[Any]:
        events: list[Any] = stage.do(stage.owner, "registerService", service_type, version, address, description)
        return events

    return call


def script(stage: Any, service: Any, function: str, data: bytes, *, reverts: bool = False) -> None:
    stage.do(stage.eve, "answer", stage.inference.selector(function), reverts, data, to=service)


# ---- registering ----


def test_registering_checks_in_order(stage: Any, service: Any, register: Any) -> None:
    """0g-contracts C7.1: everything wrong, repaired step by step."""

    def refused(*args: str, who: Any = stage.owner) -> tuple[Any, ...]:
        answer: tuple[Any, ...] = stage.refused(who, "registerService", *args, "")
        return answer

    known = stage.inference.address
    assert refused("", "", ZERO, who=stage.ann) == NOT_OWNER
    assert refused("", "", ZERO) == ("InvalidServiceAddress", ZERO)
    assert refused("", "", known) == ("ServiceTypeRequired",)
    assert refused("inference", "", known) == ("VersionRequired",)
    assert refused("inference", "v1.0", known) == ("ServiceAlreadyRegistered", known)
    assert refused("inference", "v1.0", NOBODY) == ("ServiceNameExists", "inference-v1.0")
    assert refused("inference", "v1.1", NOBODY) == ("ServiceMustImplementIServing", NOBODY)
    events = register("inference", "v1.1", service().address)
    assert [name for name, _ in events] == ["ServiceRegistered"]


ANSWERS = {
    "all as they should be": (YES, NO, YES, True),
    "any word but zero is yes": ((False, b"\xff" * 32), NO, (False, (2).to_bytes(32, "big")), True),
    "a longer answer": ((False, TRUE * 3), NO, (False, TRUE * 2), True),
    "a reverting no": (YES, None, YES, True),
    "a reverting yes to the invalid question": (YES, (True, TRUE), YES, True),
    "no interface at all": (NO, NO, YES, False),
    "yes to everything": (YES, YES, YES, False),
    "not a service": (YES, NO, NO, False),
    "a short answer": (YES, NO, (False, b"\x01"), False),
    "an empty answer": (YES, NO, (False, b""), False),
    "a reverting yes": (YES, NO, (True, TRUE), False),
    "reverts on every question": (None, None, None, False),
}


@pytest.mark.parametrize(("erc165", "invalid", "serving", "accepted"), ANSWERS.values(), ids=list(ANSWERS))
def test_the_interface_is_asked_for(
    stage: Any, service: Any, register: Any, erc165: Answer, invalid: Answer, serving: Answer, accepted: bool
) -> None:
    made = service(erc165, invalid, serving)
    if accepted:
        register("a", "b", made.address)
        assert stage.read("getServiceAddressByName", "a-b") == made.address
    else:
        answer = stage.refused(stage.owner, "registerService", "a", "b", made.address, "")
        assert answer == ("ServiceMustImplementIServing", made.address)


def test_the_ledger_itself_is_no_service(stage: Any) -> None:
    answer = stage.refused(stage.owner, "registerService", "a", "b", stage.ledger.address, "")
    assert answer == ("ServiceMustImplementIServing", stage.ledger.address)


def test_an_uninitialised_serving_proxy_is_a_service(stage: Any, register: Any) -> None:
    beacon = stage.deploy("UpgradeableBeacon", stage.deploy("InferenceServing").address)
    proxy = stage.deploy("BeaconProxy", beacon.address, b"", interface="InferenceServing")
    register("a", "b", proxy.address)
    assert stage.read("getServiceInfo", proxy.address)["fullName"] == "a-b"


def test_a_service_is_stored_and_not_recommended(stage: Any, service: Any, register: Any) -> None:
    made = service()
    stage.later(500)
    events = register("text", "v2", made.address, "long " * 40)
    assert events == [("ServiceRegistered", {"serviceAddress": made.address, "serviceName": "text-v2"})]
    assert stage.read("getServiceInfo", made.address) == {
        "serviceAddress": made.address,
        "serviceContract": made.address,
        "serviceType": "text",
        "version": "v2",
        "fullName": "text-v2",
        "description": "long " * 40,
        "isRecommended": False,
        "registeredAt": stage.now,
    }
    assert stage.unreadable("getRecommendedService", "text") == ("NoRecommendedService", "text")


def test_the_first_service_of_a_ledger_is_not_recommended_by_itself(stage: Any, service: Any) -> None:
    beacon = stage.deploy("UpgradeableBeacon", stage.deploy("LedgerManager").address)
    fresh = stage.deploy("BeaconProxy", beacon.address, b"", interface="LedgerManager")
    stage.do(stage.owner, "initialize", stage.owner.address, to=fresh)
    stage.do(stage.owner, "registerService", "inference", "v1.0", service().address, "", to=fresh)
    (info,) = stage.read("getAllActiveServices", to=fresh)
    assert info["isRecommended"] is False
    assert [list(part) for part in stage.read("getAllVersions", "inference", to=fresh)][2] == [False]


def test_the_same_full_name_from_other_parts_is_taken(stage: Any, service: Any, register: Any) -> None:
    register("a-b", "c", service().address)
    answer = stage.refused(stage.owner, "registerService", "a", "b-c", service().address, "")
    assert answer == ("ServiceNameExists", "a-b-c")


def test_type_and_version_are_free_text(stage: Any, service: Any, register: Any) -> None:
    made = service()
    register("t" * 300, "é v/1", made.address)
    assert stage.read("getServiceAddressByName", "t" * 300 + "-é v/1") == made.address


# ---- recommending ----


def test_recommending_asks_for_the_owner_and_then_for_the_service(stage: Any) -> None:
    assert stage.refused(stage.ann, "setRecommendedService", "inference", "v9") == NOT_OWNER
    answer = stage.refused(stage.owner, "setRecommendedService", "inference", "v9")
    assert answer == ("ServiceNotFound", ZERO)


def test_one_service_of_a_type_is_recommended(stage: Any, service: Any, register: Any) -> None:
    newer, other = service(), service()
    register("inference", "v2.0", newer.address)
    register("other", "v1", other.address)
    stage.do(stage.owner, "setRecommendedService", "other", "v1")
    event = {"serviceType": "inference", "version": "v2.0", "serviceAddress": newer.address}
    for _ in range(2):
        events = stage.do(stage.owner, "setRecommendedService", "inference", "v2.0")
        assert events == [("RecommendedServiceUpdated", event)], "also when nothing changes"
    assert stage.read("getRecommendedService", "inference") == ("v2.0", newer.address)
    assert stage.read("isRecommendedVersion", "inference", "v2.0") is True
    assert stage.read("isRecommendedVersion", "inference", "v1.0") is False
    assert stage.read("getRecommendedService", "other") == ("v1", other.address)
    flags = {each["fullName"]: each["isRecommended"] for each in stage.read("getAllActiveServices")}
    assert flags == {"inference-v1.0": False, "inference-v2.0": True, "other-v1": True}


# ---- reading ----


def test_versions_of_a_type_come_in_the_order_of_registration(stage: Any, service: Any, register: Any) -> None:
    newer, other, newest = service(), service(), service()
    register("inference", "v0.9", newer.address)
    register("other", "v1", other.address)
    register("inference", "v3", newest.address)
    versions, addresses, flags = stage.read("getAllVersions", "inference")
    assert list(versions) == ["v1.0", "v0.9", "v3"]
    assert addresses == [stage.inference.address, newer.address, newest.address]
    assert list(flags) == [True, False, False]
    assert [each["fullName"] for each in stage.read("getAllActiveServices")] == [
        "inference-v1.0", "inference-v0.9", "other-v1", "inference-v3"
    ]  # fmt: skip


def test_the_genesis_registers_and_recommends_the_inference_service(stage: Any) -> None:
    assert stage.read("getServiceInfo", stage.inference.address) == {
        "serviceAddress": stage.inference.address,
        "serviceContract": stage.inference.address,
        "serviceType": "inference",
        "version": "v1.0",
        "fullName": "inference-v1.0",
        "description": DESCRIPTION,
        "isRecommended": True,
        "registeredAt": REGISTERED_AT,
    }
    assert stage.read("getRecommendedService", "inference") == ("v1.0", stage.inference.address)


def test_what_is_not_there_reads_as_the_notes_say(stage: Any) -> None:
    empty = {"serviceAddress": ZERO, "serviceContract": ZERO, "isRecommended": False, "registeredAt": 0}
    empty |= dict.fromkeys(("serviceType", "version", "fullName", "description"), "")
    assert stage.read("getServiceInfo", NOBODY) == empty
    assert stage.read("getServiceAddressByName", "inference") == ZERO
    assert stage.unreadable("getRecommendedService", "nope") == ("NoRecommendedService", "nope")
    assert [list(part) for part in stage.read("getAllVersions", "nope")] == [[], [], []]
    assert stage.read("isRecommendedVersion", "inference", "nope") is False


# ---- what a service may do ----


@pytest.fixture
def spender(stage: Any, service: Any, register: Any) -> Any:
    """A registered service that can call the ledger; ann has 2 of 5 0G in a sub-account."""
    made = service()
    register("fake", "v1", made.address)
    stage.open_account(stage.ann, stage.pat, 2 * OG, deposit=5 * OG)
    return made


def spend(stage: Any, spender: Any, user: str, amount: int) -> list[Any]:
    data = stage.ledger.encode("spendFund", user, amount)
    events: list[Any] = stage.do(stage.eve, "execute", stage.ledger.address, 0, data, to=spender)
    return events


def spend_refused(stage: Any, spender: Any, user: str, amount: int) -> tuple[Any, ...]:
    data = stage.ledger.encode("spendFund", user, amount)
    answer: tuple[Any, ...] = stage.refused(stage.eve, "execute", stage.ledger.address, 0, data, to=spender)
    return answer


def test_spending_lowers_only_the_total(stage: Any, spender: Any) -> None:
    events = spend(stage, spender, stage.ann.address, OG)
    parties = {"user": stage.ann.address, "service": spender.address}
    assert events == [("FundSpent", parties | {"amount": OG})]
    assert stage.purse(stage.ann) == (3 * OG, 4 * OG)
    assert spend(stage, spender, stage.ann.address, 0) == [("FundSpent", parties | {"amount": 0})]


def test_spending_is_bounded_by_what_is_in_sub_accounts(stage: Any, spender: Any) -> None:
    answer = spend_refused(stage, spender, stage.ann.address, 2 * OG + 1)
    assert answer == ("InsufficientAvailableBalance", 2 * OG, 2 * OG + 1)


def test_spending_needs_a_ledger(stage: Any, spender: Any) -> None:
    assert spend_refused(stage, spender, NOBODY, 0) == ("LedgerNotExists", NOBODY)


def test_a_service_may_send_coins_which_credit_nobody(stage: Any, spender: Any) -> None:
    stage.do(stage.eve, "execute", stage.ledger.address, OG, b"", value=OG, to=spender)
    assert stage.purse(stage.ann) == (3 * OG, 5 * OG)
    assert stage.chain.balance(stage.ledger.address) == 4 * OG


def test_a_stranger_may_not_send_coins(stage: Any, service: Any) -> None:
    unregistered = service()
    answer = stage.refused(stage.eve, "execute", stage.ledger.address, OG, b"", value=OG, to=unregistered)
    assert answer == ("DirectDepositsDisabled",)


@pytest.mark.parametrize("contract", ["ledger", "inference"])
def test_empty_calldata_is_a_deposit_even_without_coins_and_unknown_selectors_revert_empty(
    stage: Any, contract: str
) -> None:
    target = getattr(stage, contract)
    for value in (0, 1):
        assert stage.refused_raw(stage.ann, target, b"", value=value) == ("DirectDepositsDisabled",)
    for data in (b"\x01", b"\xde\xad\xbe\xef", target.selector("owner")[:3]):
        assert stage.refused_raw(stage.ann, target, data) == ("",)


def test_deletion_passes_over_a_service_that_refuses(stage: Any, spender: Any) -> None:
    script(stage, spender, "accountExists", FALSE)
    script(stage, spender, "addAccount", b"")
    stage.do(stage.bob, "depositFund", value=3 * OG)
    stage.do(stage.bob, "transferFund", stage.pat.address, "fake-v1", 3 * OG)
    spend(stage, spender, stage.bob.address, 3 * OG)
    assert stage.do(stage.bob, "deleteLedger") == []
    assert stage.read("getLedgerProviders", stage.bob.address, "fake-v1") == []


def test_a_transfer_to_an_account_that_outlived_its_ledger_does_not_list_it_again(stage: Any, spender: Any) -> None:
    script(stage, spender, "accountExists", TRUE)
    script(stage, spender, "getPendingRefund", FALSE)
    script(stage, spender, "depositFund", b"")
    stage.do(stage.ann, "transferFund", stage.pat.address, "fake-v1", 1)
    assert stage.read("getLedgerProviders", stage.ann.address, "fake-v1") == []


def test_deletion_walks_services_in_order_of_registration(stage: Any, register: Any) -> None:
    beacon = stage.deploy("UpgradeableBeacon", stage.deploy("InferenceServing").address)
    second = stage.deploy("BeaconProxy", beacon.address, b"", interface="InferenceServing")
    stage.do(stage.owner, "initialize", 3_600, stage.ledger.address, stage.owner.address, to=second)
    register("inference", "v2.0", second.address)
    stage.do(stage.ann, "depositFund", value=4 * OG)
    for provider, name in (
        (stage.quinn, "inference-v2.0"),
        (stage.pat, "inference-v2.0"),
        (stage.eve, "inference-v1.0"),
        (stage.bob, "inference-v1.0"),
    ):
        stage.do(stage.ann, "transferFund", provider.address, name, OG)
    stage.do(stage.ann, "retrieveFund", [stage.eve.address, stage.bob.address], "inference-v1.0")
    stage.do(stage.ann, "retrieveFund", [stage.quinn.address, stage.pat.address], "inference-v2.0")
    stage.later(86_400)
    stage.do(stage.ann, "retrieveFund", [stage.eve.address, stage.bob.address], "inference-v1.0")
    stage.do(stage.ann, "retrieveFund", [stage.quinn.address, stage.pat.address], "inference-v2.0")
    events = stage.do(stage.ann, "refund", 4 * OG)
    order = [arguments["provider"] for _, arguments in events]
    assert order == [each.address for each in (stage.eve, stage.bob, stage.quinn, stage.pat)]


def test_a_failing_service_makes_the_transfer_a_failed_call(stage: Any, spender: Any) -> None:
    script(stage, spender, "accountExists", FALSE)
    script(stage, spender, "addAccount", b"reason", reverts=True)
    answer = stage.refused(stage.ann, "transferFund", stage.pat.address, "fake-v1", OG)
    assert answer == ("CallFailed",)


def test_a_failing_service_passes_its_reason_on_when_retrieving(stage: Any, spender: Any) -> None:
    script(stage, spender, "accountExists", TRUE)
    script(stage, spender, "processRefund", b"reason", reverts=True)
    with pytest.raises(Reverted) as caught:
        stage.do_raw(stage.ann, "retrieveFund", [stage.pat.address], "fake-v1")
    assert caught.value.data == b"reason"
