// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

/// @title A service that answers as told, for tests of the ledger's side of the conversation.
contract ScriptedService {
    struct Answer {
        bool set;
        bool reverts;
        bytes data;
    }

    mapping(bytes32 key => Answer) private _answers;

    /// @notice Scripts the answer to every call of `selector`; unscripted calls revert empty.
    function answer(bytes4 selector, bool reverts, bytes calldata data) external {
        _answers[selector] = Answer(true, reverts, data);
    }

    /// @notice Scripts one ERC-165 answer.
    function answerInterface(bytes4 interfaceId, bool reverts, bytes calldata data) external {
        _answers[_interfaceKey(interfaceId)] = Answer(true, reverts, data);
    }

    /// @notice Makes a call as this service and passes its failure on.
    function execute(address to, uint256 value, bytes calldata input) external payable {
        (bool done, bytes memory reason) = to.call{value: value}(input);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(reason, 0x20), mload(reason))
            }
        }
    }

    receive() external payable {}

    fallback() external payable {
        Answer storage found = _answers[msg.sig];
        if (msg.sig == 0x01ffc9a7 && msg.data.length >= 36) found = _answers[_interfaceKey(bytes4(msg.data[4:8]))];
        require(found.set);
        bytes memory data = found.data;
        bool reverts = found.reverts;
        assembly {
            switch reverts
            case 0 {
                return(add(data, 0x20), mload(data))
            }
            default {
                revert(add(data, 0x20), mload(data))
            }
        }
    }

    function _interfaceKey(bytes4 interfaceId) private pure returns (bytes32) {
        return keccak256(abi.encode(interfaceId));
    }
}
