// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

/// @title Bounds of one page of a list (0g-contracts A9, B7).
library Paging {
    uint256 internal constant PAGE = 50;

    /// @return count Entries from `offset` on; limit 0 means PAGE; an offset at or past the end gives none.
    function size(uint256 offset, uint256 limit, uint256 total) internal pure returns (uint256 count) {
        if (offset >= total) return 0;
        // checked addition: offset + limit past 2^256 is Panic(0x11)
        uint256 end = offset + (limit == 0 ? PAGE : limit);
        return (end > total ? total : end) - offset;
    }
}
