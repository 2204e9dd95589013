// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {Initializable} from "./access/Initializable.sol";
import {Ownable} from "./access/Ownable.sol";
import {ReentrancyGuard} from "./access/ReentrancyGuard.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IServing} from "./interfaces/IServing.sol";
import {Coins} from "./libraries/Coins.sol";
import {Ledger, LedgerBook, Ledgers} from "./libraries/Ledgers.sol";
import {Registry, ServiceInfo, ServiceRegistry} from "./libraries/ServiceRegistry.sol";
import {AddressSet, Sets} from "./libraries/Sets.sol";

/// @title Users' ledgers and the registry of services (0g-contracts C2, C7; 0g-direct 2.3).
/// @dev Holds the available part of every ledger; the rest is in the services' sub-accounts:
/// totalBalance - availableBalance = the sum of the user's sub-account balances.
contract LedgerManager is ILedger, Initializable, Ownable, ReentrancyGuard {
    using Ledgers for LedgerBook;
    using ServiceRegistry for Registry;
    using Sets for AddressSet;

    /// @custom:storage-location erc7201:0g.serving.ledger
    struct LedgerStorage {
        LedgerBook book;
        Registry registry;
        mapping(address user => mapping(address service => AddressSet)) providers;
        mapping(address user => bool) locked;
    }

    bytes32 private constant STORAGE = 0x0bb5d42557ea6926c17416c5b1c1c29c28d9006d6f713295a2d385f07156ed00;

    uint256 public constant MAX_PROVIDERS_PER_BATCH = 20;
    uint256 public constant MAX_SERVICES = ServiceRegistry.MAX_SERVICES;
    uint256 public constant MAX_PROVIDERS_PER_USER_PER_SERVICE = 50;
    uint256 public constant MAX_ADDITIONAL_INFO_LENGTH = 4096;
    uint256 public constant MIN_ACCOUNT_BALANCE = 3 ether;
    uint256 public constant MIN_TRANSFER_AMOUNT = 1 ether;

    error AdditionalInfoTooLong(uint256 length, uint256 max);
    error CallFailed();
    error CallerNotRegisteredService(address caller);
    error DirectDepositsDisabled();
    error InsufficientAvailableBalance(uint256 available, uint256 required);
    error InsufficientBalance(address user);
    error LedgerLocked();
    error MinimumDepositRequired(uint256 provided, uint256 required);
    error MustWithdrawAllFundsFirst(uint256 remainingBalance);
    error TooManyProviders(uint256 requested, uint256 maximum);
    error TooManyProvidersForService(uint256 current, uint256 maximum);
    error ZeroAddressNotAllowed();
    error ZeroAmountNotAllowed();
    // never raised; clients meet them in the ABI (0g-contracts B2)
    error InvalidServiceType(string serviceType);
    error ServiceNotRegistered(address serviceAddress);

    event FundSpent(address indexed user, address indexed service, uint256 amount);
    event LedgerInfoUpdated(address indexed user, string additionalInfo);

    /// @dev One call per user at a time, tested before everything else (0g-contracts A2). A storage flag that is
    /// set and cleared, as in the contracts on the real network: gas is part of what a client meets.
    modifier locks(address user) {
        LedgerStorage storage $ = _storage();
        if ($.locked[user]) revert LedgerLocked();
        $.locked[user] = true;
        _;
        $.locked[user] = false;
    }

    modifier onlyService() {
        if (!_storage().registry.services.contains(msg.sender)) revert CallerNotRegisteredService(msg.sender);
        _;
    }

    constructor() {
        _seal();
    }

    /// @notice Coins come back from services only, and credit nobody (0g-contracts B4).
    receive() external payable {
        if (!_storage().registry.services.contains(msg.sender)) revert DirectDepositsDisabled();
    }

    function initialize(address owner) external initializer {
        _setOwner(owner);
    }

    // ------------------------------------------------------------------ deposits (C2.1, A3)

    /// @return The amount sent, and always 0.
    function addLedger(string memory additionalInfo) external payable locks(msg.sender) returns (uint256, uint256) {
        if (msg.value < MIN_ACCOUNT_BALANCE) revert MinimumDepositRequired(msg.value, MIN_ACCOUNT_BALANCE);
        _checkLength(additionalInfo);
        _storage().book.create(msg.sender, msg.value, additionalInfo);
        return (msg.value, 0);
    }

    function depositFund() external payable locks(msg.sender) {
        _deposit(msg.sender);
    }

    function depositFundFor(address recipient) external payable locks(recipient) {
        if (recipient == address(0)) revert ZeroAddressNotAllowed();
        _deposit(recipient);
    }

    /// @notice Sub-accounts that exist keep the text they were created with (C2.2).
    function updateAdditionalInfo(string memory additionalInfo) external locks(msg.sender) {
        _checkLength(additionalInfo);
        _storage().book.get(msg.sender).additionalInfo = additionalInfo;
        emit LedgerInfoUpdated(msg.sender, additionalInfo);
    }

    // ------------------------------------------------------------------ sub-accounts (C2.3, C2.4)

    /// @notice Puts `amount` into the sub-account with `provider`, first out of its pending refunds, then in coins.
    function transferFund(address provider, string memory serviceName, uint256 amount) external locks(msg.sender) {
        LedgerStorage storage $ = _storage();
        Ledger storage ledger = $.book.get(msg.sender);
        address service = $.registry.find(serviceName);

        uint256 needed = amount;
        bytes memory call;
        if (IServing(service).accountExists(msg.sender, provider)) {
            uint256 pending = IServing(service).getPendingRefund(msg.sender, provider);
            uint256 cancelled = amount < pending ? amount : pending;
            needed = amount - cancelled;
            call = abi.encodeCall(IServing.depositFund, (msg.sender, provider, cancelled));
        } else {
            if (amount < MIN_TRANSFER_AMOUNT) revert MinimumDepositRequired(amount, MIN_TRANSFER_AMOUNT);
            AddressSet storage providers = $.providers[msg.sender][service];
            uint256 count = providers.length();
            if (count >= MAX_PROVIDERS_PER_USER_PER_SERVICE) {
                revert TooManyProvidersForService(count, MAX_PROVIDERS_PER_USER_PER_SERVICE);
            }
            providers.add(provider);
            call = abi.encodeCall(IServing.addAccount, (msg.sender, provider, ledger.additionalInfo));
        }

        uint256 available = ledger.availableBalance;
        if (available < needed) revert InsufficientAvailableBalance(available, needed);
        ledger.availableBalance = available - needed;
        (bool done, ) = service.call{value: needed}(call);
        if (!done) revert CallFailed();
    }

    /// @notice Takes back what has matured and asks for the rest; providers without a sub-account are skipped.
    function retrieveFund(address[] memory providers, string memory serviceName) external locks(msg.sender) {
        if (providers.length > MAX_PROVIDERS_PER_BATCH) {
            revert TooManyProviders(providers.length, MAX_PROVIDERS_PER_BATCH);
        }
        LedgerStorage storage $ = _storage();
        IServing service = IServing($.registry.find(serviceName));
        Ledger storage ledger = $.book.get(msg.sender);

        uint256 returned = 0;
        for (uint256 i = 0; i < providers.length; ++i) {
            if (!service.accountExists(msg.sender, providers[i])) continue;
            (uint256 matured, , ) = service.processRefund(msg.sender, providers[i]);
            service.requestRefundAll(msg.sender, providers[i]);
            returned += matured;
        }
        ledger.availableBalance += returned;
    }

    // ------------------------------------------------------------------ withdrawing (C2.5, C2.6, C2.7)

    /// @notice Sends available coins to the user; what stays available is nothing or the minimum.
    function refund(uint256 amount) external locks(msg.sender) {
        Ledger storage ledger = _storage().book.get(msg.sender);
        if (ledger.availableBalance < amount) revert InsufficientBalance(msg.sender);
        uint256 rest = ledger.availableBalance - amount;
        if (rest > 0 && rest < MIN_ACCOUNT_BALANCE) revert MinimumDepositRequired(rest, MIN_ACCOUNT_BALANCE);
        ledger.availableBalance = rest;
        ledger.totalBalance -= amount;
        if (ledger.totalBalance == 0) _delete(msg.sender);
        Coins.send(msg.sender, amount);
    }

    function deleteLedger() external nonReentrant locks(msg.sender) {
        uint256 total = _storage().book.get(msg.sender).totalBalance;
        if (total != 0) revert MustWithdrawAllFundsFirst(total);
        _delete(msg.sender);
    }

    // ------------------------------------------------------------------ services (A4, C7)

    /// @inheritdoc ILedger
    function spendFund(address user, uint256 amount) external onlyService locks(user) {
        Ledger storage ledger = _storage().book.get(user);
        uint256 lockedFunds = ledger.totalBalance - ledger.availableBalance;
        if (lockedFunds < amount) revert InsufficientAvailableBalance(lockedFunds, amount);
        ledger.totalBalance -= amount;
        emit FundSpent(user, msg.sender, amount);
    }

    function registerService(
        string memory serviceType,
        string memory version,
        address serviceAddress,
        string memory description
    ) external onlyOwner {
        _storage().registry.register(serviceType, version, serviceAddress, description);
    }

    function setRecommendedService(string memory serviceType, string memory version) external onlyOwner {
        _storage().registry.recommend(serviceType, version);
    }

    // ------------------------------------------------------------------ reads (B7)

    function getLedger(address user) external view returns (Ledger memory) {
        return _storage().book.get(user);
    }

    /// @notice One page; limit 0 means 50, and there is no upper limit (A9).
    function getAllLedgers(
        uint256 offset,
        uint256 limit
    ) external view returns (Ledger[] memory ledgers, uint256 total) {
        return _storage().book.page(offset, limit);
    }

    function getLedgerProviders(address user, string memory serviceName) external view returns (address[] memory) {
        LedgerStorage storage $ = _storage();
        return $.providers[user][$.registry.find(serviceName)].values();
    }

    /// @notice All-zero for an unknown address.
    function getServiceInfo(address serviceAddress) external view returns (ServiceInfo memory) {
        return _storage().registry.infos[serviceAddress];
    }

    /// @notice Zero for an unknown name.
    function getServiceAddressByName(string memory serviceName) external view returns (address) {
        return _storage().registry.byName[serviceName];
    }

    function getAllActiveServices() external view returns (ServiceInfo[] memory) {
        return _storage().registry.all();
    }

    function getAllVersions(
        string memory serviceType
    )
        external
        view
        returns (string[] memory versions, address[] memory addresses, bool[] memory isRecommendedFlags)
    {
        return _storage().registry.versionsOf(serviceType);
    }

    function getRecommendedService(
        string memory serviceType
    ) external view returns (string memory version, address serviceAddress) {
        return _storage().registry.recommendedOf(serviceType);
    }

    function isRecommendedVersion(string memory serviceType, string memory version) external view returns (bool) {
        return _storage().registry.isRecommended(serviceType, version);
    }

    // ------------------------------------------------------------------ inside

    function _deposit(address user) private {
        if (msg.value == 0) revert ZeroAmountNotAllowed();
        LedgerBook storage book = _storage().book;
        if (book.exists(user)) {
            Ledger storage ledger = book.ledgers[user];
            ledger.availableBalance += msg.value;
            ledger.totalBalance += msg.value;
        } else {
            if (msg.value < MIN_ACCOUNT_BALANCE) revert MinimumDepositRequired(msg.value, MIN_ACCOUNT_BALANCE);
            book.create(user, msg.value, "");
        }
    }

    /// @dev A service that refuses to delete is passed over; the list is emptied all the same (C2.7).
    function _delete(address user) private {
        LedgerStorage storage $ = _storage();
        address[] memory services = $.registry.services.values();
        for (uint256 i = 0; i < services.length; ++i) {
            AddressSet storage list = $.providers[user][services[i]];
            address[] memory providers = list.values();
            for (uint256 j = 0; j < providers.length; ++j) {
                try IServing(services[i]).deleteAccount(user, providers[j]) {} catch {}
                list.remove(providers[j]);
            }
        }
        $.book.remove(user);
    }

    function _checkLength(string memory additionalInfo) private pure {
        uint256 length = bytes(additionalInfo).length;
        if (length > MAX_ADDITIONAL_INFO_LENGTH) revert AdditionalInfoTooLong(length, MAX_ADDITIONAL_INFO_LENGTH);
    }

    function _storage() private pure returns (LedgerStorage storage $) {
        assembly {
            $.slot := STORAGE
        }
    }
}
