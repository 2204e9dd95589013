// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

/// @title The contract owner and its two string errors (0g-contracts B5).
abstract contract Ownable {
    address private _owner;

    event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);

    constructor() {
        _setOwner(msg.sender);
    }

    modifier onlyOwner() {
        require(_owner == msg.sender, "Ownable: caller is not the owner");
        _;
    }

    function owner() public view returns (address) {
        return _owner;
    }

    function transferOwnership(address newOwner) public onlyOwner {
        require(newOwner != address(0), "Ownable: new owner is the zero address");
        _setOwner(newOwner);
    }

    function renounceOwnership() public onlyOwner {
        _setOwner(address(0));
    }

    /// @dev Unchecked: a zero owner is legal at initialisation (0g-contracts C1.1).
    function _setOwner(address newOwner) internal {
        address previousOwner = _owner;
        _owner = newOwner;
        emit OwnershipTransferred(previousOwner, newOwner);
    }
}
