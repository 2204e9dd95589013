// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {Account, Refund} from "./Accounts.sol";

/// @title The refund queue of one account (0g-contracts C3.3 to C3.6).
/// @dev Live entries are refunds[0:validRefundsLength], oldest first. What lies behind is left as it was: the array
/// never shrinks except on deletion, and a place behind the live part is overwritten before the array grows.
library Refunds {
    uint256 internal constant MAX_REFUNDS = 5;

    error TooManyRefunds(address user, address provider);

    /// @notice Takes `amount` back out of the queue, newest entry first (C3.3).
    /// @return cancelled What was taken; less than `amount` when the queue held less.
    function cancel(Account storage account, uint256 amount) internal returns (uint256 cancelled) {
        uint256 live = account.validRefundsLength;
        uint256 rest = amount;
        while (rest > 0 && live > 0) {
            Refund storage newest = account.refunds[live - 1];
            uint256 held = newest.amount;
            if (held > rest) {
                newest.amount = held - rest;
                rest = 0;
            } else {
                rest -= held;
                newest.amount = 0;
                --live;
            }
        }
        cancelled = amount - rest;
        account.validRefundsLength = live;
        account.pendingRefund -= cancelled;
    }

    /// @notice Queues everything that is not queued yet; nothing happens when there is nothing (C3.4).
    function requestAll(Account storage account) internal {
        uint256 amount = account.balance - account.pendingRefund;
        if (amount == 0) return;
        uint256 live = account.validRefundsLength;
        if (live >= MAX_REFUNDS) revert TooManyRefunds(account.user, account.provider);
        Refund memory entry = Refund({index: live, amount: amount, createdAt: block.timestamp, processed: false});
        if (live < account.refunds.length) {
            account.refunds[live] = entry;
        } else {
            account.refunds.push(entry);
        }
        account.validRefundsLength = live + 1;
        account.pendingRefund += amount;
    }

    /// @notice Takes matured entries out of queue and balance; the others move to the front (C3.5).
    /// @return matured The sum to send to the ledger.
    function process(Account storage account, uint256 lockTime) internal returns (uint256 matured) {
        uint256 live = account.validRefundsLength;
        uint256 kept = 0;
        uint256 pending = 0;
        for (uint256 i = 0; i < live; ++i) {
            Refund storage entry = account.refunds[i];
            uint256 amount = entry.amount;
            if (block.timestamp >= entry.createdAt + lockTime) {
                matured += amount;
                continue;
            }
            if (i != kept) {
                account.refunds[kept] = entry;
                account.refunds[kept].index = kept;
            }
            pending += amount;
            ++kept;
        }
        account.balance -= matured;
        account.pendingRefund = pending;
        account.validRefundsLength = kept;
    }
}
