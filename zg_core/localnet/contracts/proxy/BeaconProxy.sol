// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {IBeacon} from "./IBeacon.sol";

/// @title Runs the beacon's implementation on its own storage (0g-direct 2.1).
/// @dev The beacon's address is in the slot of EIP-1967, so that tools recognise the layout.
contract BeaconProxy {
    bytes32 private constant BEACON_SLOT = bytes32(uint256(keccak256("eip1967.proxy.beacon")) - 1);

    event BeaconUpgraded(address indexed beacon);

    constructor(address beacon, bytes memory data) payable {
        require(beacon.code.length > 0, "BeaconProxy: beacon is not a contract");
        bytes32 slot = BEACON_SLOT;
        assembly ("memory-safe") {
            sstore(slot, beacon)
        }
        emit BeaconUpgraded(beacon);
        if (data.length > 0) {
            (bool done, bytes memory reason) = IBeacon(beacon).implementation().delegatecall(data);
            if (!done) {
                assembly ("memory-safe") {
                    revert(add(reason, 0x20), mload(reason))
                }
            }
        }
    }

    fallback() external payable {
        _delegate();
    }

    receive() external payable {
        _delegate();
    }

    /// @dev Passes calldata, value, result and revert data through unchanged.
    function _delegate() private {
        bytes32 slot = BEACON_SLOT;
        address beacon;
        assembly ("memory-safe") {
            beacon := sload(slot)
        }
        address target = IBeacon(beacon).implementation();
        assembly {
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), target, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(done) {
                revert(0, returndatasize())
            }
            return(0, returndatasize())
        }
    }
}
