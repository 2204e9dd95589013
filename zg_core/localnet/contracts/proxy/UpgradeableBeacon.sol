// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {Ownable} from "../access/Ownable.sol";
import {IBeacon} from "./IBeacon.sol";

/// @title The beacon of one contract; its owner can point every proxy at other code (0g-direct 2.1).
contract UpgradeableBeacon is IBeacon, Ownable {
    address private _implementation;

    event Upgraded(address indexed implementation);

    constructor(address implementation_) {
        _point(implementation_);
    }

    function implementation() external view override returns (address) {
        return _implementation;
    }

    function upgradeTo(address newImplementation) external onlyOwner {
        _point(newImplementation);
        emit Upgraded(newImplementation);
    }

    function _point(address newImplementation) private {
        require(newImplementation.code.length > 0, "UpgradeableBeacon: implementation is not a contract");
        _implementation = newImplementation;
    }
}
