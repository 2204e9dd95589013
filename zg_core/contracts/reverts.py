"""Every custom error of the two serving contracts: by selector, with what it means and what to do about it.

Selectors and arguments: 0g-abi "errors"; when each is raised: 0g-contracts B and C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zg_core.crypto import checksum_address
from zg_core.errors import TransactionReverted

__all__ = ["ERRORS", "CustomError", "Revert", "decode_revert", "reverted"]


@dataclass(frozen=True, slots=True)
class CustomError:
    """One error that a contract declares.

    Attributes:
        name: Its Solidity name.
        arguments: Name and type of each argument.
        meaning: One sentence; ``{name}`` stands for an argument, ``{name:0G}`` for one that is an amount in neuron.
        hint: What to run or change, in the same form.
    """

    name: str
    arguments: tuple[tuple[str, str], ...]
    meaning: str
    hint: str

    @property
    def signature(self) -> str:
        """``Name(type,type)``, from which the selector is hashed."""
        return f"{self.name}({','.join(kind for _, kind in self.arguments)})"


def _error(declaration: str, meaning: str, hint: str) -> CustomError:
    name, _, inner = declaration.removesuffix(")").partition("(")
    pairs = (part.split() for part in inner.split(",") if part)
    return CustomError(name, tuple((label, kind) for kind, label in pairs), meaning, hint)


_BUG = "this call is not meant for users; please report how you got here"
_OWNER = "only the owner of the contracts can do this"
_PROVIDER = "this concerns providers only; check which contract and function you call"

ERRORS: dict[str, CustomError] = {
    # LedgerManager
    "0x69e0a42c": _error(
        "AdditionalInfoTooLong(uint256 length,uint256 max)",
        "the ledger's text has {length} bytes, at most {max} are allowed",
        "shorten additional_info",
    ),
    "0x0dc149f0": _error("AlreadyInitialized()", "the contract is initialised already", _OWNER),
    "0x3204506f": _error(
        "CallFailed()",
        "the serving contract refused the transfer, and the ledger contract does not pass on why",
        "the provider may not be your own or the zero address; ZEROG_LEDGER and ZEROG_INFERENCE must belong together",
    ),
    "0x1b8815cf": _error(
        "CallerNotRegisteredService(address caller)", "{caller} is no registered service of the ledger", _BUG
    ),
    "0x0f3342be": _error(
        "DirectDepositsDisabled()",
        "the contract takes no plain coin transfers",
        "use `zerog deposit` (Broker.deposit) instead of sending coins to the contract",
    ),
    "0xadb9e043": _error(
        "InsufficientAvailableBalance(uint256 available,uint256 required)",
        "the ledger has {available:0G} available, {required:0G} are needed",
        "add the difference with `zerog deposit`, or get back what other providers hold with `zerog retrieve`",
    ),
    "0x897f6c58": _error(
        "InsufficientBalance(address user)",
        "the ledger of {user} has less available than is asked for",
        "see `zerog account`; what lies in sub-accounts comes back with `zerog retrieve`",
    ),
    "0xc9b70e7a": _error(
        "InvalidServiceAddress(address serviceAddress)", "{serviceAddress} cannot be registered as a service", _OWNER
    ),
    "0x6753c722": _error("InvalidServiceType(string serviceType)", "{serviceType!r} is no type of service", _OWNER),
    "0xcde58aa1": _error(
        "LedgerExists(address user)",
        "{user} has a ledger already",
        "top it up with `zerog deposit` (Broker.deposit) instead of add_ledger",
    ),
    "0x689e300a": _error(
        "LedgerLocked()",
        "another call on this ledger is under way in the same transaction",
        "a contract wallet must not call the ledger from its receive function",
    ),
    "0x7d2d536b": _error(
        "LedgerNotExists(address user)", "{user} has no ledger", "make one with `zerog deposit 3` (at least 3 0G)"
    ),
    "0x54443ec4": _error(
        "MinimumDepositRequired(uint256 provided,uint256 required)",
        "{provided:0G} is below the contract's minimum of {required:0G}",
        "a new ledger and what a refund leaves take at least 3 0G (or a refund leaves nothing), a new sub-account 1 0G",
    ),
    "0xf6ba0ebf": _error(
        "MustWithdrawAllFundsFirst(uint256 remainingBalance)",
        "the ledger still holds {remainingBalance:0G}, sub-accounts included",
        "run `zerog retrieve`, wait for the lock time, run it again, then `zerog refund all`",
    ),
    "0x5beadfcc": _error(
        "NoRecommendedService(string serviceType)",
        "no service of type {serviceType!r} is recommended",
        "check the type: the one of this package is 'inference'",
    ),
    "0xa6ea5e72": _error(
        "ServiceAlreadyRegistered(address serviceAddress)", "the service {serviceAddress} is registered already", _OWNER
    ),
    "0x2c433b7e": _error(
        "ServiceMustImplementIServing(address serviceAddress)", "{serviceAddress} is no serving contract", _OWNER
    ),
    "0x15fcdbac": _error(
        "ServiceNameExists(string serviceName)", "a service called {serviceName!r} is registered already", _OWNER
    ),
    "0xb5365807": _error(
        "ServiceNotFound(address serviceAddress)",
        "the ledger contract knows no service of that name",
        "check that ZEROG_LEDGER and ZEROG_INFERENCE belong together, or leave both unset",
    ),
    "0x7a0d2d91": _error(
        "ServiceNotRegistered(address serviceAddress)", "the service {serviceAddress} is not registered", _OWNER
    ),
    "0xf1d44a51": _error(
        "ServiceRegistryLimitReached(uint256 limit)", "the ledger has its {limit} services already", _OWNER
    ),
    "0x8dfa0f6f": _error("ServiceTypeRequired()", "a service needs a type", _OWNER),
    "0x829e4c32": _error(
        "TooManyProviders(uint256 requested,uint256 maximum)",
        "{requested} providers in one call, at most {maximum} are allowed",
        "retrieve in batches (Broker.retrieve does)",
    ),
    "0xe9499337": _error(
        "TooManyProvidersForService(uint256 current,uint256 maximum)",
        "the ledger has sub-accounts at {current} providers, at most {maximum} are allowed",
        "use a provider that has a sub-account, or another wallet; they go away when the ledger is emptied and deleted",
    ),
    "0x90b8ec18": _error(
        "TransferFailed()",
        "the coins could not be handed over",
        "the receiver is a contract that refuses coins; use an address that takes them",
    ),
    "0x742622a8": _error("VersionRequired()", "a service needs a version", _OWNER),
    "0x8579befe": _error(
        "ZeroAddressNotAllowed()", "the zero address cannot have a ledger", "give the recipient's address"
    ),
    "0x0f43956a": _error("ZeroAmountNotAllowed()", "a deposit of 0 is refused", "deposit more than 0"),
    # InferenceServing
    "0xb3c19d64": _error(
        "AccountExists(address user,address provider)", "{user} has a sub-account at {provider} already", _BUG
    ),
    "0x08ca03ac": _error(
        "AccountNotExists(address user,address provider)",
        "{user} has no sub-account at provider {provider}",
        "make one with `zerog transfer {provider} 1.1`; it acknowledges the provider, too",
    ),
    "0xef54fd9d": _error("AdditionalInfoTooLong()", "the service's additionalInfo has more than 4096 bytes", _PROVIDER),
    "0x01df19f6": _error(
        "BatchSizeTooLarge(uint256 size,uint256 max)",
        "{size} users in one call, at most {max} are allowed",
        "ask for fewer",
    ),
    "0x52446b87": _error(
        "CallerNotLedger(address caller)",
        "{caller} is not the ledger contract",
        "move money through the ledger: `zerog transfer`, `zerog retrieve`",
    ),
    "0x96ab6ec5": _error("CannotAddStakeWhenUpdating()", "a registered service takes no further stake", _PROVIDER),
    "0xfaa23877": _error(
        "CannotRevokeWithNonZeroBalance(address user,address provider,uint256 balance)",
        "the sub-account of {user} at {provider} still holds {balance:0G}, so its acknowledgement stays",
        "run `zerog retrieve`, wait for the lock time, and run it again",
    ),
    "0x45be0a26": _error(
        "InsufficientStake(uint256 provided,uint256 required)",
        "a provider stakes {required:0G}, {provided:0G} were sent",
        _PROVIDER,
    ),
    "0x8e4c8aa6": _error("InvalidAddress(address addr)", "{addr} cannot have a sub-account", "give a real address"),
    "0x48f72277": _error("InvalidTEESignature(string reason)", "the TEE signature is not valid: {reason}", _PROVIDER),
    "0x062ba4db": _error(
        "LimitTooLarge(uint256 limit,uint256 max)",
        "a page of {limit} was asked for, at most {max} are allowed",
        "ask for smaller pages",
    ),
    "0xa730f674": _error(
        "LockTimeOutOfRange(uint256 lockTime,uint256 min,uint256 max)",
        "a lock time of {lockTime} s is not between {min} and {max} s",
        _OWNER,
    ),
    "0x192912c9": _error("NoSettlementsProvided()", "the settlement is empty", _PROVIDER),
    "0x99ed87d8": _error(
        "ProviderCannotBeUser()", "a provider cannot be its own user", "choose a provider that is not your own address"
    ),
    "0x098eda7e": _error(
        "ServiceNotExist(address provider)",
        "{provider} has no service registered",
        "see `zerog providers`; if it is on another network, set ZEROG_NETWORK (network=…)",
    ),
    "0x9edd285f": _error(
        "TooManyRefunds(address user,address provider)",
        "five refunds of {user} at {provider} are pending, no more fit",
        "wait until the oldest one's lock time is over, then run `zerog retrieve` again",
    ),
    "0xf1c82a57": _error(
        "TooManySettlements(uint256 count,uint256 max)", "{count} settlements in one call, at most {max}", _PROVIDER
    ),
    # Solidity itself
    "0x08c379a0": _error("Error(string reason)", "the contract says: {reason}", "see the message"),
    "0x4e487b71": _error(
        "Panic(uint256 panicCode)",
        "the contract failed inside (panic {panicCode:#x})",
        "please report how you got here",
    ),
}
"""Every error of LedgerManager and InferenceServing, and Solidity's own two, by selector."""


@dataclass(frozen=True, slots=True)
class Revert:
    """Why a call reverted, decoded.

    Attributes:
        name: Name of the error, "" for one that neither contract declares.
        arguments: Its arguments by name.
        meaning: One sentence for people.
        hint: What to do.
        data: The raw revert data, 0x.
    """

    name: str
    arguments: dict[str, Any]
    meaning: str
    hint: str
    data: str


def decode_revert(data: str) -> Revert:
    """What revert data says; data that is empty or unknown gives a `Revert` without a name."""
    known = ERRORS.get(data[:10].lower())
    if known is None:
        what = f"with unknown data {data[:74]}" if len(data) > 2 else "without a reason"
        hint = "check that ZEROG_LEDGER and ZEROG_INFERENCE are the contracts of this network"
        return Revert("", {}, f"the contract reverted {what}", hint, data)
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    try:
        values = decode([kind for _, kind in known.arguments], bytes.fromhex(data[10:]))
    except (DecodingError, ValueError, OverflowError):
        return Revert(known.name, {}, f"the contract reverted with {known.name}", "", data)
    arguments = {
        name: checksum_address(value) if kind == "address" else value
        for (name, kind), value in zip(known.arguments, values, strict=True)
    }
    shown = {name: _Shown(value) for name, value in arguments.items()}
    return Revert(known.name, arguments, known.meaning.format(**shown), known.hint.format(**shown), data)


def reverted(data: str, what: str, **details: Any) -> TransactionReverted:
    """The error for a call that reverted with `data`.

    Args:
        data: Revert data, 0x.
        what: The function that was called, for the message.
        **details: Further facts, such as ``transaction``.
    """
    revert = decode_revert(data)
    name = f" ({revert.name})" if revert.name else ""
    return TransactionReverted(
        f"{what} is refused by the contract: {revert.meaning}{name}",
        hint=revert.hint,
        name=revert.name,
        arguments=revert.arguments,
        meaning=revert.meaning,
        data=data,
        **details,
    )


class _Shown:
    """An argument inside a sentence: ``{x:0G}`` shows neuron as 0G."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __format__(self, spec: str) -> str:
        if spec == "0G":
            from zg_core.money import Amount

            return str(Amount(self._value))
        return format(self._value, spec)

    def __repr__(self) -> str:
        return repr(self._value)
