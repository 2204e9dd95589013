"""Implementations, proxies, owners and the lock time (0g-contracts A1, B4, B5, C1), and call data nobody meant."""

from __future__ import annotations

from eth_abi.abi import encode

from .stage import LEDGER, OG, SERVING, ZERO, Stage

NOT_OWNER = ("Error", "Ownable: caller is not the owner")
NO_REASON = ("",)


def implementations_are_locked(stage: Stage) -> None:
    """Their constructors emit OwnershipTransferred and Initialized(255) (A1)."""
    for name in ("LedgerManager", "InferenceServing"):
        made = stage.create(f"create the implementation {name}", name)
        args = (stage.owner.address,) if name == "LedgerManager" else (86400, LEDGER.address, stage.owner.address)
        assert stage.read(f"{name} is not initialised", "initialized", to=made) is False
        assert stage.read(f"{name} has its deployer for owner", "owner", to=made) == stage.owner.address
        stage.refused(f"{name} is locked", ("AlreadyInitialized",), stage.owner, "initialize", *args, to=made)


def initialising_a_ledger(stage: Stage) -> None:
    made = stage.clone("create a proxy", stage.create("create an implementation", "LedgerManager"))
    assert stage.read("it is not initialised", "initialized", to=made) is False
    assert stage.read("it has no owner", "owner", to=made) == ZERO
    stage.refused("nobody owns it", NOT_OWNER, stage.ann, "setRecommendedService", "a", "b", to=made)
    done = stage.do("anybody initialises it", stage.ann, "initialize", stage.bob.address, to=made)
    assert done.names == ["OwnershipTransferred", "Initialized"]
    stage.refused("once only", ("AlreadyInitialized",), stage.bob, "initialize", stage.bob.address, to=made)
    assert stage.read("it is initialised", "initialized", to=made) is True
    other = stage.clone("create another proxy", stage.create("create another implementation", "LedgerManager"))
    stage.do("a zero owner is accepted", stage.ann, "initialize", ZERO, to=other)
    again = ("AlreadyInitialized",)
    stage.refused("initialised for nobody is initialised", again, stage.ann, "initialize", ZERO, to=other)


def initialising_a_serving_contract(stage: Stage) -> None:
    code = stage.create("create an implementation", "InferenceServing")
    made = stage.clone("create a proxy", code)
    owner, ledger = stage.ann.address, stage.cat.address
    for name, seconds in (("below", 3599), ("above", 604801), ("zero", 0), ("huge", 2**256 - 1)):
        expected = ("LockTimeOutOfRange", seconds, 3600, 604800)
        stage.refused(f"a lock time {name}", expected, stage.ann, "initialize", seconds, ledger, owner, to=made)
    done = stage.do("the shortest lock time, zero addresses", stage.ann, "initialize", 3600, ZERO, ZERO, to=made)
    assert done.names == ["OwnershipTransferred", "ContractInitialized", "Initialized"]
    stage.refused("once only", ("AlreadyInitialized",), stage.ann, "initialize", 1, ledger, owner, to=made)
    assert stage.read("its ledger is zero", "ledgerAddress", to=made) == ZERO
    other = stage.clone("create another proxy", code)
    stage.do("the longest lock time", stage.ann, "initialize", 604800, ledger, owner, to=other)
    assert stage.read("its lock time", "lockTime", to=other) == 604800
    assert stage.read("its ledger", "ledgerAddress", to=other) == ledger
    expected = ("CallerNotLedger", stage.ann.address)
    stage.refused("only its ledger", expected, stage.ann, "addAccount", owner, ledger, "", to=other)


def the_deployed_contracts_are_initialised(stage: Stage) -> None:
    stage.refused("the ledger", ("AlreadyInitialized",), stage.owner, "initialize", stage.owner.address)
    args = (86400, LEDGER.address, stage.owner.address)
    stage.refused("the serving contract", ("AlreadyInitialized",), stage.owner, "initialize", *args, to=SERVING)


def the_lock_time(stage: Stage) -> None:
    stage.refused("not the owner", NOT_OWNER, stage.ann, "updateLockTime", 1)
    for seconds in (3599, 604801):
        expected = ("LockTimeOutOfRange", seconds, 3600, 604800)
        stage.refused(f"to {seconds}", expected, stage.owner, "updateLockTime", seconds)
    done = stage.do("to what it is", stage.owner, "updateLockTime", 86400)
    assert done.events == [("LockTimeUpdated", {"oldLockTime": 86400, "newLockTime": 86400})]
    for seconds in (3600, 604800):
        stage.do(f"to {seconds}", stage.owner, "updateLockTime", seconds)
    assert stage.read("what it is now", "lockTime") == 604800


def owners(stage: Stage) -> None:
    for contract in (LEDGER, SERVING):
        name = contract.name
        ann = stage.ann.address
        stage.refused(f"{name}: not the owner", NOT_OWNER, stage.ann, "transferOwnership", ann, to=contract)
        stage.refused(f"{name}: renounced by another", NOT_OWNER, stage.ann, "renounceOwnership", to=contract)
        expected = ("Error", "Ownable: new owner is the zero address")
        stage.refused(f"{name}: to nobody", expected, stage.owner, "transferOwnership", ZERO, to=contract)
        stage.do(f"{name}: to ann", stage.owner, "transferOwnership", stage.ann.address, to=contract)
        stage.refused(f"{name}: the old owner", NOT_OWNER, stage.owner, "renounceOwnership", to=contract)
        stage.do(f"{name}: to herself", stage.ann, "transferOwnership", stage.ann.address, to=contract)
        stage.do(f"{name}: renounced", stage.ann, "renounceOwnership", to=contract)
        assert stage.read(f"{name}: nobody's", "owner", to=contract) == ZERO
        stage.refused(f"{name}: nobody's for ever", NOT_OWNER, stage.ann, "transferOwnership", ann, to=contract)


def coins_and_unknown_selectors(stage: Stage) -> None:
    for contract in (LEDGER, SERVING):
        name = contract.name
        for value in (0, 1, OG):
            expected = ("DirectDepositsDisabled",)
            stage.refused_raw(f"{name}: {value} without data", expected, stage.ann, contract, b"", value=value)
        for data in (b"\x00", b"\x00\x00\x00", b"\x12\x34\x56\x78", b"\x12\x34\x56\x78" + b"\0" * 32):
            stage.refused_raw(f"{name}: data 0x{data.hex()}", NO_REASON, stage.ann, contract, data)
        stage.refused_raw(f"{name}: unknown with coins", NO_REASON, stage.ann, contract, b"\x12\x34\x56\x78", value=1)


def malformed_call_data(stage: Stage) -> None:
    """Beyond what the ABI allows; both contracts have to refuse it, and alike."""
    stage.fund(stage.ann, 10 * OG)
    stage.transfer("ann gets a sub-account", stage.ann, stage.pat, 2 * OG)

    def word(number: int) -> bytes:
        return number.to_bytes(32, "big")

    add, info = LEDGER.selector("addLedger"), LEDGER.selector("updateAdditionalInfo")
    pat, dirty = encode(["address"], [stage.pat.address]), word(1 << 160 | int(stage.pat.address, 16))
    transfer, retrieve = LEDGER.selector("transferFund"), LEDGER.selector("retrieveFund")
    settle, service = SERVING.selector("settleFeesWithTEE"), SERVING.selector("addOrUpdateService")
    acknowledge, token = SERVING.selector("acknowledgeTEESigner"), SERVING.selector("revokeToken")
    tokens, batch = SERVING.selector("revokeTokens"), SERVING.selector("previewSettlementResults")
    cases = {
        "no arguments": (LEDGER, add),
        "half an argument": (LEDGER, add + b"\0" * 16),
        "text at an offset past the end": (LEDGER, info + word(4096)),
        "text at an offset past 64 bits": (LEDGER, info + word(2**64)),
        "text at the highest offset": (LEDGER, info + word(2**256 - 1)),
        "text longer than the data": (LEDGER, info + word(32) + word(64) + b"\0" * 32),
        "text with a length past 64 bits": (LEDGER, info + word(32) + word(2**64) + b"\0" * 32),
        "text with the highest length": (LEDGER, info + word(32) + word(2**256 - 1) + b"\0" * 32),
        "an address with a dirty upper part": (SERVING, acknowledge + dirty + word(1)),
        "a truth of 2": (SERVING, acknowledge + pat + word(2)),
        "a token id of 256": (SERVING, token + pat + word(256)),
        "token ids with one of 256": (SERVING, tokens + pat + word(64) + word(1) + word(256)),
        "token ids that are missing": (SERVING, tokens + pat + word(64) + word(3) + word(1)),
        "token ids at an offset past the end": (SERVING, tokens + pat + word(4096)),
        "too many token ids to count": (SERVING, tokens + pat + word(64) + word(2**64)),
        "a transfer to a dirty address": (LEDGER, transfer + dirty + word(96) + word(OG) + word(0)),
        "a transfer with half a name": (LEDGER, transfer + pat + word(96) + word(OG) + word(14)),
        "providers that are missing": (LEDGER, retrieve + word(64) + word(96) + word(2) + word(0)),
        "too many providers to count": (LEDGER, retrieve + word(64) + word(96) + word(2**64) + word(0)),
        "a dirty provider": (LEDGER, retrieve + word(64) + word(128) + word(1) + dirty + word(0)),
        "settlements that are missing": (SERVING, settle + word(32) + word(1)),
        "a settlement at an offset past the end": (SERVING, settle + word(32) + word(1) + word(4096)),
        "too many settlements to count": (SERVING, settle + word(32) + word(2**64)),
        "a settlement with a dirty user": (
            SERVING,
            settle + word(32) + word(1) + word(32) + dirty + pat + word(1) * 3 + word(192) + word(0),
        ),
        "a preview with a dirty provider": (
            SERVING,
            batch + word(32) + word(1) + word(32) + pat + dirty + word(1) * 3 + word(192) + word(0),
        ),
        "a service that is missing": (SERVING, service),
        "a service at an offset past the end": (SERVING, service + word(4096)),
        "a service with texts past the end": (SERVING, service + word(32) + word(4096) * 7 + pat),
    }
    for name, (contract, data) in cases.items():
        stage.refused_raw(name, None, stage.ann, contract, data)
    stage.serve(stage.pat)
    good = SERVING.encode("settleFeesWithTEE", [stage.item(stage.ann, stage.pat, 1, 1)])
    for name, data in {
        "a settlement with half a signature": good[:-64],
        "a settlement with no padding": good[:-31],
        "a settlement with bytes behind it": good + b"behind",
    }.items():
        stage.attempt_raw(name, stage.pat, SERVING, data, function="settleFeesWithTEE")
    for contract, function, args in [
        (LEDGER, "refund", (1,)),
        (LEDGER, "transferFund", (stage.pat.address, "inference-v1.0", 1)),
        (LEDGER, "updateAdditionalInfo", ("",)),
        (SERVING, "revokeAllTokens", (stage.pat.address,)),
        (SERVING, "settleFeesWithTEE", ([],)),
        (SERVING, "removeService", ()),
    ]:
        data = contract.encode(function, *args)
        stage.refused_raw(f"{function} with coins", NO_REASON, stage.ann, contract, data, value=1)


SCENARIOS = (
    implementations_are_locked,
    initialising_a_ledger,
    initialising_a_serving_contract,
    the_deployed_contracts_are_initialised,
    the_lock_time,
    owners,
    coins_and_unknown_selectors,
    malformed_call_data,
)
