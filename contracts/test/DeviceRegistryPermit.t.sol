// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {Permit} from "../src/Permit.sol";
import {Board, Boards} from "./base/Boards.sol";
import {RegistryFixture} from "./base/RegistryFixture.sol";
import {vm} from "./base/Vm.sol";

/// @notice What a permit allows, and every way to make it say more than the board signed.
contract DeviceRegistryPermitTest is RegistryFixture {
    using Boards for Board;

    Board private board = Boards.make(1);

    function assertRefused(Permit memory permit, bytes memory reason) private {
        uint256 id = uint256(sha256(bytes.concat(hex"a401022001215820", permit.x, hex"225820", permit.y)));
        vm.prank(STRANGER);
        vm.expectRevert(reason);
        registry.register(permit);
        vm.assertFalse(isRegistered(id), "refused, yet registered");
    }

    function badSignature() private pure returns (bytes memory) {
        return abi.encodeWithSelector(DeviceRegistry.PermitSignatureInvalid.selector, 0);
    }

    function test_anyoneMaySubmit() external {
        Permit memory permit = permitOf(board, ALICE);
        vm.expectEmit(address(registry));
        emit DeviceRegistry.DeviceRegistered(board.id, ALICE, board.x, board.y, permit.metadataHash);
        vm.prank(STRANGER);
        uint256 id = registry.register(permit);

        vm.assertEq(id, board.id, "id is the thumbprint");
        vm.assertEq(registry.ownerOf(id), ALICE, "owner");
        (uint48 from, uint48 until, bytes32 metadataHash, uint256 successor) = registry.devices(id);
        vm.assertEq(from, NOW, "active from this block");
        vm.assertEq(until, 0, "with no end");
        vm.assertEq(metadataHash, permit.metadataHash, "metadata");
        vm.assertEq(successor, 0, "no successor");
    }

    function testFuzz_everyFieldIsUnderTheSignature(
        address owner,
        bytes32 metadataHash,
        uint256 deadline,
        uint256 delay,
        address thief,
        bytes32 change
    ) external {
        vm.assume(owner != address(0) && thief != address(0) && thief != owner && change != 0);
        deadline = deadline < NOW ? deadline + NOW : deadline;
        Permit memory permit = board.permit(block.chainid, address(registry), owner, metadataHash, deadline);

        permit.owner = thief;
        assertRefused(permit, badSignature());
        permit.owner = owner;

        permit.metadataHash ^= change;
        assertRefused(permit, badSignature());
        permit.metadataHash ^= change;

        permit.deadline = NOW + delay % (type(uint256).max - NOW);
        if (permit.deadline != deadline) assertRefused(permit, badSignature());
        permit.deadline = deadline;

        permit.x ^= change;
        assertRefused(permit, badSignature());
        permit.x ^= change;

        permit.y ^= change;
        assertRefused(permit, badSignature());
        permit.y ^= change;

        permit.r ^= change;
        assertRefused(permit, badSignature());
        permit.r ^= change;

        permit.s ^= change;
        assertRefused(permit, badSignature());
        permit.s ^= change;

        vm.assertEq(registry.register(permit), board.id, "untouched, it is good");
    }

    function test_anotherBoardsKeyIsRefused() external {
        Board memory other = Boards.make(2);
        Permit memory permit = permitOf(board, ALICE);
        (permit.x, permit.y) = (other.x, other.y);
        assertRefused(permit, badSignature());
    }

    function test_replayIsRefused() external {
        Permit memory permit = permitOf(board, ALICE);
        registry.register(permit);
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.AlreadyRegistered.selector, board.id));
        registry.register(permit);
    }

    function test_replayAfterRevocationIsRefused() external {
        Permit memory permit = permitOf(board, ALICE);
        registry.register(permit);
        vm.prank(ALICE);
        registry.revoke(board.id);
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.AlreadyRegistered.selector, board.id));
        registry.register(permit);

        registry.registerBatch(single(permit));
        vm.assertFalse(registry.activeAt(board.id, NOW), "a batch does not revive it");
    }

    function test_secondOwnerComesTooLate() external {
        registry.register(permitOf(board, ALICE));
        Permit memory second = permitOf(board, BOB);
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.AlreadyRegistered.selector, board.id));
        registry.register(second);
        vm.assertEq(registry.ownerOf(board.id), ALICE, "owner");
    }

    function test_deadlineIsTheLastGoodSecond() external {
        Permit memory permit = permitOf(board, ALICE);
        vm.warp(permit.deadline + 1);
        assertRefused(permit, abi.encodeWithSelector(DeviceRegistry.PermitExpired.selector, 0, permit.deadline));
        vm.warp(permit.deadline);
        registry.register(permit);
    }

    function testFuzz_otherChainIsRefused(uint64 chainId) external {
        vm.assume(chainId != block.chainid && chainId != 0);
        Permit memory permit = permitOf(board, ALICE);
        uint256 here = block.chainid;
        vm.chainId(chainId);
        assertRefused(permit, badSignature());
        vm.chainId(here);
        registry.register(permit);
    }

    function test_otherContractIsRefused() external {
        Permit memory permit = permitOf(board, ALICE);
        DeviceRegistry other = new DeviceRegistry();
        vm.expectRevert(badSignature());
        other.register(permit);
        registry.register(permit);
    }

    function test_highSIsRefused() external {
        Permit memory permit = permitOf(board, ALICE);
        permit.s = Boards.otherS(permit.s);
        assertRefused(permit, badSignature());
    }

    function test_numbersOutOfRangeAreRefused() external {
        Permit memory good = permitOf(board, ALICE);
        bytes32[3] memory wrong = [bytes32(0), bytes32(Boards.N), bytes32(type(uint256).max)];
        for (uint256 i = 0; i < wrong.length; ++i) {
            Permit memory permit = permitOf(board, ALICE);
            permit.r = wrong[i];
            assertRefused(permit, badSignature());
            (permit.r, permit.s) = (good.r, wrong[i]);
            assertRefused(permit, badSignature());
        }
    }

    function test_pointsOffTheCurveAreRefused() external {
        Permit memory permit = permitOf(board, ALICE);
        (permit.x, permit.y) = (0, 0);
        assertRefused(permit, badSignature());
        (permit.x, permit.y) = (bytes32(type(uint256).max), bytes32(type(uint256).max));
        assertRefused(permit, badSignature());
    }

    function test_nobodyCannotOwn() external {
        assertRefused(
            permitOf(board, address(0)), abi.encodeWithSelector(DeviceRegistry.PermitWithoutOwner.selector, 0)
        );
    }

    /// @notice A permit is no statement and a statement no permit: a signature over the one's hash is not one over the other's.
    function test_statementSignatureIsNoPermit() external {
        Permit memory permit = permitOf(board, ALICE);
        (permit.r, permit.s) = board.sign(sha256(bytes.concat(hex"846a", "Signature1", hex"4040", "")));
        assertRefused(permit, badSignature());
    }

    /// @notice The registry mints to a contract that takes no tokens and does not call it: see `_register`.
    function test_ownerContractIsNotCalled() external {
        registry.register(permitOf(board, address(this)));
        vm.assertEq(registry.ownerOf(board.id), address(this), "owner");
    }

    function single(Permit memory permit) private pure returns (Permit[] memory permits) {
        permits = new Permit[](1);
        permits[0] = permit;
    }
}
