// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import "./Permits.sol";

error InvalidNonce();
error SignatureExpired(uint256 signatureDeadline);
error InvalidAmount(uint256 maxAmount);
error TransferRefused();

/// @title Transfers by a signature that names its purpose: what payments need of Permit2, and no more.
/// @dev The domain is made at run time, so that the same code serves any chain and address (opengradient 2.4).
contract PermitTransfer is IPermitTransfer {
    /// @notice Which numbers of an owner's permits are used: one bit each, by word.
    mapping(address => mapping(uint256 => uint256)) public nonceBitmap;

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)");
    bytes32 private constant TOKEN_TYPEHASH = keccak256("TokenPermissions(address token,uint256 amount)");
    string private constant STUB =
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,";

    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata details,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external {
        if (block.timestamp > permit.deadline) revert SignatureExpired(permit.deadline);
        if (details.requestedAmount > permit.permitted.amount) revert InvalidAmount(permit.permitted.amount);
        _use(owner, permit.nonce);
        bytes32 digest = _digest(permit, witness, witnessTypeString);
        if (!Signatures.isBy(owner, digest, signature)) revert InvalidSignature();
        if (!IToken(permit.permitted.token).transferFrom(owner, details.to, details.requestedAmount)) {
            revert TransferRefused();
        }
    }

    /// @notice Makes permits of the caller worthless that were not used yet.
    function invalidateUnorderedNonces(uint256 word, uint256 mask) external {
        nonceBitmap[msg.sender][word] |= mask;
    }

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("Permit2"), block.chainid, address(this)));
    }

    function _use(address owner, uint256 nonce) private {
        uint256 bit = 1 << (nonce & 0xff);
        uint256 word = nonceBitmap[owner][nonce >> 8];
        if (word & bit != 0) revert InvalidNonce();
        nonceBitmap[owner][nonce >> 8] = word | bit;
    }

    function _digest(
        PermitTransferFrom calldata permit,
        bytes32 witness,
        string calldata witnessTypeString
    ) private view returns (bytes32) {
        bytes32 typehash = keccak256(abi.encodePacked(STUB, witnessTypeString));
        bytes32 permitted = keccak256(abi.encode(TOKEN_TYPEHASH, permit.permitted.token, permit.permitted.amount));
        bytes32 message = keccak256(
            abi.encode(typehash, permitted, msg.sender, permit.nonce, permit.deadline, witness)
        );
        return keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR(), message));
    }
}
