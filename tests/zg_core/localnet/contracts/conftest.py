"""A chain with the serving contracts, and people who act on it."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode

from zg_core.localnet.base.clock import Clock
from zg_core.localnet.base.keys import Key, keccak256
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.chain import Chain, Reverted
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.chain.evm import Call
from zg_core.localnet.chain.genesis import REGISTERED_AT, SERVICE_NAME

OG = 10**18
ZERO = "0x" + "00" * 20
DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
SETTLEMENT_TYPE = b"TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)"

Event = tuple[str, dict[str, Any]]


class StoppedClock(Clock):
    """Time that a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.time = REGISTERED_AT + 1_000

    def now(self) -> float:
        return float(self.time)


def domain_separator(chain_id: int, contract: str) -> bytes:
    """The EIP-712 domain of settlements (0g-abi, EIP-712)."""
    words = ["bytes32", "bytes32", "bytes32", "uint256", "address"]
    hashes = [keccak256(DOMAIN_TYPE), keccak256(b"0G Inference Serving"), keccak256(b"1")]
    return keccak256(abi_encode(words, [*hashes, chain_id, contract]))


def settlement_digest(item: Mapping[str, Any], domain: bytes) -> bytes:
    """What a provider's TEE signs for one settlement."""
    words = ["bytes32", "bytes32", "uint256", "address", "address", "uint256"]
    values = [item[name] for name in ("requestsHash", "nonce", "provider", "user", "totalFee")]
    struct = keccak256(abi_encode(words, [keccak256(SETTLEMENT_TYPE), *values]))
    return keccak256(b"\x19\x01" + domain + struct)


@dataclass
class Stage:
    """The contracts with short ways to call them; `0G` amounts are neuron."""

    chain: Chain
    clock: StoppedClock
    ledger: abi.Contract = field(default_factory=abi.ledger)
    inference: abi.Contract = field(default_factory=abi.inference)
    others: list[abi.Contract] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owner, self.ann, self.bob, self.eve, self.pat, self.quinn = map(Key, list(DEV_KEYS.values())[:6])
        self.tee = Key("11" * 32)
        self.contracts_by_function = {
            function: contract
            for contract in (self.inference, self.ledger)  # the ledger's, where both have one
            for function in abi_functions(contract.name)
        }

    # ---- calling ----

    def at(self, function: str, to: abi.Contract | None) -> abi.Contract:
        return to or self.contracts_by_function[function]

    def do(self, who: Key, function: str, *args: Any, value: int = 0, to: abi.Contract | None = None) -> list[Event]:
        """Send a transaction that must succeed; its events in order, over all contracts."""
        contract = self.at(function, to)
        data = contract.encode(function, *args)
        try:
            receipt = self.chain.send(who.secret, to=contract.address, data=data, value=value)
        except Reverted as error:
            pytest.fail(
                f"{function}{reprlib.repr(args)} was refused: {contract.decode_error(error.data)}, {error.error}"
            )
        return self.events(receipt.logs)

    def do_raw(self, who: Key, function: str, *args: Any, value: int = 0) -> None:
        """Send a transaction and let a refusal through.

        Raises:
            Reverted: with the refusal.
        """
        contract = self.at(function, None)
        self.chain.send(who.secret, to=contract.address, data=contract.encode(function, *args), value=value)

    def refused(
        self, who: Key, function: str, *args: Any, value: int = 0, to: abi.Contract | None = None
    ) -> tuple[Any, ...]:
        """Send a transaction that must be refused; the error's name and arguments as one tuple."""
        contract = self.at(function, to)
        data = contract.encode(function, *args)
        return self.refused_raw(who, contract, data, value=value)

    def refused_raw(self, who: Key, contract: abi.Contract, data: bytes, *, value: int = 0) -> tuple[Any, ...]:
        before = self.chain.block_number
        with pytest.raises(Reverted) as caught:
            self.chain.send(who.secret, to=contract.address, data=data, value=value)
        assert caught.value.error == "execution reverted"
        assert self.chain.block_number == before + 1, "the refusal must be that of a mined transaction"
        name, arguments = contract.decode_error(caught.value.data)
        return (name, *arguments.values())

    def read(self, function: str, *args: Any, sender: str | None = None, to: abi.Contract | None = None) -> Any:
        contract = self.at(function, to)
        data = self.chain.call(to=contract.address, data=contract.encode(function, *args), sender=sender)
        return contract.decode(function, data)

    def unreadable(self, function: str, *args: Any, sender: str | None = None) -> tuple[Any, ...]:
        """Read something that must be refused; the error's name and arguments as one tuple."""
        contract = self.at(function, None)
        with pytest.raises(Reverted) as caught:
            self.chain.call(to=contract.address, data=contract.encode(function, *args), sender=sender)
        name, arguments = contract.decode_error(caught.value.data)
        return (name, *arguments.values())

    def as_contract(
        self, sender: str, function: str, *args: Any, value: int = 0, to: abi.Contract | None = None
    ) -> tuple[list[Event], bytes]:
        """Call in the name of a contract, which cannot sign; events and output. Leaves no trace.

        Raises:
            Reverted: with the refusal.
        """
        contract = self.at(function, to)
        data = contract.encode(function, *args)
        call = Call(bytes.fromhex(sender[2:]), bytes.fromhex(contract.address[2:]), data, value)
        outcome = self.chain.simulate(call)
        if outcome.error is not None:
            raise Reverted(outcome.output, outcome.error)
        found = [
            event
            for address, topics, data in outcome.logs
            for target in self.known()
            if (event := target.decode_log("0x" + address.hex(), topics, data)) is not None
        ]
        return found, outcome.output

    def refused_as(
        self, sender: str, function: str, *args: Any, value: int = 0, to: abi.Contract | None = None
    ) -> tuple[Any, ...]:
        with pytest.raises(Reverted) as caught:
            self.as_contract(sender, function, *args, value=value, to=to)
        name, arguments = self.inference.decode_error(caught.value.data)
        return (name, *arguments.values())

    def events(self, logs: Sequence[Any]) -> list[Event]:
        """Decoded events; one that nobody can decode fails the test."""
        found = []
        for log in logs:
            decoded = [
                event
                for contract in self.known()
                if (event := contract.decode_log(log.address, log.topics, log.data)) is not None
            ]
            assert len(decoded) == 1, f"undecodable event of {log.address}: {log.topics}"
            found += decoded
        return found

    def known(self) -> list[abi.Contract]:
        return [self.ledger, self.inference, *self.others]

    def deploy(self, name: str, *args: Any, interface: str | None = None) -> abi.Contract:
        """Deploy an artifact; `interface` names another artifact whose ABI it answers to."""
        receipt = self.chain.send(self.owner.secret, to=None, data=abi.creation_code(name, *args))
        assert receipt.contract_address is not None
        contract = abi.Contract(interface or name, receipt.contract_address)
        self.others.append(contract)
        return contract

    def later(self, seconds: int) -> None:
        self.clock.time += seconds

    @property
    def now(self) -> int:
        return self.clock.time

    # ---- scenes ----

    def open_service(self, provider: Key, *, signer: str | None = None, acknowledged: bool = True) -> None:
        """Register a provider with the usual stake."""
        self.do(provider, "addOrUpdateService", service_params(signer or self.tee.address), value=100 * OG)
        if acknowledged:
            self.do(self.owner, "acknowledgeTEESignerByOwner", provider.address)

    def open_service_raw(self, provider: Key) -> None:
        """The same, letting a refusal through.

        Raises:
            Reverted: with the refusal.
        """
        self.do_raw(provider, "addOrUpdateService", service_params(self.tee.address), value=100 * OG)
        self.do_raw(self.owner, "acknowledgeTEESignerByOwner", provider.address)

    def open_account(self, user: Key, provider: Key | str, amount: int, *, deposit: int | None = None) -> None:
        """Give a user a ledger (of at least 3 0G) and a sub-account with `amount`."""
        self.do(user, "depositFund", value=max(3 * OG, amount) if deposit is None else deposit)
        self.transfer(user, provider, amount)

    def transfer(self, user: Key, provider: Key | str, amount: int) -> list[Event]:
        return self.do(user, "transferFund", address_of(provider), SERVICE_NAME, amount)

    def retrieve(self, user: Key, *providers: Key | str) -> list[Event]:
        return self.do(user, "retrieveFund", [address_of(each) for each in providers], SERVICE_NAME)

    def account(self, user: Key, provider: Key | str) -> dict[str, Any]:
        record: dict[str, Any] = self.read("getAccount", user.address, address_of(provider))
        return record

    def purse(self, user: Key) -> tuple[int, int]:
        """Available and total of a ledger."""
        record = self.read("getLedger", user.address)
        return record["availableBalance"], record["totalBalance"]

    def item(self, user: Key, provider: Key, fee: int, nonce: int, *, signer: Key | None = None) -> dict[str, Any]:
        """A settlement item signed by `signer`, by default the provider's TEE."""
        item = {
            "user": user.address,
            "provider": provider.address,
            "totalFee": fee,
            "requestsHash": b"\x07" * 32,
            "nonce": nonce,
        }
        digest = settlement_digest(item, domain_separator(abi.CHAIN_ID, self.inference.address))
        return item | {"signature": (signer or self.tee).sign_digest(digest)}

    def settle(self, provider: Key, *items: Mapping[str, Any]) -> tuple[list[int], list[Event]]:
        """Settle; the statuses the call returned, and its events."""
        data = self.inference.encode("settleFeesWithTEE", list(items))
        returned = self.chain.call(to=self.inference.address, data=data, sender=provider.address)
        events = self.do(provider, "settleFeesWithTEE", list(items))
        statuses: list[int] = list(self.inference.decode("settleFeesWithTEE", returned))
        emitted = [arguments["status"] for name, arguments in events if name == "TEESettlementResult"]
        assert emitted == statuses, "the events must say what the call returns"
        return statuses, events


def abi_functions(artifact: str) -> list[str]:
    return [entry["name"] for entry in abi.artifact(artifact)["abi"] if entry["type"] == "function"]


def address_of(who: Key | str) -> str:
    return who if isinstance(who, str) else who.address


def service_params(signer: str, **changes: Any) -> dict[str, Any]:
    """A service's record as `addOrUpdateService` takes it."""
    params = {
        "serviceType": "chatbot",
        "url": "http://127.0.0.1:1",
        "model": "demo",
        "verifiability": "TeeML",
        "inputPrice": 10,
        "outputPrice": 30,
        "additionalInfo": "{}",
        "teeSignerAddress": signer,
    }
    return params | changes


def new_stage() -> Stage:
    clock = StoppedClock()
    chain = Chain(clock=clock)
    for key in DEV_KEYS:
        chain.set_balance(key, 10**6 * OG)
    return Stage(chain, clock)


@pytest.fixture(scope="session")
def make_stage() -> Callable[[], Stage]:
    """For a chain of one's own."""
    return new_stage


@pytest.fixture(scope="session")
def _stage() -> Stage:
    return new_stage()


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    """The contracts as the genesis leaves them; rolled back after the test."""
    snapshot, time = _stage.chain.snapshot(), _stage.clock.time
    yield _stage
    _stage.chain.revert(snapshot)
    _stage.clock.time = time
    _stage.others.clear()


@pytest.fixture(scope="session")
def helpers() -> Any:
    """The functions of this file, for tests that need them without a stage."""

    class Helpers:
        domain_separator = staticmethod(domain_separator)
        settlement_digest = staticmethod(settlement_digest)
        service_params = staticmethod(service_params)

    return Helpers
