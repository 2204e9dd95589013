// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {IERC165} from "../interfaces/IERC165.sol";

/// @title Asking an unknown address for an interface without ever reverting (0g-contracts C7.1).
library InterfaceProbe {
    uint256 private constant PROBE_GAS = 30_000;
    bytes4 private constant INVALID = 0xffffffff;

    /// @notice ERC-165 itself is probed as an interface first, then `interfaceId`: six static calls for a good answer.
    function isImplementedBy(address target, bytes4 interfaceId) internal view returns (bool) {
        return _supports(target, type(IERC165).interfaceId) && _supports(target, interfaceId);
    }

    function _supports(address target, bytes4 interfaceId) private view returns (bool) {
        return _ask(target, type(IERC165).interfaceId) && !_ask(target, INVALID) && _ask(target, interfaceId);
    }

    /// @dev False for a reverting target, a short answer (an address without code) and the answer 0.
    function _ask(address target, bytes4 interfaceId) private view returns (bool) {
        bytes memory question = abi.encodeCall(IERC165.supportsInterface, (interfaceId));
        bool answered;
        uint256 size;
        uint256 answer;
        // only the first word of the answer is copied, however long it is
        assembly ("memory-safe") {
            answered := staticcall(PROBE_GAS, target, add(question, 0x20), mload(question), 0x00, 0x20)
            size := returndatasize()
            answer := mload(0x00)
        }
        return answered && size >= 0x20 && answer != 0;
    }
}
