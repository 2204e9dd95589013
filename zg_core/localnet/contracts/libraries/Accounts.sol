// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {Paging} from "./Paging.sol";
import {Bytes32Set, Sets} from "./Sets.sol";

struct Refund {
    uint256 index;
    uint256 amount;
    uint256 createdAt;
    bool processed; // part of the ABI; never set (0g-contracts A11)
}

struct Account {
    address user;
    address provider;
    uint256 nonce;
    uint256 balance;
    uint256 pendingRefund;
    Refund[] refunds;
    string additionalInfo;
    bool acknowledged;
    uint256 validRefundsLength;
    uint256 generation;
    uint256 revokedBitmap;
}

struct AccountBook {
    mapping(bytes32 key => Account) accounts;
    Bytes32Set keys;
    mapping(address user => Bytes32Set) keysByUser;
    mapping(address provider => Bytes32Set) keysByProvider;
}

/// @title Sub-accounts of a service, one per (user, provider), with their three lists.
library Accounts {
    using Sets for Bytes32Set;

    uint256 internal constant MAX_BATCH = 500;

    error AccountExists(address user, address provider);
    error AccountNotExists(address user, address provider);
    error BatchSizeTooLarge(uint256 size, uint256 max);

    function exists(AccountBook storage self, address user, address provider) internal view returns (bool) {
        return self.keys.contains(keyOf(user, provider));
    }

    /// @notice The account, or `AccountNotExists`.
    function get(AccountBook storage self, address user, address provider) internal view returns (Account storage) {
        bytes32 key = keyOf(user, provider);
        if (!self.keys.contains(key)) revert AccountNotExists(user, provider);
        return self.accounts[key];
    }

    /// @dev Nonce and generation of an earlier account of the pair reappear (0g-contracts A5, C3.1).
    function create(
        AccountBook storage self,
        address user,
        address provider,
        uint256 balance,
        string calldata additionalInfo
    ) internal returns (Account storage account) {
        bytes32 key = keyOf(user, provider);
        if (!self.keys.add(key)) revert AccountExists(user, provider);
        self.keysByUser[user].add(key);
        self.keysByProvider[provider].add(key);
        account = self.accounts[key];
        account.user = user;
        account.provider = provider;
        account.balance = balance;
        account.additionalInfo = additionalInfo;
        account.acknowledged = true;
    }

    /// @dev Keeps user, provider, nonce and generation in storage; a missing account has balance 0.
    /// @return balance What the account held.
    function remove(AccountBook storage self, address user, address provider) internal returns (uint256 balance) {
        bytes32 key = keyOf(user, provider);
        if (!self.keys.remove(key)) return 0;
        self.keysByUser[user].remove(key);
        self.keysByProvider[provider].remove(key);
        Account storage account = self.accounts[key];
        balance = account.balance;
        account.balance = 0;
        account.pendingRefund = 0;
        account.validRefundsLength = 0;
        account.revokedBitmap = 0;
        account.acknowledged = false;
        delete account.refunds;
        delete account.additionalInfo;
    }

    /// @notice One page of one of the three lists, in list order.
    function page(
        AccountBook storage self,
        Bytes32Set storage list,
        uint256 offset,
        uint256 limit
    ) internal view returns (Account[] memory accounts, uint256 total) {
        total = list.length();
        accounts = new Account[](Paging.size(offset, limit, total));
        for (uint256 i = 0; i < accounts.length; ++i) {
            accounts[i] = self.accounts[list.at(offset + i)];
        }
    }

    /// @notice The accounts of many users with one provider; an all-zero entry where there is none (0g-contracts B7).
    function batch(
        AccountBook storage self,
        address[] calldata users,
        address provider
    ) internal view returns (Account[] memory accounts) {
        if (users.length > MAX_BATCH) revert BatchSizeTooLarge(users.length, MAX_BATCH);
        accounts = new Account[](users.length);
        for (uint256 i = 0; i < users.length; ++i) {
            bytes32 key = keyOf(users[i], provider);
            if (self.keys.contains(key)) accounts[i] = self.accounts[key];
        }
    }

    function keyOf(address user, address provider) internal pure returns (bytes32) {
        return keccak256(abi.encode(user, provider));
    }
}
