"""The ABI that clients and providers meet, against a table written from the interface notes (0g-abi)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from zg_core.localnet.base.keys import keccak256
from zg_core.localnet.chain import abi

# In these tables a line that starts with spaces continues the line before it.

# Fields in ABI order; the other tables name structs instead of writing the tuples out.
STRUCTS = """
ServiceInfo: address serviceAddress, address serviceContract, string serviceType, string version, string
  fullName, string description, bool isRecommended, uint256 registeredAt
Ledger: address user, uint256 availableBalance, uint256 totalBalance, string additionalInfo
ServiceParams: string serviceType, string url, string model, string verifiability, uint256 inputPrice,
  uint256 outputPrice, string additionalInfo, address teeSignerAddress
Account: address user, address provider, uint256 nonce, uint256 balance, uint256 pendingRefund, Refund[]
  refunds, string additionalInfo, bool acknowledged, uint256 validRefundsLength, uint256 generation,
  uint256 revokedBitmap
Refund: uint256 index, uint256 amount, uint256 createdAt, bool processed
Service: address provider, string serviceType, string url, uint256 inputPrice, uint256 outputPrice,
  uint256 updatedAt, string model, string verifiability, string additionalInfo, address
  teeSignerAddress, bool teeSignerAcknowledged
TEESettlementData: address user, address provider, uint256 totalFee, bytes32 requestsHash, uint256
  nonce, bytes signature
"""

LEDGER_FUNCTIONS = """
0xc5e53f7e payable addLedger(string additionalInfo) -> uint256, uint256
0x410b3815 nonpayable deleteLedger()
0x8d0d8cb6 payable depositFund()
0xf585f3ea payable depositFundFor(address recipient)
0xc4d66de8 nonpayable initialize(address owner)
0x278ecde1 nonpayable refund(uint256 amount)
0x1ef4dc44 nonpayable registerService(string serviceType, string version, address serviceAddress, string
  description)
0x715018a6 nonpayable renounceOwnership()
0x31404a19 nonpayable retrieveFund(address[] providers, string serviceName)
0x8158c9e5 nonpayable setRecommendedService(string serviceType, string version)
0xdd8a4118 nonpayable spendFund(address user, uint256 amount)
0x2ba43b82 nonpayable transferFund(address provider, string serviceName, uint256 amount)
0xf2fde38b nonpayable transferOwnership(address newOwner)
0xffc22b5f nonpayable updateAdditionalInfo(string additionalInfo)
0xe374248d view MAX_ADDITIONAL_INFO_LENGTH() -> uint256
0x9449fe17 view MAX_PROVIDERS_PER_BATCH() -> uint256
0x73ef900f view MAX_PROVIDERS_PER_USER_PER_SERVICE() -> uint256
0x07940ea2 view MAX_SERVICES() -> uint256
0xac30b622 view MIN_ACCOUNT_BALANCE() -> uint256
0x3c3dbbc7 view MIN_TRANSFER_AMOUNT() -> uint256
0x9ade3972 view getAllActiveServices() -> ServiceInfo[]
0x987086f0 view getAllLedgers(uint256 offset, uint256 limit) -> Ledger[] ledgers, uint256 total
0xd4dca96d view getAllVersions(string serviceType) -> string[] versions, address[] addresses, bool[]
  isRecommendedFlags
0xf7cd6af9 view getLedger(address user) -> Ledger
0xaef42173 view getLedgerProviders(address user, string serviceName) -> address[]
0x0e864174 view getRecommendedService(string serviceType) -> string version, address serviceAddress
0xb8d5e581 view getServiceAddressByName(string serviceName) -> address
0xe032f732 view getServiceInfo(address serviceAddress) -> ServiceInfo
0x158ef93e view initialized() -> bool
0xa2610565 view isRecommendedVersion(string serviceType, string version) -> bool
0x8da5cb5b view owner() -> address
"""

LEDGER_ERRORS = """
0x69e0a42c AdditionalInfoTooLong(uint256 length, uint256 max)
0x0dc149f0 AlreadyInitialized()
0x3204506f CallFailed()
0x1b8815cf CallerNotRegisteredService(address caller)
0x0f3342be DirectDepositsDisabled()
0xadb9e043 InsufficientAvailableBalance(uint256 available, uint256 required)
0x897f6c58 InsufficientBalance(address user)
0xc9b70e7a InvalidServiceAddress(address serviceAddress)
0x6753c722 InvalidServiceType(string serviceType)
0xcde58aa1 LedgerExists(address user)
0x689e300a LedgerLocked()
0x7d2d536b LedgerNotExists(address user)
0x54443ec4 MinimumDepositRequired(uint256 provided, uint256 required)
0xf6ba0ebf MustWithdrawAllFundsFirst(uint256 remainingBalance)
0x5beadfcc NoRecommendedService(string serviceType)
0xa6ea5e72 ServiceAlreadyRegistered(address serviceAddress)
0x2c433b7e ServiceMustImplementIServing(address serviceAddress)
0x15fcdbac ServiceNameExists(string serviceName)
0xb5365807 ServiceNotFound(address serviceAddress)
0x7a0d2d91 ServiceNotRegistered(address serviceAddress)
0xf1d44a51 ServiceRegistryLimitReached(uint256 limit)
0x8dfa0f6f ServiceTypeRequired()
0x829e4c32 TooManyProviders(uint256 requested, uint256 maximum)
0xe9499337 TooManyProvidersForService(uint256 current, uint256 maximum)
0x90b8ec18 TransferFailed()
0x742622a8 VersionRequired()
0x8579befe ZeroAddressNotAllowed()
0x0f43956a ZeroAmountNotAllowed()
"""

LEDGER_EVENTS = """
0x6f81b9cf4ed9328799879be7651da4420ab1bc260b34ea71f72e9659aa548e68 FundSpent(address indexed user,
  address indexed service, uint256 amount)
0x7f26b83ff96e1f2b6a682f133852f6798a09c465da95921460cefb3847402498 Initialized(uint8 version)
0x12d213c9bc59dc8d250f0d6aba2d21e4e500a72a76621a44600697a285833fb1 LedgerInfoUpdated(address indexed
  user, string additionalInfo)
0x8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0 OwnershipTransferred(address indexed
  previousOwner, address indexed newOwner)
0x22cc4700d5c4d3ff57ddfb4bb70d5a0e1bed5c060482e8eeeb8672d4471ad5e2 RecommendedServiceUpdated(string
  serviceType, string version, address serviceAddress)
0x4c76643f3c678c590db6e8ad9fe0bb6e75d36cb853c3bd06c487607ff35e6f71 ServiceRegistered(address indexed
  serviceAddress, string serviceName)
"""

SERVING_FUNCTIONS = """
0x7ff6fc1c nonpayable acknowledgeTEESigner(address provider, bool acknowledged)
0xb2394d09 nonpayable acknowledgeTEESignerByOwner(address provider)
0xe50688f9 payable addAccount(address user, address provider, string additionalInfo)
0x398c8e4e payable addOrUpdateService(ServiceParams params)
0x97216725 nonpayable deleteAccount(address user, address provider)
0x745e87f7 payable depositFund(address user, address provider, uint256 cancelRetrievingAmount)
0xb4988fd0 nonpayable initialize(uint256 _locktime, address _ledgerAddress, address owner)
0x4e3c4f22 nonpayable processRefund(address user, address provider) -> uint256 totalAmount, uint256
  balance, uint256 pendingRefund
0xbbee42d9 nonpayable removeService()
0x715018a6 nonpayable renounceOwnership()
0x6c79158d nonpayable requestRefundAll(address user, address provider)
0xcab33d8f nonpayable revokeAllTokens(address provider)
0xddf96abd nonpayable revokeTEESignerAcknowledgement(address provider)
0x1d07cb97 nonpayable revokeToken(address provider, uint8 tokenId)
0x17c30a03 nonpayable revokeTokens(address provider, uint8[] tokenIds)
0x8be74119 nonpayable settleFeesWithTEE(TEESettlementData[] settlements) -> uint8[] statuses
0xf2fde38b nonpayable transferOwnership(address newOwner)
0xfbfa4e11 nonpayable updateLockTime(uint256 _locktime)
0x3ea527cb view MAX_LOCKTIME() -> uint256
0xad6dca3f view MIN_LOCKTIME() -> uint256
0x650190e7 view MIN_PROVIDER_STAKE() -> uint256
0x147500e3 view accountExists(address user, address provider) -> bool
0xfd590847 view getAccount(address user, address provider) -> Account
0x1d73b9f5 view getAccountsByProvider(address provider, uint256 offset, uint256 limit) -> Account[]
  accounts, uint256 total
0x4fe63f4d view getAccountsByUser(address user, uint256 offset, uint256 limit) -> Account[] accounts,
  uint256 total
0x5bd7ace2 view getAllAccounts(uint256 offset, uint256 limit) -> Account[] accounts, uint256 total
0xa09cfca9 view getAllServices(uint256 offset, uint256 limit) -> Service[] services, uint256 total
0xba16a750 view getBatchAccountsByUsers(address[] users) -> Account[] accounts
0x264173d6 view getPendingRefund(address user, address provider) -> uint256
0x15a52302 view getService(address provider) -> Service service
0x158ef93e view initialized() -> bool
0x405a85e8 view isTokenRevoked(address user, address provider, uint8 tokenId) -> bool
0xd1d20056 view ledgerAddress() -> address
0x0d668087 view lockTime() -> uint256
0x8da5cb5b view owner() -> address
0x28b60476 view previewSettlementResults(TEESettlementData[] settlements) -> address[] failedUsers,
  uint8[] failureReasons, address[] partialUsers, uint256[] partialAmounts
0x0a2a8f88 view serviceExists(address provider) -> bool
0x01ffc9a7 view supportsInterface(bytes4 interfaceId) -> bool
"""

SERVING_ERRORS = """
0xb3c19d64 AccountExists(address user, address provider)
0x08ca03ac AccountNotExists(address user, address provider)
0xef54fd9d AdditionalInfoTooLong()
0x0dc149f0 AlreadyInitialized()
0x01df19f6 BatchSizeTooLarge(uint256 size, uint256 max)
0x52446b87 CallerNotLedger(address caller)
0x96ab6ec5 CannotAddStakeWhenUpdating()
0xfaa23877 CannotRevokeWithNonZeroBalance(address user, address provider, uint256 balance)
0x0f3342be DirectDepositsDisabled()
0x45be0a26 InsufficientStake(uint256 provided, uint256 required)
0x8e4c8aa6 InvalidAddress(address addr)
0x48f72277 InvalidTEESignature(string reason)
0x062ba4db LimitTooLarge(uint256 limit, uint256 max)
0xa730f674 LockTimeOutOfRange(uint256 lockTime, uint256 min, uint256 max)
0x192912c9 NoSettlementsProvided()
0x99ed87d8 ProviderCannotBeUser()
0x098eda7e ServiceNotExist(address provider)
0x9edd285f TooManyRefunds(address user, address provider)
0xf1c82a57 TooManySettlements(uint256 count, uint256 max)
0x90b8ec18 TransferFailed()
"""

SERVING_EVENTS = """
0x342d961f860d5b1c27877a790eff2b213c020d1955a4903d6a9bf3ed590b7cd7 AccountDeleted(address indexed user,
  address indexed provider, uint256 refundedAmount)
0x989726e0ba0fa7747d8a6618329b929bfcc4f3ac46de5930a368310944f75547 AllTokensRevoked(address indexed
  user, address indexed provider, uint256 newGeneration)
0x526824944047da5b81071fb6349412005c5da81380b336103fbe5dd34556c776 BalanceUpdated(address indexed user,
  address indexed provider, uint256 amount, uint256 pendingRefund)
0xd384db5eeac71810277e2e83c4ea8a5de5c7e8c62ed87dc2855b73e005932adc BatchBalanceUpdated(address[] users,
  uint256[] balances, uint256[] pendingRefunds)
0x9e1c480deaf2caaa9170098a3275b53d208beaeb277601363025975cf8274eb6 ContractInitialized(address indexed
  owner, uint256 lockTime, address ledgerAddress)
0x7f26b83ff96e1f2b6a682f133852f6798a09c465da95921460cefb3847402498 Initialized(uint8 version)
0x5707a70527b6cbb892bfe5d8739a8f0643d3212d9b1139bc31c742e731c65270 LockTimeUpdated(uint256 oldLockTime,
  uint256 newLockTime)
0x8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0 OwnershipTransferred(address indexed
  previousOwner, address indexed newOwner)
0x17f7db034d4b59fadec3e44a684cb4396ca10fd036c4e4f718bf06e993715882 ProviderStakeReturned(address indexed
  provider, uint256 amount)
0xcd6dbb0e62eeb71e114bae8b2e2547921dd19209bebf32b595be3e7d247dbbb4 ProviderStaked(address indexed
  provider, uint256 amount)
0x4909107c46469d21135443e891c6ecae55b5baa31b338d50f391935308b08f89 ProviderTEESignerAcknowledged(address
  indexed provider, address indexed teeSignerAddress, bool acknowledged)
0x54377dfdebf06f6df53fbda737d2dcd7e141f95bbfb0c1223437e856b9de3ac3 RefundRequested(address indexed user,
  address indexed provider, uint256 indexed index, uint256 timestamp)
0x29d546abb6e94f4f04d5bdccb6682316f597d43776078f47e273f000e77b2a91 ServiceRemoved(address indexed
  service)
0x30ecc203691b2d18e17ee75d47caf34a3fb9f86e855f7e0414d3cec26d0c424b ServiceUpdated(address indexed
  service, string serviceType, string url, uint256 inputPrice, uint256 outputPrice, uint256 updatedAt,
  string model, string verifiability)
0x1f69e5b87fd0ce34b3760ba6e5d8aa95a36e316c3ba44e1e65a9d0eb9e96d0bf TEESettlementResult(address indexed
  user, uint8 status, uint256 unsettledAmount)
0xcf558f061a5a4e28657b8e5c662b95b8258d880896e7a859299457be036ed4a4 TokenRevoked(address indexed user,
  address indexed provider, uint8 tokenId)
0x70147140547b3e1660123a6725577c5574b4d40747abe6ff7c458f449e18b84f TokensRevoked(address indexed user,
  address indexed provider, uint8[] tokenIds)
"""

TABLES = {
    ("LedgerManager", "function"): LEDGER_FUNCTIONS,
    ("LedgerManager", "error"): LEDGER_ERRORS,
    ("LedgerManager", "event"): LEDGER_EVENTS,
    ("InferenceServing", "function"): SERVING_FUNCTIONS,
    ("InferenceServing", "error"): SERVING_ERRORS,
    ("InferenceServing", "event"): SERVING_EVENTS,
}
CONTRACTS = ("LedgerManager", "InferenceServing")


def lines(table: str) -> list[str]:
    return table.replace("\n  ", " ").strip().splitlines()


def named(part: Mapping[str, Any]) -> str:
    """An argument as the tables write it."""
    kind: str = part["type"]
    if kind.startswith("tuple"):
        kind = part["internalType"].removeprefix("struct ")
    return " ".join(word for word in (kind, "indexed" if part.get("indexed") else "", part["name"]) if word)


def described(entry: Mapping[str, Any]) -> str:
    """An ABI entry as the tables write it."""
    digest = keccak256(abi.signature(entry).encode())
    line = f"{entry['name']}({', '.join(map(named, entry['inputs']))})"
    if entry["type"] == "event":
        return f"0x{digest.hex()} {line}"
    if entry["type"] == "function":
        outputs = ", ".join(map(named, entry["outputs"]))
        line = f"{entry['stateMutability']} {line}" + (f" -> {outputs}" if outputs else "")
    return f"0x{digest[:4].hex()} {line}"


def structs_in(parts: list[dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        if part["type"].startswith("tuple"):
            name = part["internalType"].removeprefix("struct ").rstrip("[]")
            yield f"{name}: {', '.join(map(named, part['components']))}"
            yield from structs_in(part["components"])


@pytest.mark.parametrize(("contract", "kind"), TABLES, ids=str)
def test_every_entry_has_the_selector_names_types_and_mutability_of_the_notes(contract: str, kind: str) -> None:
    entries = [entry for entry in abi.artifact(contract)["abi"] if entry["type"] == kind]
    assert sorted(map(described, entries)) == sorted(lines(TABLES[contract, kind]))


def test_structs_have_the_fields_of_the_notes_in_their_order() -> None:
    found = {
        line
        for contract in CONTRACTS
        for entry in abi.artifact(contract)["abi"]
        for line in structs_in([*entry.get("inputs", []), *entry.get("outputs", [])])
    }
    assert sorted(found) == sorted(lines(STRUCTS))


@pytest.mark.parametrize("contract", CONTRACTS)
def test_there_is_a_receive_function_no_fallback_and_a_plain_constructor(contract: str) -> None:
    rest = [entry for entry in abi.artifact(contract)["abi"] if entry["type"] not in {"function", "error", "event"}]
    assert rest == [
        {"inputs": [], "stateMutability": "nonpayable", "type": "constructor"},
        {"stateMutability": "payable", "type": "receive"},
    ]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_no_event_is_anonymous(contract: str) -> None:
    events = [entry for entry in abi.artifact(contract)["abi"] if entry["type"] == "event"]
    assert [entry["name"] for entry in events if entry["anonymous"]] == []


def test_the_interface_of_a_service_is_the_xor_of_its_seven_selectors() -> None:
    seven = (
        "accountExists",
        "getPendingRefund",
        "addAccount",
        "depositFund",
        "requestRefundAll",
        "processRefund",
        "deleteAccount",
    )
    interface = 0
    for function in seven:
        interface ^= int.from_bytes(abi.inference().selector(function), "big")
    assert hex(interface) == "0x160841b1"


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_code_fits_the_limit_of_a_real_network(contract: str) -> None:
    assert (len(abi.artifact(contract)["deployedBytecode"]) - 2) // 2 <= 24_576
