// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

/// @title What a service needs of the ledger.
interface ILedger {
    /// @notice Books `amount` as spent; the coins are in the service and leave from there.
    function spendFund(address user, uint256 amount) external;
}
