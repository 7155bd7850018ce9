// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {DeviceRegistry} from "../../src/DeviceRegistry.sol";
import {Permit} from "../../src/Permit.sol";
import {Board, Boards} from "./Boards.sol";
import {vm} from "./Vm.sol";

/// @notice A registry at a plausible time, two people and a stranger.
abstract contract RegistryFixture {
    using Boards for Board;

    uint256 internal constant NOW = 1_800_000_000;
    address internal constant ALICE = address(0xa11ce);
    address internal constant BOB = address(0xb0b);
    address internal constant STRANGER = address(0x57a);

    DeviceRegistry internal registry;

    constructor() {
        vm.warp(NOW);
        registry = new DeviceRegistry();
    }

    function permitOf(Board memory board, address owner) internal view returns (Permit memory) {
        return board.permit(address(registry), owner);
    }

    function registerNew(uint256 seed, address owner) internal returns (Board memory board) {
        board = Boards.make(seed);
        registry.register(permitOf(board, owner));
    }

    function isRegistered(uint256 id) internal view returns (bool) {
        (uint48 activeFrom,,,) = registry.devices(id);
        return activeFrom != 0;
    }
}
