// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {Permit} from "../src/Permit.sol";
import {Board, Boards} from "./base/Boards.sol";
import {RegistryFixture} from "./base/RegistryFixture.sol";
import {vm, within} from "./base/Vm.sol";

/// @notice From registration to revocation or succession, and who may do what.
contract DeviceRegistryLifeTest is RegistryFixture {
    using Boards for Board;

    Board private board;

    function setUp() external {
        board = registerNew(1, ALICE);
    }

    function test_isAToken() external view {
        vm.assertEq(keccak256(bytes(registry.name())), keccak256("Trigpoint Device"), "name");
        vm.assertEq(keccak256(bytes(registry.symbol())), keccak256("TRIG"), "symbol");
        vm.assertTrue(registry.supportsInterface(type(IERC721).interfaceId), "ERC-721");
    }

    function test_neverRegisteredIsNeverActive() external view {
        vm.assertFalse(registry.activeAt(board.id ^ 1, NOW), "now");
        vm.assertFalse(registry.activeAt(0, 0), "zero");
        vm.assertFalse(registry.activeAt(board.id ^ 1, type(uint256).max), "at the end of time");
    }

    function testFuzz_activeFromStartToEnd(uint256 life, uint256 time) external {
        vm.assertFalse(registry.activeAt(board.id, NOW - 1), "before");
        vm.assertTrue(registry.activeAt(board.id, NOW), "from the start second");
        vm.assertTrue(registry.activeAt(board.id, type(uint256).max), "without an end");

        life = within(life, 0, 100 * 365 days);
        vm.warp(NOW + life);
        vm.expectEmit(address(registry));
        emit DeviceRegistry.DeviceRevoked(board.id);
        vm.prank(ALICE);
        registry.revoke(board.id);
        vm.assertTrue(registry.activeAt(board.id, time) == (time >= NOW && time < NOW + life), "up to the end second");
        vm.assertFalse(registry.activeAt(board.id, NOW + life), "not in the end second");
        vm.assertTrue(life == 0 || registry.activeAt(board.id, NOW + life - 1), "but in the one before");
    }

    function assertCannotRevoke(address who) private {
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.NotDeviceOwner.selector, board.id, who));
        vm.prank(who);
        registry.revoke(board.id);
    }

    function test_onlyTheOwnerRevokes() external {
        assertCannotRevoke(STRANGER);

        vm.startPrank(ALICE);
        registry.approve(BOB, board.id);
        registry.setApprovalForAll(BOB, true);
        vm.stopPrank();
        assertCannotRevoke(BOB); // may move the token, but not end the device
        vm.assertTrue(registry.activeAt(board.id, NOW), "still active");
    }

    function test_aTransferMovesTheRight() external {
        vm.prank(ALICE);
        registry.transferFrom(ALICE, BOB, board.id);
        assertCannotRevoke(ALICE);
        vm.prank(BOB);
        registry.revoke(board.id);
        vm.assertFalse(registry.activeAt(board.id, NOW), "revoked");
    }

    function test_aLifeEndsOnce() external {
        vm.startPrank(ALICE);
        registry.revoke(board.id);
        vm.warp(NOW + 1 days);
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.DeviceNotActive.selector, board.id));
        registry.revoke(board.id);
        Permit memory next = permitOf(Boards.make(2), ALICE);
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.DeviceNotActive.selector, board.id));
        registry.succeed(board.id, next);
        vm.stopPrank();
    }

    function test_unknownDeviceHasNoOwner() external {
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.NotDeviceOwner.selector, 7, ALICE));
        vm.prank(ALICE);
        registry.revoke(7);
    }

    function test_succeedHandsOverWithoutAGap() external {
        Board memory next = Boards.make(2);
        vm.warp(NOW + 1 days);
        Permit memory permit = permitOf(next, ALICE);
        vm.expectEmit(address(registry));
        emit DeviceRegistry.DeviceRegistered(next.id, ALICE, next.x, next.y, permit.metadataHash);
        vm.expectEmit(address(registry));
        emit DeviceRegistry.DeviceSucceeded(board.id, next.id);
        vm.prank(ALICE);
        vm.assertEq(registry.succeed(board.id, permit), next.id, "new id");

        (, uint48 until,, uint256 successor) = registry.devices(board.id);
        vm.assertEq(until, NOW + 1 days, "the old one ends now");
        vm.assertEq(successor, next.id, "link");
        for (uint256 time = NOW + 1 days - 2; time <= NOW + 1 days + 2; ++time) {
            vm.assertTrue(
                registry.activeAt(board.id, time) != registry.activeAt(next.id, time), "exactly one at any second"
            );
        }
    }

    function assertCannotSucceed(address who, Permit memory permit, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(who);
        registry.succeed(board.id, permit);
        (, uint48 until,, uint256 successor) = registry.devices(board.id);
        vm.assertEq(until + successor, 0, "nothing changed");
    }

    function test_onlyTheOwnerNamesASuccessor() external {
        assertCannotSucceed(
            STRANGER,
            permitOf(Boards.make(2), STRANGER),
            abi.encodeWithSelector(DeviceRegistry.NotDeviceOwner.selector, board.id, STRANGER)
        );
    }

    function test_theSuccessorIsTheSameOwners() external {
        Board memory next = Boards.make(2);
        bytes memory reason = abi.encodeWithSelector(DeviceRegistry.SuccessorOfOtherOwner.selector, next.id, BOB);
        assertCannotSucceed(ALICE, permitOf(next, BOB), reason);
        registry.register(permitOf(next, BOB));
        assertCannotSucceed(ALICE, permitOf(next, ALICE), reason);
    }

    function test_theSuccessorsPermitMustBeGood() external {
        Permit memory permit = permitOf(Boards.make(2), ALICE);
        permit.metadataHash = 0;
        assertCannotSucceed(ALICE, permit, abi.encodeWithSelector(DeviceRegistry.PermitSignatureInvalid.selector, 0));
    }

    function test_frontRunnerCannotBlockSuccession() external {
        Board memory next = Boards.make(2);
        Permit memory permit = permitOf(next, ALICE);
        vm.prank(STRANGER);
        registry.register(permit);
        vm.warp(NOW + 10);
        vm.prank(ALICE);
        registry.succeed(board.id, permit);
        vm.assertFalse(registry.activeAt(board.id, NOW + 10), "old");
        vm.assertTrue(registry.activeAt(next.id, NOW + 10), "new");
    }

    function test_noDeviceSucceedsItself() external {
        assertCannotSucceed(
            ALICE, permitOf(board, ALICE), abi.encodeWithSelector(DeviceRegistry.DeviceNotActive.selector, board.id)
        );
    }

    function test_theDeadDoNotSucceed() external {
        Board memory next = registerNew(2, ALICE);
        vm.prank(ALICE);
        registry.revoke(next.id);
        assertCannotSucceed(
            ALICE, permitOf(next, ALICE), abi.encodeWithSelector(DeviceRegistry.DeviceNotActive.selector, next.id)
        );
    }
}
