// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

struct OhttpConfig {
    uint8 keyId;
    uint16 kemId;
    uint16 kdfId;
    uint16 aeadId;
    bytes publicKey;
    bytes keyConfig;
    uint256 registeredAt;
}

struct TEEInfo {
    address owner;
    address paymentAddress;
    string endpoint;
    bytes publicKey;
    bytes tlsCertificate;
    bytes32 pcrHash;
    uint8 teeType;
    bool enabled;
    uint256 registeredAt;
    uint256 lastHeartbeatAt;
    OhttpConfig ohttpConfig;
}

error TEENotFound(bytes32 teeId);

/// @title Which enclaves there are (opengradient 2.1). Anybody may write: the operators of a local network are one.
contract EnclaveRegistry {
    uint256 public heartbeatMaxAge = 1800;

    mapping(bytes32 => TEEInfo) private _tees;
    bytes32[] private _ids;
    mapping(uint8 => mapping(bytes32 => bool)) public isPCRApproved;

    event TEERegistered(bytes32 indexed teeId, address indexed owner, uint8 teeType);

    /// @notice Writes an enclave, or writes it again; its id is the hash of its signing key.
    function put(TEEInfo calldata info) external returns (bytes32 teeId) {
        teeId = keccak256(info.publicKey);
        if (_tees[teeId].publicKey.length == 0) _ids.push(teeId);
        _tees[teeId] = info;
        emit TEERegistered(teeId, info.owner, info.teeType);
    }

    function setEnabled(bytes32 teeId, bool enabled) external {
        _known(teeId).enabled = enabled;
    }

    function beat(bytes32 teeId, uint256 time) external {
        _known(teeId).lastHeartbeatAt = time;
    }

    function approvePCR(uint8 teeType, bytes32 pcrHash, bool approved) external {
        isPCRApproved[teeType][pcrHash] = approved;
    }

    function getTEE(bytes32 teeId) external view returns (TEEInfo memory) {
        return _known(teeId);
    }

    function isTEEEnabled(bytes32 teeId) external view returns (bool) {
        return _tees[teeId].enabled;
    }

    function isTEEActive(bytes32 teeId) external view returns (bool) {
        return _isActive(_tees[teeId]);
    }

    function getTEEsByType(uint8 teeType) external view returns (bytes32[] memory) {
        bytes32[] memory found = new bytes32[](_ids.length);
        uint256 count;
        for (uint256 i = 0; i < _ids.length; ++i) {
            if (_tees[_ids[i]].teeType == teeType) found[count++] = _ids[i];
        }
        assembly ("memory-safe") {
            mstore(found, count)
        }
        return found;
    }

    function getEnabledTEEs(uint8 teeType) external view returns (TEEInfo[] memory) {
        return _select(teeType, false);
    }

    function getActiveTEEs(uint8 teeType) external view returns (TEEInfo[] memory) {
        return _select(teeType, true);
    }

    function _select(uint8 teeType, bool active) private view returns (TEEInfo[] memory) {
        TEEInfo[] memory found = new TEEInfo[](_ids.length);
        uint256 count;
        for (uint256 i = 0; i < _ids.length; ++i) {
            TEEInfo storage tee = _tees[_ids[i]];
            if (tee.teeType == teeType && (active ? _isActive(tee) : tee.enabled)) found[count++] = tee;
        }
        assembly ("memory-safe") {
            mstore(found, count)
        }
        return found;
    }

    function _isActive(TEEInfo storage tee) private view returns (bool) {
        return
            tee.enabled &&
            block.timestamp <= tee.lastHeartbeatAt + heartbeatMaxAge &&
            isPCRApproved[tee.teeType][tee.pcrHash];
    }

    function _known(bytes32 teeId) private view returns (TEEInfo storage tee) {
        tee = _tees[teeId];
        if (tee.publicKey.length == 0) revert TEENotFound(teeId);
    }
}
