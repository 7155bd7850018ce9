// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {Permit} from "../src/Permit.sol";
import {Board, Boards} from "./base/Boards.sol";
import {RegistryFixture} from "./base/RegistryFixture.sol";
import {vm, within} from "./base/Vm.sol";

contract DeviceRegistryBatchTest is RegistryFixture {
    using Boards for Board;

    uint256 private constant COUNT = 5;

    function batch() private view returns (Permit[] memory permits) {
        permits = new Permit[](COUNT);
        for (uint256 i = 0; i < COUNT; ++i) {
            permits[i] = permitOf(Boards.make(i), i % 2 == 0 ? ALICE : BOB);
        }
    }

    function registeredCount() private view returns (uint256 count) {
        for (uint256 i = 0; i < COUNT; ++i) {
            if (isRegistered(Boards.make(i).id)) ++count;
        }
    }

    function test_registersAll() external {
        registry.registerBatch(batch());
        vm.assertEq(registeredCount(), COUNT, "all");
        vm.assertEq(registry.balanceOf(ALICE), 3, "Alice's");
        vm.assertEq(registry.balanceOf(BOB), 2, "Bob's");
    }

    function testFuzz_frontRunnerCannotBlockIt(uint256 which) external {
        Permit[] memory permits = batch();
        vm.startPrank(STRANGER);
        for (uint256 i = 0; i < COUNT; ++i) {
            if (which >> i & 1 == 1) registry.register(permits[i]);
        }
        vm.stopPrank();
        registry.registerBatch(permits);
        vm.assertEq(registeredCount(), COUNT, "all");
        registry.registerBatch(permits);
        vm.assertEq(registry.balanceOf(ALICE), 3, "a second time changes nothing");
    }

    function test_samePermitTwiceIsOneDevice() external {
        Permit[] memory permits = batch();
        permits[3] = permits[2];
        registry.registerBatch(permits);
        vm.assertEq(registeredCount(), COUNT - 1, "each once");
    }

    function testFuzz_badPermitIsNamedAndNothingIsRegistered(uint256 index, bytes32 change) external {
        vm.assume(change != 0);
        index = within(index, 0, COUNT - 1);
        Permit[] memory permits = batch();
        permits[index].metadataHash ^= change;
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.PermitSignatureInvalid.selector, index));
        registry.registerBatch(permits);
        vm.assertEq(registeredCount(), 0, "nothing");
    }

    function test_expiredPermitIsNamed() external {
        Permit[] memory permits = batch();
        permits[4] = Boards.make(4).permit(block.chainid, address(registry), ALICE, 0, NOW - 1);
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.PermitExpired.selector, 4, NOW - 1));
        registry.registerBatch(permits);
    }

    function test_emptyBatchIsNothing() external {
        registry.registerBatch(new Permit[](0));
    }
}
