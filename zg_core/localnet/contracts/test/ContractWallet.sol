// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

/// @title A wallet that is a contract, for tests of what happens while coins arrive at a user or provider.
contract ContractWallet {
    enum OnReceive {
        ACCEPT,
        REFUSE,
        CALL, // pass a failure of the inner call on
        TRY // note the inner call's answer and accept
    }

    OnReceive public onReceive;
    address public target;
    bytes public data;
    /// @notice How often coins were accepted.
    uint256 public received;
    /// @notice What the last inner call of TRY answered.
    bytes public answer;

    function script(OnReceive onReceive_, address target_, bytes calldata data_) external {
        onReceive = onReceive_;
        target = target_;
        data = data_;
    }

    /// @notice Makes any call as this wallet and passes its failure on.
    function execute(address to, uint256 value, bytes calldata input) external payable {
        _call(to, value, input);
    }

    receive() external payable {
        require(onReceive != OnReceive.REFUSE, "wallet refuses coins");
        ++received;
        if (onReceive == OnReceive.CALL) _call(target, 0, data);
        if (onReceive == OnReceive.TRY) (, answer) = target.call(data);
    }

    function _call(address to, uint256 value, bytes memory input) private {
        (bool done, bytes memory reason) = to.call{value: value}(input);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(reason, 0x20), mload(reason))
            }
        }
    }
}
