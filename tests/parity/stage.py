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
import rlp
from eth_account import Account

from zg_core.localnet.base.keys import Key, checksum_address, keccak256
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.chain.genesis import REGISTERED_AT, SERVICE_NAME
from zg_core.localnet.provider.settlement import UserSettlement, call_data

from .sides import Answer, Outcome, Side, Transaction, View

OG = 10**18
ZERO = "0x" + "00" * 20
GAS, PRICE = 20_000_000, 2 * 10**9
START = REGISTERED_AT + 1000
LEDGER, SERVING = abi.ledger(), abi.inference()

ViewOf = tuple[abi.Contract, str, tuple[Any, ...]]
"""A view function with its arguments."""
Refusal = tuple[Any, ...]
"""An error's name and its arguments; ``("",)`` for no reason."""


@dataclass
class Records:
    """What all scenarios together went through."""

    steps: set[str] = field(default_factory=set)
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
    def playing(self, scenario: str, *, sides: int | None = None) -> Iterator[None]:
        """Everything within belongs to one scenario and is undone at its end; `sides` leaves out all but the first."""
        before, everywhere = self.snapshot(), (self.sides, self.codes)
        self.scenario, self._named = scenario, set()
        self.sides, self.codes, self.fees = self.sides[:sides], self.codes[:sides], self.fees[:sides]
        try:
            yield
        finally:
            self.sides, self.codes = everywhere
            self.restore(before)

    # ---- steps ----

    def do(
        self,
        name: str,
        who: Key,
        function: str,
        *args: Any,
        value: int = 0,
        to: abi.Contract | None = None,
        look: bool = True,
    ) -> Done:
        """A transaction that has to succeed; without `look` the state is not compared until the next step that does."""
        contract = self._at(function, to)
        data = contract.encode(function, *args)
        return self.do_raw(name, who, contract, data, value=value, function=function, look=look)

    def do_raw(
        self,
        name: str,
        who: Key,
        contract: abi.Contract,
        data: bytes,
        *,
        value: int = 0,
        function: str = "",
        look: bool = True,
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
        if look:
            self._same_state(step, before, function)
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
        expected: Refusal | None,
        who: Key,
        contract: abi.Contract,
        data: bytes,
        *,
        value: int = 0,
        function: str = "",
    ) -> None:
        """The same with any call data; with `expected` None the reason has to be the same, whatever it is."""
        step = self._begin(name, contract, function)
        before = f"{self.label(who.address)} -> {self.describe(contract, data)}, value {value}, time {self.time}"
        outcomes = self.send(who, contract.address, [data] * len(self.sides), value)
        show = partial(self.show, contract, function)
        self._same(step, before, outcomes, show)
        found = None if outcomes[0].status else refusal(contract, outcomes[0].output)
        if found is None or (expected is not None and found != expected):
            self._fail(step, before, map(show, outcomes), f"this has to be refused with {expected or 'any reason'}")
        self.records.refusals.add(found[0])

    def attempt(
        self, name: str, who: Key, function: str, *args: Any, value: int = 0, to: abi.Contract | None = None
    ) -> Refusal | None:
        """A transaction of which nobody knows how it ends, but it has to end alike; None if it succeeded."""
        contract = self._at(function, to)
        return self.attempt_raw(name, who, contract, contract.encode(function, *args), value=value, function=function)

    def attempt_raw(
        self, name: str, who: Key, contract: abi.Contract, data: bytes, *, value: int = 0, function: str
    ) -> Refusal | None:
        """The same with any call data."""
        step = self._begin(name, contract, function)
        before = f"{self.label(who.address)} -> {self.describe(contract, data)}, value {value}, time {self.time}"
        returns = bool(output_types(contract, function))
        outcomes = self.send(who, contract.address, [data] * len(self.sides), value, returns=returns)
        self._same(step, before, outcomes, partial(self.show, contract, function))
        if outcomes[0].status:
            self.records.gas[function].append((step, tuple(outcome.gas for outcome in outcomes)))
            self._same_state(step, before, function)
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
        if code is not None:
            codes = [code] * len(self.sides)
        elif args:
            codes = [abi.creation_code(artifact, *args)] * len(self.sides)
        else:
            codes = [make(artifact) for make in self.codes]
        address = self.next_address()
        contract = self.contracts[address] = abi.Contract(interface or artifact, address)
        self.run(name, codes)
        return contract

    def run(self, name: str, codes: Sequence[bytes]) -> None:
        """Let the owner run creation code, on each side its own; it has to succeed, and alike."""
        step = self._begin(name, None, "")
        before = f"run {len(codes[0])} bytes of creation code, time {self.time}"
        address = self.next_address()
        outcomes = self.send(self.owner, None, codes, 0)
        show = partial(self.show, LEDGER, "")
        self._same(step, before, outcomes, show)
        if outcomes[0].status != 1 or outcomes[0].created != address:
            self._fail(step, before, map(show, outcomes), f"this has to create {address}")
        self.records.events |= {event for event, _ in self.events(outcomes[0])}

    def next_address(self) -> str:
        """Where the owner's next transaction creates a contract."""
        sender = bytes.fromhex(self.owner.address[2:])
        return "0x" + keccak256(rlp.encode([sender, self.nonces[self.owner.address]]))[12:].hex()

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

    def fund(self, user: Key, amount: int, name: str = "") -> None:
        self.do(name or f"{self.label(user.address)} deposits", user, "depositFund", value=amount)

    def transfer(self, name: str, user: Key, provider: Key | str, amount: int, *, look: bool = True) -> Done:
        return self.do(name, user, "transferFund", address_of(provider), SERVICE_NAME, amount, look=look)

    def retrieve(self, name: str, user: Key, *providers: Key | str) -> Done:
        return self.do(name, user, "retrieveFund", [address_of(each) for each in providers], SERVICE_NAME)

    def look(self, function: str, *args: Any) -> Any:
        """What a view says on the first side, which the others were found to equal; no step."""
        contract = self._at(function, None)
        ((good, output),), _ = self.sides[0].read([(contract.address, contract.encode(function, *args), ZERO)], [])
        assert good, f"{function}{args}: {refusal(contract, output)}"
        return contract.decode(function, output)

    def account(self, user: Key, provider: Key | str) -> dict[str, Any]:
        """The record of a sub-account."""
        record: dict[str, Any] = self.look("getAccount", user.address, address_of(provider))
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
        if step in self._named:
            pytest.fail(f"two steps are called {step!r}", pytrace=False)
        self._named.add(step)
        self.records.steps.add(step)
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

    def state_views(self, function: str) -> list[ViewOf]:
        """What is compared after a transaction; what is nothing to a function waits for the end of the scenario."""
        views: list[ViewOf] = [(LEDGER, "getAllLedgers", (0, 0)), (SERVING, "getAllAccounts", (0, 50))]
        if function in SCRIPTING:
            return []
        if function in ABOUT_MONEY:
            return views
        return [*views, (LEDGER, "getAllActiveServices", ()), (SERVING, "getAllServices", (0, 50))]

    def list_views(self) -> list[ViewOf]:
        """What is compared at the end of a scenario: every list, in its order, and single values."""
        people = [key.address for key in (self.ann, self.bob, self.eve, self.pat, self.quinn, self.dan)]
        views: list[ViewOf] = [
            *self.state_views(""),
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

    def _same_state(self, step: str, before: str, function: str) -> None:
        self.compare(step, before, self.state_views(function))

    def compare_lists(self) -> None:
        """Compare all that `list_views` names."""
        self.compare(f"{self.scenario}: the lists at the end", "", self.list_views())

    def compare(self, step: str, before: str, views: Sequence[ViewOf]) -> None:
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
        shown = ", ".join(f"{name}={short(repr(value), 300)}" for name, value in args.items())
        return short(f"{self.label(contract.address)}.{function}({shown})")

    def events(self, outcome: Outcome) -> list[tuple[str, dict[str, Any]]]:
        """Events by name; one that is in no ABI is called unknown."""
        found = []
        for address, topics, data in outcome.logs:
            contract = self.contracts.get(address)
            event = contract.decode_log(address, topics, data) if contract else None
            found.append(event or ("unknown", {"address": address, "topics": topics, "data": data}))
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


SCRIPTING = {"answer", "answerInterface", "script"}
"""Functions of the contracts that tests play parts with; the serving contracts know nothing of them."""
ABOUT_MONEY = {
    *("addLedger", "depositFund", "depositFundFor", "updateAdditionalInfo", "refund", "deleteLedger"),
    *("transferFund", "retrieveFund", "settleFeesWithTEE"),
    *("acknowledgeTEESigner", "revokeToken", "revokeTokens", "revokeAllTokens"),
}
"""Functions that concern ledgers and sub-accounts, and no service."""
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
