"""The state a local network starts with: the serving contracts, deployed, connected and registered.

``python -m zg_core.localnet.chain.genesis`` deploys the compiled artifacts on an empty chain and writes
``contracts/genesis.json``; ``--check`` compares with what is there instead. At run time only `load` is used: a
chain with all contracts then exists at once, without a transaction.
"""

from __future__ import annotations

import functools
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from zg_core.localnet.base.clock import Clock
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.devaccounts import DEV_BALANCE, DEV_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zg_core.localnet.chain.chain import Chain  # circle: a chain starts with what an empty one was made into

LOCK_TIME: Final = 86_400
"""Seconds until a requested refund can be taken (0g-abi, constants)."""
SERVICE_TYPE: Final = "inference"
VERSION: Final = "v1.0"
SERVICE_NAME: Final = f"{SERVICE_TYPE}-{VERSION}"
"""The full name that `transferFund` and `retrieveFund` take."""
DESCRIPTION: Final = "Inference services of the local network"
REGISTERED_AT: Final = 1_767_225_600
"""Block time of the whole deployment, so that the dump is the same on every day: 2026-01-01 00:00 UTC."""

_FILE: Final = abi.CONTRACTS_DIR / "genesis.json"

Account = dict[str, Any]
"""``balance``, ``nonce``, ``code`` as 0x hex and ``storage`` as slot to value."""


@functools.cache
def _text() -> str:
    return _FILE.read_text(encoding="utf-8")


def load() -> Mapping[str, Account]:
    """The committed genesis: address (EIP-55) to account, the ten development accounts included."""
    loaded: dict[str, Account] = json.loads(_text())
    return loaded


def build() -> dict[str, Account]:
    """Deploy the artifacts on an empty chain and return the resulting state.

    The order is that of the official deployment, since addresses follow from the deployer's nonces (localnet §2):
    ledger implementation 0, beacon 1, proxy 2, initialize 3, inference implementation 4, beacon 5, proxy 6,
    initialize 7, registerService 8, setRecommendedService 9.
    """
    from zg_core.localnet.chain.chain import Chain  # circle: see above

    chain = Chain(chain_id=abi.CHAIN_ID, clock=_StoppedClock(), genesis={})
    owner, key = next(iter(DEV_KEYS.items()))
    with _written_slots() as slots:
        created = _deploy(chain, owner, key)
    return _dump(chain, created, slots)


def render(accounts: Mapping[str, Account]) -> str:
    """The text of the genesis file: sorted, one slot a line."""
    return json.dumps(accounts, indent=1, sort_keys=True) + "\n"


class _StoppedClock(Clock):
    """A clock that stands still, for a state that does not depend on when it was made."""

    def now(self) -> float:
        return float(REGISTERED_AT)


def _deploy(chain: Chain, owner: str, key: str) -> list[str]:
    created: list[str] = []

    def create(name: str, *args: Any) -> str:
        receipt = chain.send(key, to=None, data=abi.creation_code(name, *args))
        if receipt.contract_address is None:
            raise RuntimeError(f"deploying {name} created no contract")
        created.append(receipt.contract_address)
        return receipt.contract_address

    def send(contract: abi.Contract, function: str, *args: Any) -> None:
        chain.send(key, to=contract.address, data=contract.encode(function, *args))

    def proxied(name: str) -> abi.Contract:
        beacon = create("UpgradeableBeacon", create(name))
        return abi.Contract(name, create("BeaconProxy", beacon, b""))

    ledger = proxied("LedgerManager")
    send(ledger, "initialize", owner)
    inference = proxied("InferenceServing")
    send(inference, "initialize", LOCK_TIME, ledger.address, owner)
    send(ledger, "registerService", SERVICE_TYPE, VERSION, inference.address, DESCRIPTION)
    send(ledger, "setRecommendedService", SERVICE_TYPE, VERSION)

    found = (ledger.address, inference.address)
    if found != (abi.LEDGER_ADDRESS, abi.INFERENCE_ADDRESS):
        raise RuntimeError(f"the proxies are at {found}, where no client looks for them")
    return created


def _dump(chain: Chain, contracts: Sequence[str], slots: set[tuple[bytes, int]]) -> dict[str, Account]:
    accounts: dict[str, Account] = {
        address: {"balance": hex(DEV_BALANCE), "nonce": hex(chain.nonce(address))} for address in DEV_KEYS
    }
    for address in contracts:
        raw = bytes.fromhex(address[2:])
        words = {slot: chain.storage(address, slot) for account, slot in slots if account == raw}
        accounts[address] = {
            "balance": hex(chain.balance(address)),
            "nonce": hex(chain.nonce(address)),
            "code": "0x" + chain.code(address).hex(),
            "storage": {f"0x{slot:064x}": f"0x{word:064x}" for slot, word in words.items() if word},
        }
    return accounts


@contextmanager
def _written_slots() -> Iterator[set[tuple[bytes, int]]]:
    """Note every storage slot written meanwhile: a state trie keeps only the hashes of its slots' numbers."""
    from eth.db.account import AccountDB

    accounts: Any = AccountDB
    slots: set[tuple[bytes, int]] = set()
    original = accounts.set_storage

    def set_storage(self: Any, address: bytes, slot: int, value: int, **options: Any) -> None:
        slots.add((bytes(address), slot))
        original(self, address, slot, value, **options)

    accounts.set_storage = set_storage
    try:
        yield slots
    finally:
        accounts.set_storage = original


def _differences(wanted: Mapping[str, Account], found: Mapping[str, Account]) -> list[str]:
    lines = []
    for address in sorted({*wanted, *found}):
        ours, theirs = wanted.get(address), found.get(address)
        if ours is None or theirs is None:
            lines.append(f"{address}: {'not in' if theirs is None else 'only in'} the committed file")
            continue
        lines += [
            f"{address}: {field} differs" for field in sorted({*ours, *theirs}) if ours.get(field) != theirs.get(field)
        ]
    return lines


def main(arguments: Sequence[str]) -> int:
    """Write the genesis file, or compare with ``--check``; 0 if all is well."""
    accounts = build()
    if "--check" not in arguments:
        _FILE.write_text(render(accounts), encoding="utf-8")
        sys.stdout.write(f"{_FILE.name}: {len(accounts)} accounts\n")
        return 0
    if render(accounts) == _text():
        sys.stdout.write(f"{_FILE.name} is what the artifacts deploy to\n")
        return 0
    lines = _differences(accounts, load()) or ["only the formatting differs"]
    sys.stderr.write(f"{_FILE.name} is not what the artifacts deploy to:\n  " + "\n  ".join(lines) + "\n")
    sys.stderr.write("run `python -m zg_core.localnet.chain.genesis` and commit the result\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
