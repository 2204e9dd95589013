// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

/// @title Contract-wide guard of the few calls that hand control to a payee (0g-contracts B5).
/// @dev Compares with ENTERED only, so a proxy whose slot is still 0 works without initialisation.
abstract contract ReentrancyGuard {
    uint256 private constant NOT_ENTERED = 1;
    uint256 private constant ENTERED = 2;

    uint256 private _guard = NOT_ENTERED;

    modifier nonReentrant() {
        require(_guard != ENTERED, "ReentrancyGuard: reentrant call");
        _guard = ENTERED;
        _;
        _guard = NOT_ENTERED;
    }
}
