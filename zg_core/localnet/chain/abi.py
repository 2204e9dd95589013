"""The serving contracts' ABI for the local network: call data out, results, events and refusals in.

Everything is read from the compiled artifacts in ``contracts/artifacts``. Addresses are EIP-55 text, bytes stay
bytes, whole numbers ints, structs dicts by field name.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from zg_core.localnet.base.keys import checksum_address, keccak256

CHAIN_ID: Final = 31337
LEDGER_ADDRESS: Final = "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"
"""The LedgerManager proxy: nonce 2 of the first development account (localnet §2)."""
INFERENCE_ADDRESS: Final = "0x0165878A594ca255338adfa4d48449f69242Eb8F"
"""The InferenceServing proxy: nonce 6 of the first development account (localnet §2)."""

CONTRACTS_DIR: Final = Path(__file__).parents[1] / "contracts"

Entry = Mapping[str, Any]
"""One entry of an ABI: a function, error, event, argument or result."""

_STANDARD_ERRORS: Final[tuple[Entry, ...]] = (
    {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)


@functools.cache
def artifact(name: str) -> Entry:
    """Read a compiled contract: ``abi``, ``bytecode`` and ``deployedBytecode`` (both 0x hex).

    Args:
        name: such as ``LedgerManager`` or ``test/ContractWallet``.

    Raises:
        FileNotFoundError: no such artifact.
    """
    loaded: Entry = json.loads((CONTRACTS_DIR / "artifacts" / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def creation_code(name: str, *args: Any) -> bytes:
    """The data of a transaction that deploys the artifact ``name`` with these constructor arguments."""
    abi: Sequence[Entry] = artifact(name)["abi"]
    inputs = next((entry["inputs"] for entry in abi if entry["type"] == "constructor"), ())
    return bytes.fromhex(artifact(name)["bytecode"][2:]) + _encode(f"{name} constructor", inputs, args)


def signature(entry: Entry) -> str:
    """The text whose hash is the selector or topic, such as ``refund(uint256)``."""
    return f"{entry['name']}({','.join(type_of(part) for part in entry['inputs'])})"


def type_of(part: Entry) -> str:
    """The type of an argument with tuples written out, such as ``(address,uint256)[]``."""
    kind: str = part["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(type_of(component) for component in part['components'])}){kind[len('tuple') :]}"


class Contract:
    """One contract at one address.

    Args:
        name: of its artifact, such as ``LedgerManager``.
        address: where it is, any letter case.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = checksum_address(address)
        entries: Sequence[Entry] = artifact(name)["abi"]
        self._functions = {entry["name"]: entry for entry in entries if entry["type"] == "function"}
        self._selectors = {name: keccak256(signature(entry).encode())[:4] for name, entry in self._functions.items()}
        self._events = {keccak256(signature(entry).encode()): entry for entry in entries if entry["type"] == "event"}
        self._errors = _errors_of(entries)

    def __repr__(self) -> str:
        return f"Contract({self.name!r}, {self.address!r})"

    def encode(self, function: str, *args: Any) -> bytes:
        """Call data: selector and arguments. A struct is given as a dict by field name or a sequence in order.

        Raises:
            ValueError: unknown function, or arguments that do not fit its types.
        """
        entry = self._function(function)
        return self.selector(function) + _encode(f"{self.name}.{function}", entry["inputs"], args)

    def decode(self, function: str, data: bytes) -> Any:
        """What a call returned: the value itself, a tuple if there are several, None if there are none.

        Raises:
            ValueError: unknown function, or data that does not fit its result types.
        """
        outputs = self._function(function)["outputs"]
        values = _decode(f"the result of {self.name}.{function}", outputs, data)
        if len(values) > 1:
            return tuple(values)
        return values[0] if values else None

    def decode_input(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """Function name and arguments by name of call data.

        Raises:
            ValueError: a selector this contract does not have, or malformed arguments.
        """
        for name, selector in self._selectors.items():
            if selector == data[:4]:
                inputs = self._functions[name]["inputs"]
                return name, _by_name(inputs, _decode(f"the arguments of {self.name}.{name}", inputs, data[4:]))
        raise ValueError(f"{self.name} has no function with selector 0x{data[:4].hex()}")

    def decode_error(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """The name and arguments of a refusal.

        Knows this contract's errors, those of both serving contracts (a call may pass on what the other one
        said), ``Error(string)`` and ``Panic(uint256)``. Empty data is ``("", {})``; a selector that none of
        them has is ``("unknown", {"data": data})``.
        """
        if not data:
            return "", {}
        selector = bytes(data[:4])
        entry = self._errors.get(selector) or _known_errors().get(selector)
        if entry is None:
            return "unknown", {"data": bytes(data)}
        values = _decode(f"error {entry['name']}", entry["inputs"], data[4:])
        return entry["name"], _by_name(entry["inputs"], values)

    def decode_log(self, address: str, topics: Sequence[bytes], data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Event name and arguments by name; None if the event is another contract's or not in the ABI."""
        if not topics or checksum_address(address) != self.address:
            return None
        entry = self._events.get(bytes(topics[0]))
        if entry is None:
            return None
        what = f"event {entry['name']}"
        indexed = [part for part in entry["inputs"] if part["indexed"]]
        plain = [part for part in entry["inputs"] if not part["indexed"]]
        found = _by_name(indexed, _decode(what, indexed, b"".join(topics[1:])))
        found |= _by_name(plain, _decode(what, plain, data))
        return entry["name"], {part["name"]: found[part["name"]] for part in entry["inputs"]}

    def selector(self, function: str) -> bytes:
        """The first four bytes of a function's call data.

        Raises:
            ValueError: unknown function.
        """
        self._function(function)
        return self._selectors[function]

    def topic(self, event: str) -> bytes:
        """The first topic of an event.

        Raises:
            ValueError: unknown event.
        """
        for topic, entry in self._events.items():
            if entry["name"] == event:
                return topic
        raise ValueError(f"{self.name} has no event {event!r}")

    def _function(self, name: str) -> Entry:
        try:
            return self._functions[name]
        except KeyError:
            raise ValueError(f"{self.name} has no function {name!r}") from None


@functools.cache
def ledger() -> Contract:
    """The local network's LedgerManager."""
    return Contract("LedgerManager", LEDGER_ADDRESS)


@functools.cache
def inference() -> Contract:
    """The local network's InferenceServing."""
    return Contract("InferenceServing", INFERENCE_ADDRESS)


def _errors_of(entries: Sequence[Entry]) -> dict[bytes, Entry]:
    return {keccak256(signature(entry).encode())[:4]: entry for entry in entries if entry["type"] == "error"}


@functools.cache
def _known_errors() -> Mapping[bytes, Entry]:
    # names may collide with different arguments, selectors mean the same everywhere (0g-abi)
    serving = (artifact(name)["abi"] for name in ("LedgerManager", "InferenceServing"))
    return functools.reduce(lambda known, abi: known | _errors_of(abi), serving, _errors_of(_STANDARD_ERRORS))


def _encode(what: str, parts: Sequence[Entry], args: Sequence[Any]) -> bytes:
    from eth_abi.abi import encode
    from eth_abi.exceptions import EncodingError

    if len(args) != len(parts):
        raise ValueError(f"{what} takes {len(parts)} arguments, not {len(args)}")
    try:
        return encode(
            [type_of(part) for part in parts], [_to_abi(part, arg) for part, arg in zip(parts, args, strict=True)]
        )
    except (EncodingError, TypeError) as error:
        raise ValueError(f"{what}: {error}") from error


def _decode(what: str, parts: Sequence[Entry], data: bytes) -> list[Any]:
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    if not parts:
        return []
    try:
        values = decode([type_of(part) for part in parts], bytes(data))
    except (DecodingError, OverflowError) as error:
        raise ValueError(f"{what} cannot be read: {error}") from error
    return [_from_abi(part, value) for part, value in zip(parts, values, strict=True)]


def _element(part: Entry) -> Entry:
    """The same argument without its last pair of brackets."""
    return {**part, "type": part["type"][: part["type"].rindex("[")]}


def _to_abi(part: Entry, value: Any) -> Any:
    kind: str = part["type"]
    if kind.endswith("]"):
        element = _element(part)
        return [_to_abi(element, item) for item in value]
    if kind == "tuple":
        components = part["components"]
        if isinstance(value, Mapping):
            missing = [component["name"] for component in components if component["name"] not in value]
            if missing or len(value) != len(components):
                raise ValueError(
                    f"{part['name']} needs the fields {[c['name'] for c in components]}, not {list(value)}"
                )
            value = [value[component["name"]] for component in components]
        return tuple(_to_abi(component, item) for component, item in zip(components, value, strict=True))
    return value


def _from_abi(part: Entry, value: Any) -> Any:
    kind: str = part["type"]
    if kind.endswith("]"):
        element = _element(part)
        return [_from_abi(element, item) for item in value]
    if kind == "tuple":
        return {
            component["name"]: _from_abi(component, item)
            for component, item in zip(part["components"], value, strict=True)
        }
    return checksum_address(value) if kind == "address" else value


def _by_name(parts: Sequence[Entry], values: Sequence[Any]) -> dict[str, Any]:
    return {part["name"] or str(index): value for index, (part, value) in enumerate(zip(parts, values, strict=True))}
