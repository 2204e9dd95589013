"""The registry of services (0g-contracts A9, B1, B7, C7)."""

from __future__ import annotations

from .scenario_initialisation import NOT_OWNER
from .stage import LEDGER, OG, SERVING, ZERO, Stage, clone_code

EMPTY_WORD, TRUE = (0).to_bytes(32, "big"), (1).to_bytes(32, "big")


def registering(stage: Stage) -> None:
    """The order of C7.1."""
    owner, ann = stage.owner, stage.ann
    code = stage.create("create an implementation", "InferenceServing")
    made, other = stage.clone("create a proxy", code), stage.clone("create another", code)
    taken, name = ("ServiceAlreadyRegistered", SERVING.address), ("ServiceNameExists", "inference-v1.0")
    register = "registerService"
    stage.refused("not the owner, all wrong", NOT_OWNER, ann, register, "", "", ZERO, "")
    stage.refused("no address, no type", ("InvalidServiceAddress", ZERO), owner, register, "", "", ZERO, "")
    stage.refused("no type, no version", ("ServiceTypeRequired",), owner, register, "", "", SERVING.address, "")
    stage.refused("no version", ("VersionRequired",), owner, register, "a", "", SERVING.address, "")
    stage.refused("taken, and its name", taken, owner, register, "inference", "v1.0", SERVING.address, "")
    stage.refused("taken", taken, owner, register, "a", "b", SERVING.address, "")
    stage.refused("a name that is taken, no service", name, owner, register, "inference", "v1.0", ann.address, "")
    stage.refused(
        "the same name from other parts",
        ("ServiceNameExists", "inference-v1.0"),
        owner,
        register,
        "inference",
        "v1.0",
        made.address,
        "",
    )
    strangers = {"an account": ann.address, "the ledger": LEDGER.address, "a precompile": "0x" + "0" * 39 + "4"}
    for what, address in strangers.items():
        expected = ("ServiceMustImplementIServing", address)
        stage.refused(f"{what} is no service", expected, owner, register, "a", "b", address, "")
    stage.later(500)
    done = stage.do("an uninitialised serving proxy is", owner, register, "text", "v2", made.address, "long " * 40)
    assert done.events == [("ServiceRegistered", {"serviceAddress": made.address, "serviceName": "text-v2"})]
    stage.unreadable("not recommended by itself", ("NoRecommendedService", "text"), "getRecommendedService", "text")
    stage.refused(
        "its name is taken", ("ServiceNameExists", "text-v2"), owner, register, "text", "v2", other.address, ""
    )
    stage.do("free text", owner, register, "t" * 300, "é v/1", other.address, "")
    assert stage.read("found by its name", "getServiceAddressByName", "t" * 300 + "-é v/1") == other.address
    third = stage.clone("create a third", code)
    stage.do("a-b, c", owner, register, "a-b", "c", third.address, "")
    fourth = stage.clone("create a fourth", code)
    stage.refused("a, b-c", ("ServiceNameExists", "a-b-c"), owner, register, "a", "b-c", fourth.address, "")
    stage.fund(ann, 5 * OG)
    stage.refused(
        "a service that does not know the ledger",
        ("CallFailed",),
        ann,
        "transferFund",
        stage.pat.address,
        "text-v2",
        OG,
    )
    assert stage.do("retrieving from it skips", ann, "retrieveFund", [stage.pat.address], "text-v2").events == []
    stage.do("leaving asks every service", ann, "refund", 5 * OG)


def recommending(stage: Stage) -> None:
    owner, recommend = stage.owner, "setRecommendedService"
    code = stage.create("create an implementation", "InferenceServing")
    made = stage.clone("create a proxy", code)
    stage.refused("not the owner, unknown", NOT_OWNER, stage.ann, recommend, "inference", "v9")
    stage.refused("unknown", ("ServiceNotFound", ZERO), owner, recommend, "inference", "v9")
    stage.refused("empty", ("ServiceNotFound", ZERO), owner, recommend, "", "")
    done = stage.do("what it is", owner, recommend, "inference", "v1.0")
    assert done.names == ["RecommendedServiceUpdated"]
    stage.do("a second version", owner, "registerService", "inference", "v2", made.address, "second")
    assert stage.read("the first still", "getRecommendedService", "inference") == ("v1.0", SERVING.address)
    stage.do("the second", owner, recommend, "inference", "v2")
    assert stage.read("the second now", "getRecommendedService", "inference") == ("v2", made.address)
    for version, truth in {"v1.0": False, "v2": True, "v3": False, "": False}.items():
        found = stage.read(f"is it {version!r}", "isRecommendedVersion", "inference", version)
        assert found is truth
    for kind in ("inference", "nope", ""):
        stage.read(f"versions of {kind!r}", "getAllVersions", kind)
    for name in ("inference-v2", "inference", ""):
        stage.read(f"address of {name!r}", "getServiceAddressByName", name)
    for address in (SERVING.address, made.address, stage.ann.address, ZERO):
        stage.read(f"info of {address}", "getServiceInfo", address)
    assert len(stage.read("both are active", "getAllActiveServices")) == 2
    stage.unreadable("none of another type", ("NoRecommendedService", "nope"), "getRecommendedService", "nope")


def probing(stage: Stage) -> None:
    """Six answers are asked for; anything but a clear yes is no (C7.1)."""
    erc165, invalid, iserving = bytes.fromhex("01ffc9a7"), bytes.fromhex("ffffffff"), bytes.fromhex("160841b1")
    good = {erc165: (False, TRUE), invalid: (False, EMPTY_WORD), iserving: (False, TRUE)}
    cases = {
        "says no to ERC-165": {erc165: (False, EMPTY_WORD)},
        "says yes to everything": {invalid: (False, TRUE)},
        "says no to IServing": {iserving: (False, EMPTY_WORD)},
        "reverts at ERC-165": {erc165: (True, b"")},
        "reverts at IServing": {iserving: (True, b"why")},
        "answers IServing with nothing": {iserving: (False, b"")},
        "answers IServing with 31 bytes": {iserving: (False, TRUE[:31])},
    }
    for name, change in cases.items():
        made = stage.create(f"create one that {name}", "test/ScriptedService")
        for interface, (reverts, data) in (good | change).items():
            answer = f"{name}: 0x{interface.hex()}"
            stage.do(answer, stage.owner, "answerInterface", interface, reverts, data, to=made)
        expected = ("ServiceMustImplementIServing", made.address)
        stage.refused(name, expected, stage.owner, "registerService", "a", "b", made.address, "")
    for name, change in {
        "answers with 2": {iserving: (False, (2).to_bytes(32, "big"))},
        "answers with 64 bytes": {iserving: (False, TRUE * 2)},
        "reverts at the invalid interface": {invalid: (True, b"")},
    }.items():
        made = stage.create(f"create one that {name}", "test/ScriptedService")
        for interface, (reverts, data) in (good | change).items():
            answer = f"{name}: 0x{interface.hex()}"
            stage.do(answer, stage.owner, "answerInterface", interface, reverts, data, to=made)
        stage.attempt(name, stage.owner, "registerService", "a", name, made.address, "")


def five_hundred_services(stage: Stage) -> None:
    """The limit is the last check (C7.1). Fifty registrations a transaction: the creation code owns the ledger."""
    code = stage.create("create an implementation", "InferenceServing")
    for batch in range(10):
        count = 49 if batch == 9 else 50
        stage.do(f"{batch}: the ledger changes hands", stage.owner, "transferOwnership", _after_next(stage), look=False)
        stage.run(f"{batch}: {count} services", [_registrations(stage, code.address, batch, count)] * len(stage.sides))
    services = stage.read("all of them", "getAllActiveServices")
    assert len(services) == 500
    assert len(stage.read("their versions", "getAllVersions", "f")[0]) == 499
    one = stage.clone("create one more", code)
    taken = ("ServiceAlreadyRegistered", SERVING.address)
    stage.refused("one that is there", taken, stage.owner, "registerService", "a", "b", SERVING.address, "")
    none = ("ServiceMustImplementIServing", stage.ann.address)
    stage.refused("one that is none", none, stage.owner, "registerService", "a", "b", stage.ann.address, "")
    full = ("ServiceRegistryLimitReached", 500)
    stage.refused("one more", full, stage.owner, "registerService", "a", "b", one.address, "")


def _after_next(stage: Stage) -> str:
    """Where the transaction after the next creates its contract."""
    stage.nonces[stage.owner.address] += 1
    try:
        return stage.next_address()
    finally:
        stage.nonces[stage.owner.address] -= 1


def _registrations(stage: Stage, implementation: str, batch: int, count: int) -> bytes:
    """Creation code that clones and registers `count` services and gives the ledger back; it leaves no code."""
    ledger = bytes.fromhex(LEDGER.address[2:])
    version = b"v" * 30 + bytes([ord("a") + batch])
    template = LEDGER.encode("registerService", "f", "x" * 32, ZERO, "")
    address_at, version_at = 4 + 64, template.index(b"x" * 32)
    giving_back = LEDGER.encode("transferOwnership", stage.owner.address)
    clone = clone_code(implementation)
    parts = [(0x000, template), (0x200, clone), (0x300, giving_back)]

    def push(number: int, size: int = 2) -> bytes:
        return bytes([0x5F + size]) + number.to_bytes(size, "big")

    def call(offset: int, size: int) -> bytes:
        arguments = push(0) + push(0) + push(size) + push(offset) + push(0)
        return arguments + b"\x73" + ledger + b"\x5a\xf1"  # PUSH20, GAS, CALL

    def assemble(fail: int, tail: int) -> bytes:
        check = b"\x15" + push(fail) + b"\x57"  # ISZERO, JUMPI
        code = b""
        at = tail
        for place, part in parts:
            code += push(len(part)) + push(at) + push(place) + b"\x39"  # CODECOPY
            at += len(part)
        for number in range(count):
            word = int.from_bytes(version + bytes([0x41 + number]), "big")
            code += push(word, 32) + push(version_at) + b"\x52"  # MSTORE
            code += push(len(clone)) + push(0x200) + push(0) + b"\xf0"  # CREATE
            code += push(address_at) + b"\x52" + call(0, len(template)) + check
        code += call(0x300, len(giving_back)) + check + b"\x00"  # STOP
        return code + b"\x5b" + push(0) + push(0) + b"\xfd"  # JUMPDEST, REVERT

    size = len(assemble(0, 0))
    return assemble(size - 8, size) + b"".join(part for _, part in parts)


SCENARIOS = (registering, recommending, probing, five_hundred_services)
