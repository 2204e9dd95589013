"""Implementations, proxies, initialisation and ownership (0g-contracts A1, C1, B5; 0g-direct 2.1)."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.localnet.chain import abi
from zg_core.localnet.chain.chain import Reverted

OG = 10**18
ZERO = "0x" + "00" * 20
NAMES = ("LedgerManager", "InferenceServing")
NOT_OWNER = ("Error", "Ownable: caller is not the owner")


def deploy_proxy(stage: Any, name: str) -> Any:
    beacon = stage.deploy("UpgradeableBeacon", stage.deploy(name).address)
    return stage.deploy("BeaconProxy", beacon.address, b"", interface=name)


def arguments(stage: Any, name: str, lock_time: int = 86_400, owner: str | None = None) -> tuple[Any, ...]:
    whose = stage.ann.address if owner is None else owner
    return (whose,) if name == "LedgerManager" else (lock_time, stage.ledger.address, whose)


@pytest.mark.parametrize("name", NAMES)
def test_an_implementation_is_sealed_and_says_so(stage: Any, name: str) -> None:
    receipt = stage.chain.send(stage.ann.secret, to=None, data=abi.creation_code(name))
    contract = abi.Contract(name, receipt.contract_address)
    stage.others.append(contract)
    assert stage.events(receipt.logs) == [
        ("OwnershipTransferred", {"previousOwner": ZERO, "newOwner": stage.ann.address}),
        ("Initialized", {"version": 255}),
    ]
    assert stage.read("initialized", to=contract) is False
    assert stage.read("owner", to=contract) == stage.ann.address
    answer = stage.refused(stage.ann, "initialize", *arguments(stage, name), to=contract)
    assert answer == ("AlreadyInitialized",)


@pytest.mark.parametrize("name", NAMES)
def test_a_proxy_is_initialised_once_by_anybody(stage: Any, name: str) -> None:
    proxy = deploy_proxy(stage, name)
    assert stage.read("initialized", to=proxy) is False
    assert stage.read("owner", to=proxy) == ZERO
    events = stage.do(stage.eve, "initialize", *arguments(stage, name), to=proxy)
    expected: list[Any] = [("OwnershipTransferred", {"previousOwner": ZERO, "newOwner": stage.ann.address})]
    if name == "InferenceServing":
        values = {"owner": stage.ann.address, "lockTime": 86_400, "ledgerAddress": stage.ledger.address}
        expected.append(("ContractInitialized", values))
    expected.append(("Initialized", {"version": 1}))
    assert events == expected
    assert stage.read("initialized", to=proxy) is True
    assert stage.read("owner", to=proxy) == stage.ann.address
    again = arguments(stage, name, lock_time=0)
    assert stage.refused(stage.ann, "initialize", *again, to=proxy) == ("AlreadyInitialized",)


@pytest.mark.parametrize("lock_time", [0, 3_599, 604_801, 2**256 - 1])
def test_a_lock_time_out_of_range_is_refused(stage: Any, lock_time: int) -> None:
    error = ("LockTimeOutOfRange", lock_time, 3_600, 604_800)
    proxy = deploy_proxy(stage, "InferenceServing")
    args = arguments(stage, "InferenceServing", lock_time)
    assert stage.refused(stage.ann, "initialize", *args, to=proxy) == error
    assert stage.refused(stage.owner, "updateLockTime", lock_time) == error


@pytest.mark.parametrize("lock_time", [3_600, 604_800])
def test_the_bounds_of_the_lock_time_are_inclusive(stage: Any, lock_time: int) -> None:
    proxy = deploy_proxy(stage, "InferenceServing")
    stage.do(stage.ann, "initialize", *arguments(stage, "InferenceServing", lock_time), to=proxy)
    assert stage.read("lockTime", to=proxy) == lock_time


def test_a_changed_lock_time_is_reported_even_if_equal(stage: Any) -> None:
    for old, new in ((86_400, 3_600), (3_600, 3_600)):
        events = stage.do(stage.owner, "updateLockTime", new)
        assert events == [("LockTimeUpdated", {"oldLockTime": old, "newLockTime": new})]
    assert stage.refused(stage.ann, "updateLockTime", 0) == NOT_OWNER


def test_zero_ledger_and_zero_owner_are_accepted(stage: Any) -> None:
    ledger, serving = (deploy_proxy(stage, name) for name in NAMES)
    stage.do(stage.ann, "initialize", ZERO, to=ledger)
    stage.do(stage.ann, "initialize", 3_600, ZERO, ZERO, to=serving)
    assert stage.read("owner", to=ledger) == stage.read("owner", to=serving) == ZERO
    assert stage.read("ledgerAddress", to=serving) == ZERO


@pytest.mark.parametrize("name", NAMES)
def test_ownership_moves_and_ends(stage: Any, name: str) -> None:
    contract = stage.ledger if name == "LedgerManager" else stage.inference
    assert stage.refused(stage.ann, "transferOwnership", stage.ann.address, to=contract) == NOT_OWNER
    assert stage.refused(stage.ann, "renounceOwnership", to=contract) == NOT_OWNER
    answer = stage.refused(stage.owner, "transferOwnership", ZERO, to=contract)
    assert answer == ("Error", "Ownable: new owner is the zero address")
    events = stage.do(stage.owner, "transferOwnership", stage.ann.address, to=contract)
    assert events == [("OwnershipTransferred", {"previousOwner": stage.owner.address, "newOwner": stage.ann.address})]
    assert stage.refused(stage.owner, "renounceOwnership", to=contract) == NOT_OWNER
    events = stage.do(stage.ann, "renounceOwnership", to=contract)
    assert events == [("OwnershipTransferred", {"previousOwner": stage.ann.address, "newOwner": ZERO})]
    assert stage.read("owner", to=contract) == ZERO


@pytest.mark.parametrize("name", NAMES)
def test_the_genesis_contracts_belong_to_the_first_development_account(stage: Any, name: str) -> None:
    contract = stage.ledger if name == "LedgerManager" else stage.inference
    assert stage.read("owner", to=contract) == stage.owner.address
    assert stage.read("initialized", to=contract) is True


def test_interfaces(stage: Any) -> None:
    answers = {
        interface: stage.read("supportsInterface", bytes.fromhex(interface))
        for interface in ("160841b1", "01ffc9a7", "ffffffff", "00000000")
    }
    assert answers == {"160841b1": True, "01ffc9a7": True, "ffffffff": False, "00000000": False}


CONSTANTS = {
    "MAX_ADDITIONAL_INFO_LENGTH": 4096,
    "MAX_PROVIDERS_PER_BATCH": 20,
    "MAX_PROVIDERS_PER_USER_PER_SERVICE": 50,
    "MAX_SERVICES": 500,
    "MIN_ACCOUNT_BALANCE": 3 * OG,
    "MIN_TRANSFER_AMOUNT": OG,
    "MIN_LOCKTIME": 3_600,
    "MAX_LOCKTIME": 604_800,
    "MIN_PROVIDER_STAKE": 100 * OG,
    "lockTime": 86_400,
    "ledgerAddress": abi.LEDGER_ADDRESS,
}


@pytest.mark.parametrize(("function", "value"), CONSTANTS.items(), ids=list(CONSTANTS))
def test_constants(stage: Any, function: str, value: Any) -> None:
    assert stage.read(function) == value


# ---- beacon and proxy ----


def test_a_beacon_points_its_proxies_at_other_code(stage: Any) -> None:
    beacon = stage.deploy("UpgradeableBeacon", stage.deploy("LedgerManager").address)
    proxy = stage.deploy("BeaconProxy", beacon.address, b"", interface="LedgerManager")
    stage.do(stage.ann, "initialize", stage.ann.address, to=proxy)
    other = stage.deploy("InferenceServing").address
    assert stage.refused(stage.ann, "upgradeTo", other, to=beacon) == NOT_OWNER
    answer = stage.refused(stage.owner, "upgradeTo", stage.ann.address, to=beacon)
    assert answer == ("Error", "UpgradeableBeacon: implementation is not a contract")
    events = stage.do(stage.owner, "upgradeTo", other, to=beacon)
    assert events == [("Upgraded", {"implementation": other})]
    assert stage.read("implementation", to=beacon) == other
    serving = abi.Contract("InferenceServing", proxy.address)
    assert stage.read("MIN_LOCKTIME", to=serving) == 3_600
    assert stage.read("owner", to=serving) == stage.ann.address, "storage is the proxy's"


def test_a_proxy_can_be_initialised_while_it_is_deployed(stage: Any) -> None:
    beacon = stage.deploy("UpgradeableBeacon", stage.deploy("LedgerManager").address)
    call = stage.ledger.encode("initialize", stage.bob.address)
    proxy = stage.deploy("BeaconProxy", beacon.address, call, interface="LedgerManager")
    assert stage.read("owner", to=proxy) == stage.bob.address


def test_a_failing_initialisation_passes_its_reason_on(stage: Any) -> None:
    beacon = stage.deploy("UpgradeableBeacon", stage.deploy("InferenceServing").address)
    call = stage.inference.encode("initialize", 1, ZERO, ZERO)
    with pytest.raises(Reverted) as caught:
        stage.deploy("BeaconProxy", beacon.address, call)
    assert stage.inference.decode_error(caught.value.data)[0] == "LockTimeOutOfRange"


@pytest.mark.parametrize("name", ["UpgradeableBeacon", "BeaconProxy"])
def test_beacon_and_proxy_need_a_contract_behind_them(stage: Any, name: str) -> None:
    args = (stage.ann.address,) if name == "UpgradeableBeacon" else (stage.ann.address, b"")
    with pytest.raises(Reverted, match="is not a contract"):
        stage.deploy(name, *args)
