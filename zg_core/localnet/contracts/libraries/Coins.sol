// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

error TransferFailed();

/// @title Sending coins with all gas; a refusing payee undoes the call.
library Coins {
    function send(address to, uint256 amount) internal {
        (bool sent, ) = payable(to).call{value: amount}("");
        if (!sent) revert TransferFailed();
    }
}
