// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {Paging} from "./Paging.sol";
import {AddressSet, Sets} from "./Sets.sol";

struct Ledger {
    address user;
    uint256 availableBalance;
    uint256 totalBalance;
    string additionalInfo;
}

struct LedgerBook {
    mapping(address user => Ledger) ledgers;
    AddressSet users;
}

/// @title One ledger per user: what is free, what is free or in sub-accounts, and a text (0g-contracts C2).
library Ledgers {
    using Sets for AddressSet;

    error LedgerExists(address user);
    error LedgerNotExists(address user);

    function exists(LedgerBook storage self, address user) internal view returns (bool) {
        return self.users.contains(user);
    }

    /// @notice The ledger, or `LedgerNotExists`.
    function get(LedgerBook storage self, address user) internal view returns (Ledger storage) {
        if (!exists(self, user)) revert LedgerNotExists(user);
        return self.ledgers[user];
    }

    function create(LedgerBook storage self, address user, uint256 amount, string memory additionalInfo) internal {
        if (!self.users.add(user)) revert LedgerExists(user);
        self.ledgers[user] = Ledger(user, amount, amount, additionalInfo);
    }

    function remove(LedgerBook storage self, address user) internal {
        self.users.remove(user);
        delete self.ledgers[user];
    }

    function page(
        LedgerBook storage self,
        uint256 offset,
        uint256 limit
    ) internal view returns (Ledger[] memory ledgers, uint256 total) {
        total = self.users.length();
        ledgers = new Ledger[](Paging.size(offset, limit, total));
        for (uint256 i = 0; i < ledgers.length; ++i) {
            ledgers[i] = self.ledgers[self.users.at(offset + i)];
        }
    }
}
