"""Steps: each is done on every side, and everything a contract's user can see of it is compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import pytest
from eth_account import Account

from zg_core.localnet import abi
from zg_core.localnet.devaccounts import DEV_KEYS
from zg_core.localnet.genesis import DESCRIPTION, LOCK_TIME, REGISTERED_AT, SERVICE_NAME, SERVICE_TYPE, VERSION
from zg_core.localnet.keys import Key, checksum_address
from zg_core.localnet.settlement import UserSettlement, call_data

from .sides import Answer, Outcome, Side, Transaction, View

OG = 10**18
ZERO = "0x" + "00" * 20
GAS, PRICE = 20_000_000, 2 * 10**9
START = REGISTERED_AT + 1000
LEDGER, SERVING = abi.ledger(), abi.inference()

Refusal = tuple[Any, ...]
"""An error's name and its arguments; ``("",)`` for no reason."""


@dataclass
class Records:
    """What all scenarios together went through."""

    steps: dict[str, int] = field(default_factory=dict)
    functions: set[tuple[str, str]] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    refusals: set[str] = field(default_factory=set)
    gas: dict[str, list[tuple[str, tuple[int, ...]]]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Done:
    """A transaction that succeeded: its events in order, what it returned, where it created a contract."""

    events: list[tuple[str, dict[str, Any]]]
    returned: Any
    created: str | None

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]


def address_of(who: Key | abi.Contract | str) -> str:
    return who if isinstance(who, str) else who.address


def clone_code(implementation: str) -> bytes:
    """Creation code of an EIP-1167 proxy."""
    runtime = bytes.fromhex(f"363d3d373d3d3d363d73{implementation[2:]}5af43d82803e903d91602b57fd5bf3")
    return bytes.fromhex("3d602d80600a3d3981f3") + runtime


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


class Stage:
    """The contracts on every side, and people who act on them.

    Args:
        sides: the chains; the first is the one the others are measured by.
        codes: for each side the creation code of a contract by its name.
        records: what is written down for the end.
    """

    def __init__(self, sides: Sequence[Side], codes: Sequence[Callable[[str], bytes]], records: Records) -> None:
        self.sides = sides
        self.codes = codes
        self.records = records
        self.scenario = "deployment"
        self.time = START
        self.unique = True
        """Whether two steps of one scenario may not have the same name."""
        self._named: set[str] = set()
        keys = [Key(key) for key in DEV_KEYS.values()]
        self.owner, self.ann, self.bob, self.eve, self.pat, self.quinn, self.cat, self.dan = keys[:8]
        self.tee = Key("11" * 32)
        self.names = {key.address: name for name, key in vars(self).items() if isinstance(key, Key)}
        self.nonces: dict[str, int] = defaultdict(int)
        self.fees: list[dict[str, int]] = [defaultdict(int) for _ in sides]
        self.contracts: dict[str, abi.Contract] = {each.address.lower(): each for each in (LEDGER, SERVING)}
        self._pool = ThreadPoolExecutor(len(sides))

    def close(self) -> None:
        self._pool.shutdown()

    # ---- one thing on every side ----

    def _everywhere(self, act: Callable[[Side, int], Any]) -> list[Any]:
        return list(self._pool.map(act, self.sides, range(len(self.sides))))

    def send(
        self, who: Key, to: str | None, data: Sequence[bytes], value: int, *, returns: bool = False
    ) -> list[Outcome]:
        """Send the same transaction (where a contract is created: with each side's code) on every side."""
        fields: dict[str, Any] = {
            "chainId": abi.CHAIN_ID,
            "nonce": self.nonces[who.address],
            "gas": GAS,
            "gasPrice": PRICE,
            "value": value,
        }
        if to is not None:
            fields["to"] = checksum_address(to)
        signed: dict[bytes, bytes] = {}
        for each in data:
            if each not in signed:
                signed[each] = bytes(Account.sign_transaction(fields | {"data": each}, who.secret).raw_transaction)
        self.nonces[who.address] += 1
        outcomes: list[Outcome] = self._everywhere(
            lambda side, number: side.send(
                Transaction(signed[data[number]], who.address, to, data[number], value, returns), self.time
            )
        )
        for fees, outcome in zip(self.fees, outcomes, strict=True):
            fees[who.address] += outcome.fee
        return outcomes

    def read_all(self, views: Sequence[View], accounts: Sequence[str] = ()) -> list[tuple[list[Answer], list[int]]]:
        """Answers and coins on every side; fees for gas are not counted as spent."""
        answers = self._everywhere(lambda side, _: side.read(views, accounts))
        return [
            (calls, [coins + fees[account] for account, coins in zip(accounts, balances, strict=True)])
            for (calls, balances), fees in zip(answers, self.fees, strict=True)
        ]

    def snapshot(self) -> Any:
        kept = (self.time, dict(self.nonces), [dict(fees) for fees in self.fees], dict(self.contracts))
        return kept, self._everywhere(lambda side, _: side.snapshot())

    def restore(self, snapshot: Any) -> None:
        (self.time, nonces, fees, self.contracts), snapshots = snapshot
        self.nonces = defaultdict(int, nonces)
        self.fees = [defaultdict(int, each) for each in fees]
        self._everywhere(lambda side, number: side.restore(snapshots[number]))

    @contextmanager
    def playing(self, scenario: str, *, unique: bool = True) -> Iterator[None]:
        """Everything within belongs to one scenario and is undone at its end."""
        before = self.snapshot()
        self.scenario, self.unique, self._named = scenario, unique, set()
        try:
            yield
        finally:
            self.restore(before)

    # ---- steps ----

    def do(
        self, name: str, who: Key, function: str, *args: Any, value: int = 0, to: abi.Contract | None = None
    ) -> Done:
        """A transaction that has to succeed."""
        contract = self._at(function, to)
        data = contract.encode(function, *args)
        return self.do_raw(name, who, contract, data, value=value, function=function)

    def do_raw(
        self, name: str, who: Key, contract: abi.Contract, data: bytes, *, value: int = 0, function: str = ""
    ) -> Done:
        """The same with any call data."""
        step = self._begin(name, contract, function)
        returns = bool(function) and bool(output_types(contract, function))
        before = f"{self.label(who.address)} -> {self.describe(contract, data)}, value {value}, time {self.time}"
        outcomes = self.send(who, contract.address, [data] * len(self.sides), value, returns=returns)
        show = partial(self.show, contract, function)
        self._same(step, before, outcomes, show)
        if outcomes[0].status != 1:
            self._fail(step, before, map(show, outcomes), "this has to succeed")
        self.records.gas[function].append((step, tuple(outcome.gas for outcome in outcomes)))
        self._same_state(step, before)
        events = self.events(outcomes[0])
        self.records.events |= {event for event, _ in events}
        return Done(events, contract.decode(function, outcomes[0].output) if returns else None, outcomes[0].created)

    def refused(
        self,
        name: str,
        expected: Refusal,
        who: Key,
        function: str,
        *args: Any,
        value: int = 0,
        to: abi.Contract | None = None,
    ) -> None:
        """A transaction that has to be refused with this error."""
        contract = self._at(function, to)
        data = contract.encode(function, *args)
        self.refused_raw(name, expected, who, contract, data, value=value, function=function)

    def refused_raw(
        self,
        name: str,
        expected: Refusal,
        who: Key,
        contract: abi.Contract,
        data: bytes,
        *,
        value: int = 0,
        function: str = "",
    ) -> None:
        """The same with any call data."""
        step = self._begin(name, contract, function)
        before = f"{self.label(who.address)} -> {self.describe(contract, data)}, value {value}, time {self.time}"
        outcomes = self.send(who, contract.address, [data] * len(self.sides), value)
        show = partial(self.show, contract, function)
        self._same(step, before, outcomes, show)
        found = None if outcomes[0].status else refusal(contract, outcomes[0].output)
        if found != expected:
            self._fail(step, before, map(show, outcomes), f"this has to be refused with {expected}")
        self.records.refusals.add(expected[0])

    def attempt(
        self, name: str, who: Key, function: str, *args: Any, value: int = 0, to: abi.Contract | None = None
    ) -> Refusal | None:
        """A transaction of which nobody knows how it ends, but it has to end alike; None if it succeeded."""
        contract = self._at(function, to)
        data = contract.encode(function, *args)
        step = self._begin(name, contract, function)
        before = f"{self.label(who.address)} -> {self.describe(contract, data)}, value {value}, time {self.time}"
        returns = bool(output_types(contract, function))
        outcomes = self.send(who, contract.address, [data] * len(self.sides), value, returns=returns)
        self._same(step, before, outcomes, partial(self.show, contract, function))
        if outcomes[0].status:
            self.records.gas[function].append((step, tuple(outcome.gas for outcome in outcomes)))
            self._same_state(step, before)
            return None
        return refusal(contract, outcomes[0].output)

    def read(
        self, name: str, function: str, *args: Any, sender: Key | str = ZERO, to: abi.Contract | None = None
    ) -> Any:
        """A call that has to return the same everywhere."""
        contract, step, before, answers = self._call(name, function, args, sender, to)
        if not answers[0][0]:
            show = partial(self.show_answer, contract, function)
            self._fail(step, before, map(show, answers), "this has to be answered")
        return contract.decode(function, answers[0][1])

    def unreadable(
        self,
        name: str,
        expected: Refusal,
        function: str,
        *args: Any,
        sender: Key | str = ZERO,
        to: abi.Contract | None = None,
    ) -> None:
        """A call that has to be refused with this error."""
        contract, step, before, answers = self._call(name, function, args, sender, to)
        if answers[0][0] or refusal(contract, answers[0][1]) != expected:
            show = partial(self.show_answer, contract, function)
            self._fail(step, before, map(show, answers), f"this has to be refused with {expected}")
        self.records.refusals.add(expected[0])

    def create(
        self, name: str, artifact: str, *args: Any, interface: str | None = None, code: bytes | None = None
    ) -> abi.Contract:
        """Create a contract, the serving contracts from each side's own code."""
        step = self._begin(name, None, "")
        datas = [code] * len(self.sides) if code else [make(artifact) for make in self.codes]
        if not code and args:
            datas = [abi.creation_code(artifact, *args)] * len(self.sides)
        outcomes = self.send(self.owner, None, datas, 0)
        created = outcomes[0].created
        if created is None:
            self._fail(step, f"create {artifact}", map(repr, outcomes), "this has to create something")
        contract = abi.Contract(interface or artifact, created)
        self.contracts[created] = contract
        before = f"create {artifact}{args}, time {self.time}"
        show = partial(self.show, contract, "")
        self._same(step, before, outcomes, show)
        if outcomes[0].status != 1:
            self._fail(step, before, map(show, outcomes), "this has to succeed")
        self.records.events |= {event for event, _ in self.events(outcomes[0])}
        return contract

    def clone(self, name: str, implementation: abi.Contract) -> abi.Contract:
        """Create a proxy with storage of its own."""
        return self.create(name, implementation.name, code=clone_code(implementation.address))

    def later(self, seconds: int) -> None:
        """Let time pass before the next step."""
        self.time += seconds

    # ---- short ways ----

    def serve(self, provider: Key, *, acknowledged: bool = True, **changes: Any) -> None:
        """A provider with the usual stake."""
        params = service_params(**({"signer": self.tee.address} | changes))
        label = self.label(provider.address)
        self.do(f"{label} opens a service", provider, "addOrUpdateService", params, value=100 * OG)
        if acknowledged:
            self.do(f"{label} is acknowledged", self.owner, "acknowledgeTEESignerByOwner", provider.address)

    def fund(self, user: Key, amount: int) -> None:
        self.do(f"{self.label(user.address)} deposits", user, "depositFund", value=amount)

    def transfer(self, name: str, user: Key, provider: Key | str, amount: int) -> Done:
        return self.do(name, user, "transferFund", address_of(provider), SERVICE_NAME, amount)

    def retrieve(self, name: str, user: Key, *providers: Key | str) -> Done:
        return self.do(name, user, "retrieveFund", [address_of(each) for each in providers], SERVICE_NAME)

    def account(self, user: Key, provider: Key | str) -> dict[str, Any]:
        """The record on the side that the others equal."""
        data = SERVING.encode("getAccount", user.address, address_of(provider))
        (_, output), *_ = self.sides[0].read([(SERVING.address, data, ZERO)], [])[0]
        record: dict[str, Any] = SERVING.decode("getAccount", output)
        return record

    def live(self, user: Key, provider: Key | str) -> list[int]:
        """The amounts of the refunds that wait."""
        record = self.account(user, provider)
        return [each["amount"] for each in record["refunds"][: record["validRefundsLength"]]]

    def item(
        self,
        user: Key | str,
        provider: Key | str,
        fee: int,
        nonce: int,
        *,
        signer: Key | None = None,
        chain_id: int = abi.CHAIN_ID,
        contract: str = SERVING.address,
        **changes: Any,
    ) -> dict[str, Any]:
        """A settlement item signed by the provider's TEE, or changed after signing."""
        what = UserSettlement(address_of(user), address_of(provider), fee, b"\x07" * 32, nonce, ())
        (signed,) = call_data([what], signer or self.tee, chain_id=chain_id, contract=contract)
        return signed | changes

    def settle(self, name: str, provider: Key, *items: Mapping[str, Any]) -> list[int]:
        """The statuses; the events have to say the same."""
        done = self.do(name, provider, "settleFeesWithTEE", list(items))
        told = [arguments["status"] for event, arguments in done.events if event == "TEESettlementResult"]
        statuses = list(done.returned)
        assert told == statuses, f"{name}: returned {statuses}, but the events say {told}"
        return statuses

    # ---- comparing ----

    def _begin(self, name: str, contract: abi.Contract | None, function: str) -> str:
        step = f"{self.scenario}: {name}"
        if self.unique and step in self._named:
            pytest.fail(f"two steps are called {step!r}", pytrace=False)
        self._named.add(step)
        self.records.steps[step] = self.records.steps.get(step, 0) + 1
        if contract is not None and function:
            self.records.functions.add((contract.name, function))
        return step

    def _at(self, function: str, to: abi.Contract | None) -> abi.Contract:
        if to is not None:
            return to
        return LEDGER if function in LEDGER_FUNCTIONS else SERVING

    def _call(
        self, name: str, function: str, args: Sequence[Any], sender: Key | str, to: abi.Contract | None
    ) -> tuple[abi.Contract, str, str, list[Answer]]:
        contract = self._at(function, to)
        step = self._begin(name, contract, function)
        data = contract.encode(function, *args)
        before = f"call as {self.label(address_of(sender))}: {self.describe(contract, data)}"
        answers = [calls[0] for calls, _ in self.read_all([(contract.address, data, address_of(sender))])]
        self._same(step, before, answers, partial(self.show_answer, contract, function))
        return contract, step, before, answers

    def _same(self, step: str, before: str, found: Sequence[Any], show: Callable[[Any], str]) -> None:
        if any(each != found[0] for each in found):
            self._fail(step, before, map(show, found), "the sides differ")

    def _fail(self, step: str, before: str, shown: Iterable[str], why: str) -> NoReturn:
        lines = [f"{step}\n  {why}", f"  input: {before}"]
        lines += [f"  {side.name}: {text}" for side, text in zip(self.sides, shown, strict=True)]
        pytest.fail("\n".join(lines), pytrace=False)

    def state_views(self) -> list[tuple[abi.Contract, str, tuple[Any, ...]]]:
        """What is compared after every transaction."""
        return [
            (LEDGER, "getAllLedgers", (0, 0)),
            (LEDGER, "getAllActiveServices", ()),
            (SERVING, "getAllAccounts", (0, 50)),
            (SERVING, "getAllServices", (0, 50)),
        ]

    def list_views(self) -> list[tuple[abi.Contract, str, tuple[Any, ...]]]:
        """What is compared at the end of a scenario besides: every list, in its order, and single values."""
        people = [*self.names]
        views: list[tuple[abi.Contract, str, tuple[Any, ...]]] = [
            (LEDGER, "owner", ()),
            (SERVING, "owner", ()),
            (SERVING, "lockTime", ()),
        ]
        for person in people:
            views.append((LEDGER, "getLedgerProviders", (person, SERVICE_NAME)))
            views.append((SERVING, "getAccountsByUser", (person, 0, 0)))
            views.append((SERVING, "getAccountsByProvider", (person, 0, 0)))
            views.append((SERVING, "serviceExists", (person,)))
        return views

    def _same_state(self, step: str, before: str) -> None:
        self.compare(step, before, self.state_views())

    def compare_lists(self) -> None:
        """Compare all that `list_views` names."""
        self.compare(f"{self.scenario}: the lists at the end", "", self.list_views())

    def compare(self, step: str, before: str, views: Sequence[tuple[abi.Contract, str, tuple[Any, ...]]]) -> None:
        accounts = [*self.names, *self.contracts]
        calls = [(contract.address, contract.encode(function, *args), ZERO) for contract, function, args in views]
        found = self.read_all(calls, accounts)
        for number, (contract, function, args) in enumerate(views):
            answers = [calls[number] for calls, _ in found]
            show = partial(self.show_answer, contract, function)
            self._same(step, f"{before}\n  then: {contract.name}.{function}{args}", answers, show)
        for number, account in enumerate(accounts):
            coins = [balances[number] for _, balances in found]
            self._same(step, f"{before}\n  then: coins of {self.label(account)}", coins, str)

    # ---- words ----

    def label(self, address: str) -> str:
        if found := self.names.get(address):
            return found
        contract = self.contracts.get(address.lower())
        return f"{contract.name} {address}" if contract else address

    def describe(self, contract: abi.Contract, data: bytes) -> str:
        try:
            function, args = contract.decode_input(data)
        except ValueError:
            return f"{self.label(contract.address)} with data 0x{data.hex()}"
        return short(f"{self.label(contract.address)}.{function}({', '.join(f'{k}={v!r}' for k, v in args.items())})")

    def events(self, outcome: Outcome) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for address, topics, data in outcome.logs:
            contract = self.contracts.get(address)
            event = contract.decode_log(address, topics, data) if contract else None
            assert event is not None, f"nobody can decode this event of {address}: {topics} {data.hex()}"
            found.append(event)
        return found

    def show(self, contract: abi.Contract, function: str, outcome: Outcome) -> str:
        if outcome.status != 1:
            return f"refused {refusal(contract, outcome.output)} with {len(outcome.logs)} events"
        returned = ""
        if function and outcome.output:
            returned = f", returned {contract.decode(function, outcome.output)!r}"
        return short(f"done{returned}, created {outcome.created}, events {self.events(outcome)}", 4000)

    def show_answer(self, contract: abi.Contract, function: str, answer: Answer) -> str:
        good, output = answer
        if not good:
            return f"refused {refusal(contract, output)}"
        try:
            return short(repr(contract.decode(function, output)), 4000)
        except ValueError:
            return short("0x" + output.hex(), 4000)


LEDGER_FUNCTIONS = {entry["name"] for entry in abi.artifact("LedgerManager")["abi"] if entry["type"] == "function"}
"""Where both contracts have a function of that name, the ledger's is meant unless another is named."""


def refusal(contract: abi.Contract, data: bytes) -> Refusal:
    name, arguments = contract.decode_error(data)
    return (name, *arguments.values())


def output_types(contract: abi.Contract, function: str) -> Sequence[Any]:
    entries = abi.artifact(contract.name)["abi"]
    outputs: Sequence[Any] = next(
        entry["outputs"] for entry in entries if entry["type"] == "function" and entry["name"] == function
    )
    return outputs


def short(text: str, most: int = 1500) -> str:
    return text if len(text) <= most else f"{text[: most - 20]} … {len(text)} characters"


def deploy(stage: Stage, numbers: Sequence[int]) -> None:
    """Put the contracts behind EIP-1167 proxies on some of the sides, at the addresses every client knows.

    The implementations are the deployer's transactions 0 and 4, the proxies 2 and 6 (localnet §2); where the official
    deployment makes beacons, 1 and 5, it sends nothing to itself.
    """
    owner = stage.owner
    nonce = 0

    def send(to: str | None, data: Callable[[int], bytes]) -> str | None:
        nonlocal nonce
        fields = {"chainId": abi.CHAIN_ID, "nonce": nonce, "gas": GAS, "gasPrice": PRICE, "value": 0}
        fields |= {} if to is None else {"to": to}
        created = None
        for number in numbers:
            code = data(number)
            signed = bytes(Account.sign_transaction(fields | {"data": code}, owner.secret).raw_transaction)
            # The registration's time can be read back: it is that of the packaged genesis.
            outcome = stage.sides[number].send(
                Transaction(signed, owner.address, to, code, 0, returns=False), REGISTERED_AT
            )
            assert outcome.status == 1, f"{stage.sides[number].name}: transaction {nonce}: {outcome}"
            created = outcome.created
        nonce += 1
        return created

    def behind_proxy(contract: abi.Contract) -> None:
        implementation = send(None, lambda number: stage.codes[number](contract.name))
        assert implementation is not None
        send(owner.address, lambda _: b"")
        proxy = send(None, lambda _: clone_code(implementation))
        assert proxy == contract.address.lower(), f"{contract.name} is at {proxy}"

    def call(contract: abi.Contract, function: str, *args: Any) -> None:
        send(contract.address, lambda _: contract.encode(function, *args))

    behind_proxy(LEDGER)
    call(LEDGER, "initialize", owner.address)
    behind_proxy(SERVING)
    call(SERVING, "initialize", LOCK_TIME, LEDGER.address, owner.address)
    call(LEDGER, "registerService", SERVICE_TYPE, VERSION, SERVING.address, DESCRIPTION)
    call(LEDGER, "setRecommendedService", SERVICE_TYPE, VERSION)


def prepare(stage: Stage) -> None:
    """Bring every side to the same start: coins for everybody, and the deployer's next nonce."""
    for side in stage.sides:
        for person in stage.names:
            side.set_balance(person, 10**6 * OG)
    stage.nonces[stage.owner.address] = 10
    stage._same_state("deployment", "")
    stage.compare_lists()
