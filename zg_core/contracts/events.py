"""Events of the two serving contracts, decoded from the logs of a transaction (0g-abi "events")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.crypto import checksum_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["EVENTS", "ContractEvent", "decode_logs"]


@dataclass(frozen=True, slots=True)
class ContractEvent:
    """One event: its name, the contract that emitted it, and its arguments by name (amounts in neuron)."""

    name: str
    contract: str
    arguments: dict[str, Any]


# topic0: name and arguments; an asterisk marks an indexed one.
EVENTS: dict[str, tuple[str, str]] = {
    "0x6f81b9cf4ed9328799879be7651da4420ab1bc260b34ea71f72e9659aa548e68": (
        "FundSpent",
        "*user:address,*service:address,amount:uint256",
    ),
    "0x7f26b83ff96e1f2b6a682f133852f6798a09c465da95921460cefb3847402498": ("Initialized", "version:uint8"),
    "0x12d213c9bc59dc8d250f0d6aba2d21e4e500a72a76621a44600697a285833fb1": (
        "LedgerInfoUpdated",
        "*user:address,additionalInfo:string",
    ),
    "0x8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0": (
        "OwnershipTransferred",
        "*previousOwner:address,*newOwner:address",
    ),
    "0x22cc4700d5c4d3ff57ddfb4bb70d5a0e1bed5c060482e8eeeb8672d4471ad5e2": (
        "RecommendedServiceUpdated",
        "serviceType:string,version:string,serviceAddress:address",
    ),
    "0x4c76643f3c678c590db6e8ad9fe0bb6e75d36cb853c3bd06c487607ff35e6f71": (
        "ServiceRegistered",
        "*serviceAddress:address,serviceName:string",
    ),
    "0x342d961f860d5b1c27877a790eff2b213c020d1955a4903d6a9bf3ed590b7cd7": (
        "AccountDeleted",
        "*user:address,*provider:address,refundedAmount:uint256",
    ),
    "0x989726e0ba0fa7747d8a6618329b929bfcc4f3ac46de5930a368310944f75547": (
        "AllTokensRevoked",
        "*user:address,*provider:address,newGeneration:uint256",
    ),
    "0x526824944047da5b81071fb6349412005c5da81380b336103fbe5dd34556c776": (
        "BalanceUpdated",
        "*user:address,*provider:address,amount:uint256,pendingRefund:uint256",
    ),
    "0xd384db5eeac71810277e2e83c4ea8a5de5c7e8c62ed87dc2855b73e005932adc": (
        "BatchBalanceUpdated",
        "users:address[],balances:uint256[],pendingRefunds:uint256[]",
    ),
    "0x9e1c480deaf2caaa9170098a3275b53d208beaeb277601363025975cf8274eb6": (
        "ContractInitialized",
        "*owner:address,lockTime:uint256,ledgerAddress:address",
    ),
    "0x5707a70527b6cbb892bfe5d8739a8f0643d3212d9b1139bc31c742e731c65270": (
        "LockTimeUpdated",
        "oldLockTime:uint256,newLockTime:uint256",
    ),
    "0x17f7db034d4b59fadec3e44a684cb4396ca10fd036c4e4f718bf06e993715882": (
        "ProviderStakeReturned",
        "*provider:address,amount:uint256",
    ),
    "0xcd6dbb0e62eeb71e114bae8b2e2547921dd19209bebf32b595be3e7d247dbbb4": (
        "ProviderStaked",
        "*provider:address,amount:uint256",
    ),
    "0x4909107c46469d21135443e891c6ecae55b5baa31b338d50f391935308b08f89": (
        "ProviderTEESignerAcknowledged",
        "*provider:address,*teeSignerAddress:address,acknowledged:bool",
    ),
    "0x54377dfdebf06f6df53fbda737d2dcd7e141f95bbfb0c1223437e856b9de3ac3": (
        "RefundRequested",
        "*user:address,*provider:address,*index:uint256,timestamp:uint256",
    ),
    "0x29d546abb6e94f4f04d5bdccb6682316f597d43776078f47e273f000e77b2a91": ("ServiceRemoved", "*service:address"),
    "0x30ecc203691b2d18e17ee75d47caf34a3fb9f86e855f7e0414d3cec26d0c424b": (
        "ServiceUpdated",
        (
            "*service:address,serviceType:string,url:string,inputPrice:uint256,outputPrice:uint256,updatedAt:uint256,"
            "model:string,verifiability:string"
        ),
    ),
    "0x1f69e5b87fd0ce34b3760ba6e5d8aa95a36e316c3ba44e1e65a9d0eb9e96d0bf": (
        "TEESettlementResult",
        "*user:address,status:uint8,unsettledAmount:uint256",
    ),
    "0xcf558f061a5a4e28657b8e5c662b95b8258d880896e7a859299457be036ed4a4": (
        "TokenRevoked",
        "*user:address,*provider:address,tokenId:uint8",
    ),
    "0x70147140547b3e1660123a6725577c5574b4d40747abe6ff7c458f449e18b84f": (
        "TokensRevoked",
        "*user:address,*provider:address,tokenIds:uint8[]",
    ),
}


def decode_logs(logs: Iterable[Mapping[str, Any]]) -> tuple[ContractEvent, ...]:
    """The events among the logs of a receipt, in order; logs of other contracts' events are left out.

    Raises:
        ValueError: a log does not fit the event it claims to be.
    """
    found = (_decode(log) for log in logs)
    return tuple(event for event in found if event is not None)


def _decode(log: Mapping[str, Any]) -> ContractEvent | None:
    topics = log["topics"]
    known = EVENTS.get(topics[0].lower()) if topics else None
    if known is None:
        return None
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    name, declaration = known
    pairs = [part.split(":") for part in declaration.split(",")]
    try:
        plain = iter(decode([kind for label, kind in pairs if label[0] != "*"], bytes.fromhex(log["data"][2:])))
        indexed = iter(topics[1:])
        arguments = {
            label.lstrip("*"): _clean(
                kind, decode([kind], bytes.fromhex(next(indexed)[2:]))[0] if label[0] == "*" else next(plain)
            )
            for label, kind in pairs
        }
    except (DecodingError, StopIteration, TypeError) as error:
        raise ValueError(f"a log is no {name}: {error}") from error
    return ContractEvent(name, checksum_address(log["address"]), arguments)


def _clean(kind: str, value: Any) -> Any:
    if kind == "address":
        return checksum_address(value)
    if kind == "address[]":
        return [checksum_address(each) for each in value]
    return list(value) if kind.endswith("[]") else value
