// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import "./Permits.sol";

error PaymentTooEarly();
error InvalidOwner();
error InvalidDestination();

/// @title Takes all that a permit allows, once, for whom it names (x402 scheme "exact"; opengradient 2.4).
contract ExactProxy {
    struct Witness {
        address to;
        uint256 validAfter;
    }

    IPermitTransfer private constant PERMITS = IPermitTransfer(0x000000000022D473030F116dDEE9F6B43aC78BA3);
    bytes32 private constant WITNESS_TYPEHASH = keccak256("Witness(address to,uint256 validAfter)");
    string private constant WITNESS_TYPE =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,uint256 validAfter)";

    event Settled();

    function settle(
        PermitTransferFrom calldata permit,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external {
        if (block.timestamp < witness.validAfter) revert PaymentTooEarly();
        if (owner == address(0)) revert InvalidOwner();
        if (witness.to == address(0)) revert InvalidDestination();
        bytes32 hash = keccak256(abi.encode(WITNESS_TYPEHASH, witness.to, witness.validAfter));
        PERMITS.permitWitnessTransferFrom(
            permit,
            SignatureTransferDetails(witness.to, permit.permitted.amount),
            owner,
            hash,
            WITNESS_TYPE,
            signature
        );
        emit Settled();
    }
}
