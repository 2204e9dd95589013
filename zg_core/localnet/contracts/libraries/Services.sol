// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {Paging} from "./Paging.sol";
import {AddressSet, Sets} from "./Sets.sol";

struct ServiceParams {
    string serviceType;
    string url;
    string model;
    string verifiability;
    uint256 inputPrice;
    uint256 outputPrice;
    string additionalInfo;
    address teeSignerAddress;
}

struct Service {
    address provider;
    string serviceType;
    string url;
    uint256 inputPrice;
    uint256 outputPrice;
    uint256 updatedAt;
    string model;
    string verifiability;
    string additionalInfo;
    address teeSignerAddress;
    bool teeSignerAcknowledged;
}

struct ServiceBook {
    mapping(address provider => Service) services;
    AddressSet providers;
    mapping(address provider => uint256) stakes;
}

/// @title The services of the providers and their stakes (0g-contracts C5).
library Services {
    using Sets for AddressSet;

    uint256 internal constant MIN_STAKE = 100 ether;
    uint256 internal constant MAX_ADDITIONAL_INFO_LENGTH = 4096;

    error AdditionalInfoTooLong();
    error CannotAddStakeWhenUpdating();
    error InsufficientStake(uint256 provided, uint256 required);
    error ServiceNotExist(address provider);

    event ProviderStaked(address indexed provider, uint256 amount);

    function exists(ServiceBook storage self, address provider) internal view returns (bool) {
        return self.providers.contains(provider);
    }

    /// @notice The service, or `ServiceNotExist`.
    function get(ServiceBook storage self, address provider) internal view returns (Service storage) {
        if (!exists(self, provider)) revert ServiceNotExist(provider);
        return self.services[provider];
    }

    /// @dev Stake checks, then the length of the text (C5.1); all that is sent the first time is stake.
    function put(ServiceBook storage self, address provider, ServiceParams calldata params) internal {
        if (self.stakes[provider] > 0) {
            if (msg.value != 0) revert CannotAddStakeWhenUpdating();
        } else {
            if (msg.value < MIN_STAKE) revert InsufficientStake(msg.value, MIN_STAKE);
            self.stakes[provider] = msg.value;
            emit ProviderStaked(provider, msg.value);
        }
        if (bytes(params.additionalInfo).length > MAX_ADDITIONAL_INFO_LENGTH) revert AdditionalInfoTooLong();

        Service storage service = self.services[provider];
        bool known = !self.providers.add(provider);
        // url and prices may change without a new acknowledgement by the owner (C5.2)
        service.teeSignerAcknowledged = known && service.teeSignerAcknowledged && _sameIdentity(service, params);
        service.provider = provider;
        service.serviceType = params.serviceType;
        service.url = params.url;
        service.inputPrice = params.inputPrice;
        service.outputPrice = params.outputPrice;
        service.updatedAt = block.timestamp;
        service.model = params.model;
        service.verifiability = params.verifiability;
        service.additionalInfo = params.additionalInfo;
        service.teeSignerAddress = params.teeSignerAddress;
    }

    /// @return stake What the provider gets back.
    function remove(ServiceBook storage self, address provider) internal returns (uint256 stake) {
        if (!self.providers.remove(provider)) revert ServiceNotExist(provider);
        stake = self.stakes[provider];
        delete self.stakes[provider];
        delete self.services[provider];
    }

    function page(
        ServiceBook storage self,
        uint256 offset,
        uint256 limit
    ) internal view returns (Service[] memory services, uint256 total) {
        total = self.providers.length();
        services = new Service[](Paging.size(offset, limit, total));
        for (uint256 i = 0; i < services.length; ++i) {
            services[i] = self.services[self.providers.at(offset + i)];
        }
    }

    /// @dev The five fields that the owner has reviewed (0g-direct 2.4).
    function _sameIdentity(Service storage service, ServiceParams calldata params) private view returns (bool) {
        return
            service.teeSignerAddress == params.teeSignerAddress &&
            _same(service.serviceType, params.serviceType) &&
            _same(service.model, params.model) &&
            _same(service.verifiability, params.verifiability) &&
            _same(service.additionalInfo, params.additionalInfo);
    }

    function _same(string storage stored, string calldata given) private view returns (bool) {
        return keccak256(bytes(stored)) == keccak256(bytes(given));
    }
}
