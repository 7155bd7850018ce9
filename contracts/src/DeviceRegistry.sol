// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {IDeviceRegistry} from "./IDeviceRegistry.sol";
import {Permit, PermitSignature} from "./Permit.sol";
import {Thumbprint} from "./Thumbprint.sol";

/// @title Trigpoint's devices: which keys count as boards, whose they are, and from when to when
/// @notice Each device is an ERC-721 token whose id is the thumbprint of the board's P-256 key. A board agrees to be registered by
/// signing a permit; anyone may submit it and pay. A device is active from the block that registered it until its owner revokes it or
/// names a successor, and an id is never registered twice. Nobody has powers over the contract: it has no owner and cannot be changed.
contract DeviceRegistry is ERC721, IDeviceRegistry {
    using PermitSignature for Permit;

    /// @notice A device's life. `activeFrom` and `activeUntil` share a slot, which is all that `activeAt` reads.
    /// @param activeFrom Second of the block that registered it; 0 means never registered.
    /// @param activeUntil Second from which it is no longer active; 0 means it still is.
    /// @param metadataHash From the permit. It is kept in state, not in the event alone, so that contracts can check a
    /// document and nobody needs an archive of events to do so; a permit without metadata does not pay for it.
    /// @param successor The device that took over; 0 for none. Paid for only when there is one.
    struct Device {
        uint48 activeFrom;
        uint48 activeUntil;
        bytes32 metadataHash;
        uint256 successor;
    }

    /// @notice The device by its id; all zeros if it was never registered.
    mapping(uint256 id => Device) public devices;

    /// @notice A device was registered and is active from this block on.
    event DeviceRegistered(uint256 indexed id, address indexed owner, bytes32 x, bytes32 y, bytes32 metadataHash);
    /// @notice The owner ended the device's life in this block.
    event DeviceRevoked(uint256 indexed id);
    /// @notice The owner ended the old device's life in this block; the new one goes on in its place.
    event DeviceSucceeded(uint256 indexed oldId, uint256 indexed newId);

    /// @notice The device was registered before; an id is used once, revoked or not.
    error AlreadyRegistered(uint256 id);
    /// @notice The permit's time is over.
    /// @param index Place of the permit in the batch; 0 for a single one.
    error PermitExpired(uint256 index, uint256 deadline);
    /// @notice The permit names no owner.
    /// @param index Place of the permit in the batch; 0 for a single one.
    error PermitWithoutOwner(uint256 index);
    /// @notice The key did not sign this permit for this contract on this chain, the key is not on the curve, or s is the high one.
    /// @param index Place of the permit in the batch; 0 for a single one.
    error PermitSignatureInvalid(uint256 index);
    /// @notice Only the device's owner may do this. An approval to move the token is not enough.
    error NotDeviceOwner(uint256 id, address caller);
    /// @notice The device was never registered, or its life is over.
    error DeviceNotActive(uint256 id);
    /// @notice A device's successor must belong to the device's owner.
    error SuccessorOfOtherOwner(uint256 newId, address owner);

    constructor() ERC721("Trigpoint Device", "TRIG") {}

    /// @notice Registers a board by its permit. Anyone may call.
    /// @param permit The board's permit.
    /// @return id The device's id.
    function register(Permit calldata permit) external returns (uint256 id) {
        id = _idOf(permit);
        if (_isRegistered(id)) revert AlreadyRegistered(id);
        _register(id, permit, 0);
    }

    /// @notice Registers many boards. What is registered already is skipped, whoever owns it, so that nobody can stop a batch by
    /// submitting one of its permits first; the events tell what this call registered. Any other bad permit reverts the whole batch.
    /// @param permits The boards' permits.
    function registerBatch(Permit[] calldata permits) external {
        for (uint256 i = 0; i < permits.length; ++i) {
            uint256 id = _idOf(permits[i]);
            if (!_isRegistered(id)) _register(id, permits[i], i);
        }
    }

    /// @notice Ends a device's life: from this second on it is not active, and it can never be again. Owner only.
    /// @param id The device.
    function revoke(uint256 id) external {
        _end(id);
        emit DeviceRevoked(id);
    }

    /// @notice Ends an old key's life and lets a new one go on in its place, without a second between. Owner only.
    /// @dev A new key that is registered already to the same owner is taken as it is: else anyone could block the call
    /// by submitting the permit first. Links cannot form a ring, because the old device must be active and no longer is afterwards.
    /// @param oldId The device to end.
    /// @param permit The new board's permit, for the same owner.
    /// @return newId The device that goes on.
    function succeed(uint256 oldId, Permit calldata permit) external returns (uint256 newId) {
        _end(oldId);
        newId = _idOf(permit);
        devices[oldId].successor = newId;
        if (!_isRegistered(newId)) {
            if (permit.owner != msg.sender) revert SuccessorOfOtherOwner(newId, permit.owner);
            _register(newId, permit, 0);
        } else {
            address owner = ownerOf(newId);
            if (owner != msg.sender) revert SuccessorOfOtherOwner(newId, owner);
            if (devices[newId].activeUntil != 0) revert DeviceNotActive(newId);
        }
        emit DeviceSucceeded(oldId, newId);
    }

    /// @inheritdoc IDeviceRegistry
    function activeAt(uint256 id, uint256 time) external view returns (bool) {
        Device storage device = devices[id];
        uint256 from = device.activeFrom;
        uint256 until = device.activeUntil;
        return from != 0 && from <= time && (until == 0 || time < until);
    }

    /// @dev Checks the permit and writes the device. The caller has made sure that the id is new.
    /// `_mint`, not `_safeMint`: the safe one calls the owner's contract, which would let one owner in a batch run code in the middle of
    /// it, or refuse and so block the others; and the owner is not the caller's choice but bound by the board's signature.
    function _register(uint256 id, Permit calldata permit, uint256 index) private {
        if (permit.owner == address(0)) revert PermitWithoutOwner(index);
        if (block.timestamp > permit.deadline) revert PermitExpired(index, permit.deadline);
        if (!permit.verify()) revert PermitSignatureInvalid(index);

        Device storage device = devices[id];
        device.activeFrom = uint48(block.timestamp);
        if (permit.metadataHash != 0) device.metadataHash = permit.metadataHash;
        _mint(permit.owner, id);
        emit DeviceRegistered(id, permit.owner, permit.x, permit.y, permit.metadataHash);
    }

    /// @dev Ends an active device of the caller's.
    function _end(uint256 id) private {
        if (_ownerOf(id) != msg.sender) revert NotDeviceOwner(id, msg.sender);
        Device storage device = devices[id];
        if (device.activeUntil != 0) revert DeviceNotActive(id);
        device.activeUntil = uint48(block.timestamp);
    }

    function _isRegistered(uint256 id) private view returns (bool) {
        return devices[id].activeFrom != 0;
    }

    function _idOf(Permit calldata permit) private pure returns (uint256) {
        return uint256(Thumbprint.kid(permit.x, permit.y));
    }
}
