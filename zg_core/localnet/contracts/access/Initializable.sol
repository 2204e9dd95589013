// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

/// @title One-time initialisation behind a proxy (0g-contracts A1, C1).
/// @dev Two flags: an implementation is sealed by its constructor but does not count as initialised.
abstract contract Initializable {
    bool private _initialized;
    bool private _sealed;

    error AlreadyInitialized();

    event Initialized(uint8 version);

    /// @dev Runs the body once and reports it after everything else the body emits.
    modifier initializer() {
        if (_initialized || _sealed) revert AlreadyInitialized();
        _initialized = true;
        _;
        emit Initialized(1);
    }

    /// @notice True after `initialize`; stays false on a sealed implementation.
    function initialized() external view returns (bool) {
        return _initialized;
    }

    /// @dev For constructors of implementations: `initialize` can then never run on them.
    function _seal() internal {
        _sealed = true;
        emit Initialized(type(uint8).max);
    }
}
