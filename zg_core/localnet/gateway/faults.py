"""Ways the RPC endpoint of a local network can misbehave on demand."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.meanings import fault_lines
from zg_core.localnet.gateway.dialects import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import TracebackType
    from typing import Self

SEND = "eth_sendRawTransaction"


class NodeFault(StrEnum):
    """The public names. `node_fault_meanings` has one line on each, with its options."""

    REPEATED = "repeated"
    ANSWERED_WITH_ERROR = "answered_with_error"
    ANSWER_LOST = "answer_lost"
    REQUEST_LOST = "request_lost"
    DROPPED = "dropped"
    DELAYED = "delayed"
    REFUSED = "refused"
    REWORDED = "reworded"
    LAGGING = "lagging"
    STUCK = "stuck"
    RECEIPT_HIDDEN = "receipt_hidden"
    TRANSACTION_HIDDEN = "transaction_hidden"
    RECEIPT_REVERTED = "receipt_reverted"
    COUNT_RAISED = "count_raised"
    PRICE_RAISED = "price_raised"
    RATE_LIMITED = "rate_limited"
    JUNK = "junk"
    CUT = "cut"
    BATCH_REFUSED = "batch_refused"
    SLOW = "slow"


_RECEIPT = frozenset({"eth_getTransactionReceipt"})
_STATE = frozenset(
    {
        "eth_blockNumber",
        "eth_call",
        "eth_getBalance",
        "eth_getBlockByNumber",
        "eth_getCode",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        *_RECEIPT,
    }
)
_ANY: frozenset[str] = frozenset()  # every method

# What each means, the options it has, and the methods it is about.
_MEANINGS: Mapping[NodeFault, tuple[str, Mapping[str, Any], frozenset[str]]] = MappingProxyType(
    {
        NodeFault.REPEATED: (
            "a transaction is taken and handed on once more; what is shown is the second answer (words='…': another)",
            {"words": None, "code": -32000},
            frozenset({SEND}),
        ),
        NodeFault.ANSWERED_WITH_ERROR: (
            "a transaction is taken, and the answer is an error",
            {"words": "request timed out", "code": -32000},
            frozenset({SEND}),
        ),
        NodeFault.ANSWER_LOST: (
            "a transaction is taken, and the connection is closed without an answer",
            {},
            frozenset({SEND}),
        ),
        NodeFault.REQUEST_LOST: (
            "a transaction is not taken, and the connection is closed without an answer",
            {},
            frozenset({SEND}),
        ),
        NodeFault.DROPPED: ("a transaction is answered with its hash and forgotten", {}, frozenset({SEND})),
        NodeFault.DELAYED: (
            "a transaction is answered with its hash, and handed on only after so many further requests",
            {"requests": 5},
            frozenset({SEND}),
        ),
        NodeFault.REFUSED: (
            "a transaction is not taken, and refused in these words",
            {"words": "txpool is full", "code": -32000},
            frozenset({SEND}),
        ),
        NodeFault.REWORDED: (
            f"refusals of transactions are told in the words of another node ({', '.join(DIALECTS)})",
            {"dialect": "nethermind"},
            frozenset({SEND}),
        ),
        NodeFault.LAGGING: (
            "the state, counts and receipts are those of so many blocks ago",
            {"blocks": 1},
            _STATE,
        ),
        NodeFault.STUCK: (
            "the state, counts and receipts stay those of one block; None: the newest one when it is first asked",
            {"block": None},
            _STATE,
        ),
        NodeFault.RECEIPT_HIDDEN: ("receipts are answered with null", {}, _RECEIPT),
        NodeFault.TRANSACTION_HIDDEN: (
            "transactions asked for by hash are answered with null",
            {},
            frozenset({"eth_getTransactionByHash"}),
        ),
        NodeFault.RECEIPT_REVERTED: ("receipts say that what succeeded was reverted", {}, _RECEIPT),
        NodeFault.COUNT_RAISED: (
            "more transactions of an account are counted than there are",
            {"by": 1},
            frozenset({"eth_getTransactionCount"}),
        ),
        NodeFault.PRICE_RAISED: (
            "gas is said to cost a tip of so many neuron",
            {"tip": 17 * 10**14},
            frozenset({"eth_gasPrice", "eth_maxPriorityFeePerGas"}),
        ),
        NodeFault.RATE_LIMITED: (
            "requests are refused for their number: form='error' (for each call), 'object' (one), 'http' (429)",
            {"form": "error", "seconds": 1},
            _ANY,
        ),
        NodeFault.JUNK: (
            "a page comes instead of an answer",
            {"status": 502, "body": "<html>Bad Gateway</html>"},
            _ANY,
        ),
        NodeFault.CUT: ("the connection is closed, and nothing is asked of the chain", {}, _ANY),
        NodeFault.BATCH_REFUSED: (
            "batches of more than `most` calls are refused: form='object', 'list' (of one error), or 'cut'",
            {"most": 1, "form": "object"},
            _ANY,
        ),
        NodeFault.SLOW: ("an answer comes so many seconds late, on the network's clock", {"seconds": 1.0}, _ANY),
    }
)
_CHOICES: Mapping[tuple[NodeFault, str], tuple[str, ...]] = MappingProxyType(
    {
        (NodeFault.REWORDED, "dialect"): tuple(DIALECTS),
        (NodeFault.RATE_LIMITED, "form"): ("error", "object", "http"),
        (NodeFault.BATCH_REFUSED, "form"): ("object", "list", "cut"),
    }
)


def node_fault_meanings() -> dict[str, str]:
    """One line on each fault, by public name, with the options it takes and their defaults."""
    return fault_lines((fault, meaning, options) for fault, (meaning, options, _) in _MEANINGS.items())


@dataclass
class ActiveNodeFault:
    """A fault that is set. As a context manager it is cleared on exit.

    Attributes:
        fault: Which.
        options: Its options, defaults filled in.
        remaining: For how many requests more; None until it is cleared.
        fired: How often it has fired.
        method: The only method it is about, None for all that it can be about.
    """

    fault: NodeFault
    options: dict[str, Any]
    remaining: int | None
    method: str | None
    then: Callable[[], None] | None = field(repr=False)
    plan: NodeFaultPlan = field(repr=False)
    fired: int = 0

    def clear(self) -> None:
        """Take it back; no error if it is used up."""
        self.plan.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


class NodeFaultPlan:
    """Which faults are set, and for how many requests more. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[ActiveNodeFault] = []

    def __bool__(self) -> bool:
        return bool(self._active)

    def add(
        self,
        fault: NodeFault | str,
        *,
        times: int | None = 1,
        method: str | None = None,
        then: Callable[[], None] | None = None,
        **options: Any,
    ) -> ActiveNodeFault:
        """Set a fault for the next `times` calls or requests that it is about (None: until cleared).

        Args:
            fault: Which, or its public name.
            times: How often.
            method: Only where this JSON-RPC method is asked for.
            then: Called when it has fired, before the client learns of it.
            options: See `node_fault_meanings`.

        Raises:
            ValueError: unknown fault, method or choice, or a count below 1.
            TypeError: an option this fault does not have.
        """
        try:
            fault = NodeFault(fault)
        except ValueError:
            raise ValueError(f"unknown fault {fault!r}; there are: {', '.join(NodeFault)}") from None
        if times is not None and times < 1:
            raise ValueError("times must be at least 1, or None for a standing fault")
        _, known, methods = _MEANINGS[fault]
        if method is not None and methods and method not in methods:
            raise ValueError(f"fault {fault.value} is about {', '.join(sorted(methods))}, not {method}")
        for name, value in options.items():
            if name not in known:
                raise TypeError(f"fault {fault.value} has no option {name!r}; it has: {', '.join(known) or 'none'}")
            choices = _CHOICES.get((fault, name))
            if choices is not None and value not in choices:
                raise ValueError(f"{name} of fault {fault.value} is one of {', '.join(choices)}, not {value!r}")
        active = ActiveNodeFault(fault, {**known, **options}, times, method, then, self)
        with self._lock:
            self._active.append(active)
        return active

    def remove(self, active: ActiveNodeFault) -> None:
        """Take one back."""
        with self._lock:
            self._active = [other for other in self._active if other is not active]

    def clear(self) -> None:
        """Take all back."""
        with self._lock:
            self._active = []

    def active(self) -> list[ActiveNodeFault]:
        """Those still set."""
        with self._lock:
            return list(self._active)

    def take(self, methods: Collection[str], *candidates: NodeFault) -> ActiveNodeFault | None:
        """The first of `candidates` that is set and about one of `methods`, counted down."""
        with self._lock:
            for active in self._active:
                about = _MEANINGS[active.fault][2]
                if active.fault not in candidates or (about and not about & set(methods)):
                    continue
                if active.method is not None and active.method not in methods:
                    continue
                active.fired += 1
                if active.remaining is not None:
                    active.remaining -= 1
                    if not active.remaining:
                        self._active.remove(active)
                return active
        return None
