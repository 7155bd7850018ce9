// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What another contract asks of the registry
interface IDeviceRegistry {
    /// @notice Whether the device was active at a time: from its start second up to, but not including, its end second.
    /// @param id Device id: the thumbprint of its public key, as a number.
    /// @param time Seconds since 1970. For a time to come the answer is what is known now.
    /// @return False for an id that was never registered.
    function activeAt(uint256 id, uint256 time) external view returns (bool);
}
