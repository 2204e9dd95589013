// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

/// @dev Elements in insertion order plus each element's place (1-based, 0 = absent).
struct Bytes32Set {
    bytes32[] elements;
    mapping(bytes32 element => uint256 place) places;
}

/// @dev The same, seen as addresses.
struct AddressSet {
    Bytes32Set inner;
}

/// @title Enumerable sets (0g-contracts B8): insertion order; removal moves the last element into the gap.
library Sets {
    function add(Bytes32Set storage set, bytes32 element) internal returns (bool) {
        if (contains(set, element)) return false;
        set.elements.push(element);
        set.places[element] = set.elements.length;
        return true;
    }

    function remove(Bytes32Set storage set, bytes32 element) internal returns (bool) {
        uint256 place = set.places[element];
        if (place == 0) return false;
        uint256 lastPlace = set.elements.length;
        if (place != lastPlace) {
            bytes32 moved = set.elements[lastPlace - 1];
            set.elements[place - 1] = moved;
            set.places[moved] = place;
        }
        set.elements.pop();
        delete set.places[element];
        return true;
    }

    function contains(Bytes32Set storage set, bytes32 element) internal view returns (bool) {
        return set.places[element] != 0;
    }

    function length(Bytes32Set storage set) internal view returns (uint256) {
        return set.elements.length;
    }

    function at(Bytes32Set storage set, uint256 index) internal view returns (bytes32) {
        return set.elements[index];
    }

    function add(AddressSet storage set, address element) internal returns (bool) {
        return add(set.inner, _widen(element));
    }

    function remove(AddressSet storage set, address element) internal returns (bool) {
        return remove(set.inner, _widen(element));
    }

    function contains(AddressSet storage set, address element) internal view returns (bool) {
        return contains(set.inner, _widen(element));
    }

    function length(AddressSet storage set) internal view returns (uint256) {
        return length(set.inner);
    }

    function at(AddressSet storage set, uint256 index) internal view returns (address) {
        return address(uint160(uint256(at(set.inner, index))));
    }

    /// @notice A copy in list order; safe to walk while the set is emptied.
    function values(AddressSet storage set) internal view returns (address[] memory copy) {
        uint256 count = length(set);
        copy = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            copy[i] = at(set, i);
        }
    }

    function _widen(address element) private pure returns (bytes32) {
        return bytes32(uint256(uint160(element)));
    }
}
