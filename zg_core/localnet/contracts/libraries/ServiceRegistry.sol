// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.22;

import {IServing} from "../interfaces/IServing.sol";
import {InterfaceProbe} from "./InterfaceProbe.sol";
import {AddressSet, Sets} from "./Sets.sol";

struct ServiceInfo {
    address serviceAddress;
    IServing serviceContract;
    string serviceType;
    string version;
    string fullName;
    string description;
    bool isRecommended;
    uint256 registeredAt;
}

struct Registry {
    AddressSet services;
    mapping(address service => ServiceInfo) infos;
    mapping(string fullName => address service) byName;
    mapping(string serviceType => address service) recommended;
}

/// @title The services a ledger knows (0g-contracts C7, B7). There is no removal.
library ServiceRegistry {
    using Sets for AddressSet;

    uint256 internal constant MAX_SERVICES = 500;

    error InvalidServiceAddress(address serviceAddress);
    error NoRecommendedService(string serviceType);
    error ServiceAlreadyRegistered(address serviceAddress);
    error ServiceMustImplementIServing(address serviceAddress);
    error ServiceNameExists(string serviceName);
    error ServiceNotFound(address serviceAddress);
    error ServiceRegistryLimitReached(uint256 limit);
    error ServiceTypeRequired();
    error VersionRequired();

    event RecommendedServiceUpdated(string serviceType, string version, address serviceAddress);
    event ServiceRegistered(address indexed serviceAddress, string serviceName);

    /// @dev Check order of C7.1.
    function register(
        Registry storage self,
        string memory serviceType,
        string memory version,
        address service,
        string memory description
    ) internal {
        if (service == address(0)) revert InvalidServiceAddress(service);
        if (bytes(serviceType).length == 0) revert ServiceTypeRequired();
        if (bytes(version).length == 0) revert VersionRequired();
        if (self.services.contains(service)) revert ServiceAlreadyRegistered(service);
        string memory name = fullName(serviceType, version);
        if (self.byName[name] != address(0)) revert ServiceNameExists(name);
        if (!InterfaceProbe.isImplementedBy(service, type(IServing).interfaceId)) {
            revert ServiceMustImplementIServing(service);
        }
        if (self.services.length() >= MAX_SERVICES) revert ServiceRegistryLimitReached(MAX_SERVICES);

        self.services.add(service);
        self.byName[name] = service;
        self.infos[service] = ServiceInfo({
            serviceAddress: service,
            serviceContract: IServing(service),
            serviceType: serviceType,
            version: version,
            fullName: name,
            description: description,
            isRecommended: false,
            registeredAt: block.timestamp
        });
        emit ServiceRegistered(service, name);
    }

    /// @dev One recommended service per type (C7.3).
    function recommend(Registry storage self, string memory serviceType, string memory version) internal {
        address service = self.byName[fullName(serviceType, version)];
        if (service == address(0)) revert ServiceNotFound(address(0));
        address former = self.recommended[serviceType];
        if (former != address(0)) self.infos[former].isRecommended = false;
        self.infos[service].isRecommended = true;
        self.recommended[serviceType] = service;
        emit RecommendedServiceUpdated(serviceType, version, service);
    }

    function recommendedOf(
        Registry storage self,
        string memory serviceType
    ) internal view returns (string memory version, address service) {
        service = self.recommended[serviceType];
        if (service == address(0)) revert NoRecommendedService(serviceType);
        version = self.infos[service].version;
    }

    function isRecommended(
        Registry storage self,
        string memory serviceType,
        string memory version
    ) internal view returns (bool) {
        address service = self.byName[fullName(serviceType, version)];
        return service != address(0) && self.infos[service].isRecommended;
    }

    /// @notice The address behind a full name such as "inference-v1.0".
    function find(Registry storage self, string memory name) internal view returns (address service) {
        service = self.byName[name];
        if (service == address(0)) revert ServiceNotFound(address(0));
    }

    function all(Registry storage self) internal view returns (ServiceInfo[] memory infos) {
        uint256 count = self.services.length();
        infos = new ServiceInfo[](count);
        for (uint256 i = 0; i < count; ++i) {
            infos[i] = self.infos[self.services.at(i)];
        }
    }

    /// @notice Versions of one type in registration order; three empty arrays for an unknown type.
    function versionsOf(
        Registry storage self,
        string memory serviceType
    ) internal view returns (string[] memory versions, address[] memory addresses, bool[] memory flags) {
        bytes32 wanted = keccak256(bytes(serviceType));
        address[] memory services = self.services.values();
        uint256 found = 0;
        for (uint256 i = 0; i < services.length; ++i) {
            if (keccak256(bytes(self.infos[services[i]].serviceType)) == wanted) services[found++] = services[i];
        }
        versions = new string[](found);
        addresses = new address[](found);
        flags = new bool[](found);
        for (uint256 i = 0; i < found; ++i) {
            ServiceInfo storage info = self.infos[services[i]];
            versions[i] = info.version;
            addresses[i] = services[i];
            flags[i] = info.isRecommended;
        }
    }

    function fullName(string memory serviceType, string memory version) internal pure returns (string memory) {
        return string.concat(serviceType, "-", version);
    }
}
