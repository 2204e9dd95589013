// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

/// @title Names the code that the proxies of a beacon run.
interface IBeacon {
    function implementation() external view returns (address);
}
