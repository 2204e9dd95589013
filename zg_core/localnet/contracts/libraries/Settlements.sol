// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

struct TEESettlementData {
    address user;
    address provider;
    uint256 totalFee;
    bytes32 requestsHash;
    uint256 nonce;
    bytes signature;
}

enum SettlementStatus {
    SUCCESS,
    PARTIAL,
    PROVIDER_MISMATCH,
    NO_TEE_SIGNER,
    INVALID_NONCE,
    INVALID_SIGNATURE
}

/// @title What a provider's TEE signs for a settlement, and who signed it (EIP-712; 0g-direct 2.5).
library Settlements {
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant SETTLEMENT_TYPEHASH =
        keccak256("TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)");
    bytes32 private constant NAME_HASH = keccak256("0G Inference Serving");
    bytes32 private constant VERSION_HASH = keccak256("1");
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice True if `signer` signed the item: 65 bytes, v 27 or 28, low s, and never for a signer of zero.
    function isSignedBy(TEESettlementData calldata item, address signer) internal view returns (bool) {
        bytes calldata signature = item.signature;
        if (signature.length != 65) return false;
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > HALF_ORDER) return false;
        // the precompile answers zero for any other v
        address recovered = ecrecover(digest(item), uint8(signature[64]), r, s);
        return recovered != address(0) && recovered == signer;
    }

    /// @dev The domain is made at run time from the chain id and this proxy's address (0g-contracts C6.7).
    function digest(TEESettlementData calldata item) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this))
        );
        bytes32 message = keccak256(
            abi.encode(SETTLEMENT_TYPEHASH, item.requestsHash, item.nonce, item.provider, item.user, item.totalFee)
        );
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }
}
