// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {Initializable} from "./access/Initializable.sol";
import {Ownable} from "./access/Ownable.sol";
import {ReentrancyGuard} from "./access/ReentrancyGuard.sol";
import {IERC165} from "./interfaces/IERC165.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IServing} from "./interfaces/IServing.sol";
import {Account, AccountBook, Accounts} from "./libraries/Accounts.sol";
import {Coins} from "./libraries/Coins.sol";
import {Paging} from "./libraries/Paging.sol";
import {Refunds} from "./libraries/Refunds.sol";
import {Service, ServiceBook, ServiceParams, Services} from "./libraries/Services.sol";
import {SettlementStatus, Settlements, TEESettlementData} from "./libraries/Settlements.sol";

/// @title Providers' services, users' sub-accounts and settlement (0g-contracts C1, C3 to C6; 0g-direct 2.4, 2.5).
/// @dev Holds the sub-account balances (pending refunds included) and the providers' stakes.
contract InferenceServing is IServing, IERC165, Initializable, Ownable, ReentrancyGuard {
    using Accounts for AccountBook;
    using Refunds for Account;
    using Services for ServiceBook;
    using Settlements for TEESettlementData;

    /// @custom:storage-location erc7201:0g.serving.inference.v1.0
    struct ServingStorage {
        uint256 lockTime;
        address ledgerAddress;
        ILedger ledger;
        AccountBook accounts;
        ServiceBook services;
    }

    bytes32 private constant STORAGE = 0xdfd123095cdedb1cecbc229b30f7cf8745fb3d3951645ac4a8fa4c0895f89500;
    uint256 private constant MAX_SETTLEMENTS = 50;

    uint256 public constant MIN_LOCKTIME = 1 hours;
    uint256 public constant MAX_LOCKTIME = 7 days;
    uint256 public constant MIN_PROVIDER_STAKE = Services.MIN_STAKE;

    error CallerNotLedger(address caller);
    error CannotRevokeWithNonZeroBalance(address user, address provider, uint256 balance);
    error DirectDepositsDisabled();
    error InvalidAddress(address addr);
    error LimitTooLarge(uint256 limit, uint256 max);
    error LockTimeOutOfRange(uint256 lockTime, uint256 min, uint256 max);
    error NoSettlementsProvided();
    error ProviderCannotBeUser();
    error TooManySettlements(uint256 count, uint256 max);
    // never raised; clients meet it in the ABI (0g-contracts B2)
    error InvalidTEESignature(string reason);

    event AccountDeleted(address indexed user, address indexed provider, uint256 refundedAmount);
    event AllTokensRevoked(address indexed user, address indexed provider, uint256 newGeneration);
    event BalanceUpdated(address indexed user, address indexed provider, uint256 amount, uint256 pendingRefund);
    event ContractInitialized(address indexed owner, uint256 lockTime, address ledgerAddress);
    event LockTimeUpdated(uint256 oldLockTime, uint256 newLockTime);
    event ProviderStakeReturned(address indexed provider, uint256 amount);
    event ProviderTEESignerAcknowledged(
        address indexed provider,
        address indexed teeSignerAddress,
        bool acknowledged
    );
    event RefundRequested(address indexed user, address indexed provider, uint256 indexed index, uint256 timestamp);
    event ServiceRemoved(address indexed service);
    event ServiceUpdated(
        address indexed service,
        string serviceType,
        string url,
        uint256 inputPrice,
        uint256 outputPrice,
        uint256 updatedAt,
        string model,
        string verifiability
    );
    event TEESettlementResult(address indexed user, SettlementStatus status, uint256 unsettledAmount);
    event TokenRevoked(address indexed user, address indexed provider, uint8 tokenId);
    event TokensRevoked(address indexed user, address indexed provider, uint8[] tokenIds);
    // never emitted; clients meet it in the ABI (0g-contracts B2)
    event BatchBalanceUpdated(address[] users, uint256[] balances, uint256[] pendingRefunds);

    modifier onlyLedger() {
        if (msg.sender != _storage().ledgerAddress) revert CallerNotLedger(msg.sender);
        _;
    }

    constructor() {
        _seal();
    }

    receive() external payable {
        revert DirectDepositsDisabled();
    }

    /// @notice Only the lock time is checked; a zero ledger or owner is accepted (C1.1).
    function initialize(uint256 _locktime, address _ledgerAddress, address owner) external initializer {
        _checkLockTime(_locktime);
        _setOwner(owner);
        ServingStorage storage $ = _storage();
        $.lockTime = _locktime;
        $.ledgerAddress = _ledgerAddress;
        $.ledger = ILedger(_ledgerAddress);
        emit ContractInitialized(owner, _locktime, _ledgerAddress);
    }

    /// @notice Applies at once, also to refunds that are pending (C1.3).
    function updateLockTime(uint256 _locktime) external onlyOwner {
        _checkLockTime(_locktime);
        ServingStorage storage $ = _storage();
        uint256 oldLockTime = $.lockTime;
        $.lockTime = _locktime;
        emit LockTimeUpdated(oldLockTime, _locktime);
    }

    function lockTime() external view returns (uint256) {
        return _storage().lockTime;
    }

    function ledgerAddress() external view returns (address) {
        return _storage().ledgerAddress;
    }

    function supportsInterface(bytes4 interfaceId) external view override returns (bool) {
        return interfaceId == type(IServing).interfaceId || interfaceId == type(IERC165).interfaceId;
    }

    // ------------------------------------------------------------------ sub-accounts: the ledger (C3)

    /// @inheritdoc IServing
    function addAccount(
        address user,
        address provider,
        string calldata additionalInfo
    ) external payable override onlyLedger {
        _checkParties(user, provider);
        Account storage account = _storage().accounts.create(user, provider, msg.value, additionalInfo);
        emit BalanceUpdated(user, provider, account.balance, 0);
    }

    /// @inheritdoc IServing
    /// @dev A transfer to an account acknowledges it again, whatever the amount (C3.2).
    function depositFund(
        address user,
        address provider,
        uint256 cancelRetrievingAmount
    ) external payable override onlyLedger {
        _checkParties(user, provider);
        Account storage account = _storage().accounts.get(user, provider);
        account.cancel(cancelRetrievingAmount);
        account.balance += msg.value;
        account.acknowledged = true;
        emit BalanceUpdated(user, provider, account.balance, account.pendingRefund);
    }

    /// @inheritdoc IServing
    /// @dev The event names the newest live entry, new or not (C3.7). The account is read as a whole for it, as on
    /// the real network, where that is most of the gas of a long additionalInfo.
    function requestRefundAll(address user, address provider) external override onlyLedger {
        Account storage stored = _storage().accounts.get(user, provider);
        stored.requestAll();
        Account memory account = stored;
        if (account.validRefundsLength > 0) {
            emit RefundRequested(user, provider, account.validRefundsLength - 1, block.timestamp);
        }
    }

    /// @inheritdoc IServing
    function processRefund(
        address user,
        address provider
    ) external override onlyLedger returns (uint256 totalAmount, uint256 balance, uint256 pendingRefund) {
        ServingStorage storage $ = _storage();
        Account storage account = $.accounts.get(user, provider);
        totalAmount = account.process($.lockTime);
        balance = account.balance;
        pendingRefund = account.pendingRefund;
        if (totalAmount > 0) {
            emit BalanceUpdated(user, provider, balance, pendingRefund);
            Coins.send(msg.sender, totalAmount);
        }
    }

    /// @inheritdoc IServing
    /// @dev Reports 0 for a missing account and never sends coins (C2.7).
    function deleteAccount(address user, address provider) external override onlyLedger {
        emit AccountDeleted(user, provider, _storage().accounts.remove(user, provider));
    }

    // ------------------------------------------------------------------ sub-accounts: the user (A6, C4)

    /// @notice The user's consent to the provider's signer; it can be withdrawn only from an empty account. No event.
    function acknowledgeTEESigner(address provider, bool acknowledged) external {
        Account storage account = _storage().accounts.get(msg.sender, provider);
        if (account.acknowledged && !acknowledged && account.balance != 0) {
            revert CannotRevokeWithNonZeroBalance(msg.sender, provider, account.balance);
        }
        account.acknowledged = acknowledged;
    }

    function revokeToken(address provider, uint8 tokenId) external {
        _storage().accounts.get(msg.sender, provider).revokedBitmap |= _bit(tokenId);
        emit TokenRevoked(msg.sender, provider, tokenId);
    }

    function revokeTokens(address provider, uint8[] calldata tokenIds) external {
        Account storage account = _storage().accounts.get(msg.sender, provider);
        for (uint256 i = 0; i < tokenIds.length; ++i) {
            account.revokedBitmap |= _bit(tokenIds[i]);
        }
        emit TokensRevoked(msg.sender, provider, tokenIds);
    }

    /// @notice A new generation: every token issued so far is void, every id is free again.
    function revokeAllTokens(address provider) external {
        Account storage account = _storage().accounts.get(msg.sender, provider);
        account.revokedBitmap = 0;
        emit AllTokensRevoked(msg.sender, provider, ++account.generation);
    }

    function isTokenRevoked(address user, address provider, uint8 tokenId) external view returns (bool) {
        return _storage().accounts.get(user, provider).revokedBitmap & _bit(tokenId) != 0;
    }

    // ------------------------------------------------------------------ sub-accounts: reads (B7)

    function accountExists(address user, address provider) external view override returns (bool) {
        return _storage().accounts.exists(user, provider);
    }

    function getAccount(address user, address provider) external view returns (Account memory) {
        return _storage().accounts.get(user, provider);
    }

    function getPendingRefund(address user, address provider) external view override returns (uint256) {
        return _storage().accounts.get(user, provider).pendingRefund;
    }

    function getAllAccounts(
        uint256 offset,
        uint256 limit
    ) external view returns (Account[] memory accounts, uint256 total) {
        _checkLimit(limit);
        AccountBook storage book = _storage().accounts;
        return book.page(book.keys, offset, limit);
    }

    function getAccountsByUser(
        address user,
        uint256 offset,
        uint256 limit
    ) external view returns (Account[] memory accounts, uint256 total) {
        _checkLimit(limit);
        AccountBook storage book = _storage().accounts;
        return book.page(book.keysByUser[user], offset, limit);
    }

    function getAccountsByProvider(
        address provider,
        uint256 offset,
        uint256 limit
    ) external view returns (Account[] memory accounts, uint256 total) {
        _checkLimit(limit);
        AccountBook storage book = _storage().accounts;
        return book.page(book.keysByProvider[provider], offset, limit);
    }

    /// @notice The accounts of `users` with the caller as their provider.
    function getBatchAccountsByUsers(address[] calldata users) external view returns (Account[] memory accounts) {
        return _storage().accounts.batch(users, msg.sender);
    }

    // ------------------------------------------------------------------ services (C5)

    function addOrUpdateService(ServiceParams calldata params) external payable {
        _storage().services.put(msg.sender, params);
        emit ServiceUpdated(
            msg.sender,
            params.serviceType,
            params.url,
            params.inputPrice,
            params.outputPrice,
            block.timestamp,
            params.model,
            params.verifiability
        );
    }

    /// @notice Returns the stake. Sub-accounts stay; the provider can no longer settle.
    function removeService() external nonReentrant {
        uint256 stake = _storage().services.remove(msg.sender);
        emit ProviderStakeReturned(msg.sender, stake);
        emit ServiceRemoved(msg.sender);
        Coins.send(msg.sender, stake);
    }

    function acknowledgeTEESignerByOwner(address provider) external onlyOwner {
        _acknowledge(provider, true);
    }

    function revokeTEESignerAcknowledgement(address provider) external onlyOwner {
        _acknowledge(provider, false);
    }

    function serviceExists(address provider) external view returns (bool) {
        return _storage().services.exists(provider);
    }

    function getService(address provider) external view returns (Service memory service) {
        return _storage().services.get(provider);
    }

    function getAllServices(
        uint256 offset,
        uint256 limit
    ) external view returns (Service[] memory services, uint256 total) {
        _checkLimit(limit);
        return _storage().services.page(offset, limit);
    }

    // ------------------------------------------------------------------ settlement (C6)

    /// @notice Pays the caller for signed fees; a bad item gets a status and never undoes the others.
    function settleFeesWithTEE(
        TEESettlementData[] calldata settlements
    ) external nonReentrant returns (uint8[] memory statuses) {
        _checkBatch(settlements.length);
        statuses = new uint8[](settlements.length);
        uint256 payout = 0;
        for (uint256 i = 0; i < settlements.length; ++i) {
            TEESettlementData calldata item = settlements[i];
            (SettlementStatus status, uint256 paid) = _assess(item);
            if (_pays(status)) _take(item, paid);
            payout += paid;
            statuses[i] = uint8(status);
            emit TEESettlementResult(item.user, status, item.totalFee - paid);
        }
        if (payout > 0) Coins.send(msg.sender, payout);
    }

    /// @notice What `settleFeesWithTEE` would say of each item alone, against the present state (C6.6).
    function previewSettlementResults(
        TEESettlementData[] calldata settlements
    )
        external
        view
        returns (
            address[] memory failedUsers,
            SettlementStatus[] memory failureReasons,
            address[] memory partialUsers,
            uint256[] memory partialAmounts
        )
    {
        uint256 count = settlements.length;
        _checkBatch(count);
        failedUsers = new address[](count);
        failureReasons = new SettlementStatus[](count);
        partialUsers = new address[](count);
        partialAmounts = new uint256[](count);
        uint256 failed = 0;
        uint256 part = 0;
        for (uint256 i = 0; i < count; ++i) {
            TEESettlementData calldata item = settlements[i];
            (SettlementStatus status, uint256 paid) = _assess(item);
            if (status == SettlementStatus.PARTIAL) {
                partialUsers[part] = item.user;
                partialAmounts[part++] = item.totalFee - paid;
            } else if (status != SettlementStatus.SUCCESS) {
                failedUsers[failed] = item.user;
                failureReasons[failed++] = status;
            }
        }
        assembly ("memory-safe") {
            mstore(failedUsers, failed)
            mstore(failureReasons, failed)
            mstore(partialUsers, part)
            mstore(partialAmounts, part)
        }
    }

    /// @dev The first check that fails decides (C6.2). Changes nothing.
    /// @return status What the item deserves.
    /// @return paid What it pays; 0 unless it is good.
    function _assess(TEESettlementData calldata item) private view returns (SettlementStatus status, uint256 paid) {
        if (item.provider != msg.sender) return (SettlementStatus.PROVIDER_MISMATCH, 0);
        ServingStorage storage $ = _storage();
        if (!$.accounts.exists(item.user, msg.sender)) return (SettlementStatus.INVALID_SIGNATURE, 0);
        if (!$.services.exists(msg.sender)) return (SettlementStatus.PROVIDER_MISMATCH, 0);
        Account storage account = $.accounts.accounts[Accounts.keyOf(item.user, msg.sender)];
        Service storage service = $.services.services[msg.sender];
        address signer = service.teeSignerAddress;
        if (!account.acknowledged || !service.teeSignerAcknowledged || signer == address(0)) {
            return (SettlementStatus.NO_TEE_SIGNER, 0);
        }
        if (item.nonce <= account.nonce) return (SettlementStatus.INVALID_NONCE, 0);
        if (!item.isSignedBy(signer)) return (SettlementStatus.INVALID_SIGNATURE, 0);
        if (account.balance < item.totalFee) return (SettlementStatus.PARTIAL, account.balance);
        return (SettlementStatus.SUCCESS, item.totalFee);
    }

    /// @dev Books a good item: free balance first, then the newest refunds (C6.3). The coins leave at the end.
    function _take(TEESettlementData calldata item, uint256 amount) private {
        ServingStorage storage $ = _storage();
        Account storage account = $.accounts.get(item.user, msg.sender);
        account.nonce = item.nonce;
        if (amount == 0) return;
        uint256 balance = account.balance;
        uint256 free = balance - account.pendingRefund;
        if (amount > free) account.cancel(amount - free);
        account.balance = balance - amount;
        $.ledger.spendFund(item.user, amount);
        emit BalanceUpdated(item.user, msg.sender, balance - amount, account.pendingRefund);
    }

    function _pays(SettlementStatus status) private pure returns (bool) {
        return status == SettlementStatus.SUCCESS || status == SettlementStatus.PARTIAL;
    }

    // ------------------------------------------------------------------ inside

    function _acknowledge(address provider, bool acknowledged) private {
        Service storage service = _storage().services.get(provider);
        service.teeSignerAcknowledged = acknowledged;
        emit ProviderTEESignerAcknowledged(provider, service.teeSignerAddress, acknowledged);
    }

    function _checkParties(address user, address provider) private pure {
        if (user == address(0)) revert InvalidAddress(user);
        if (provider == address(0)) revert InvalidAddress(provider);
        if (user == provider) revert ProviderCannotBeUser();
    }

    function _checkLockTime(uint256 value) private pure {
        if (value < MIN_LOCKTIME || value > MAX_LOCKTIME) {
            revert LockTimeOutOfRange(value, MIN_LOCKTIME, MAX_LOCKTIME);
        }
    }

    function _checkLimit(uint256 limit) private pure {
        if (limit > Paging.PAGE) revert LimitTooLarge(limit, Paging.PAGE);
    }

    function _checkBatch(uint256 count) private pure {
        if (count == 0) revert NoSettlementsProvided();
        if (count > MAX_SETTLEMENTS) revert TooManySettlements(count, MAX_SETTLEMENTS);
    }

    function _bit(uint8 tokenId) private pure returns (uint256) {
        return 1 << uint256(tokenId);
    }

    function _storage() private pure returns (ServingStorage storage $) {
        assembly {
            $.slot := STORAGE
        }
    }
}
