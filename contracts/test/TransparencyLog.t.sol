// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDeviceRegistry} from "../src/IDeviceRegistry.sol";
import {TransparencyLog} from "../src/TransparencyLog.sol";
import {ReferenceTree} from "./base/ReferenceTree.sol";
import {RegistryFixture} from "./base/RegistryFixture.sol";
import {vm, within} from "./base/Vm.sol";

/// @notice Who may do what to a log, and every kind of head that must not be taken.
contract TransparencyLogTest is RegistryFixture {
    using ReferenceTree for bytes32[];

    bytes32 private constant LOG_KEY = keccak256("an Ed25519 key");
    uint256 private constant MOST = 100;

    TransparencyLog private log;
    bytes32 private logId;
    bytes32[] private leaves;
    bytes32[] private none;

    function setUp() external {
        log = new TransparencyLog(registry);
        leaves = ReferenceTree.leavesOf(1, MOST);
        vm.prank(ALICE);
        logId = log.open(LOG_KEY);
    }

    /// @dev Alice anchors the honest tree of `size` leaves.
    function anchor(uint256 size) private {
        bytes32[] memory tree = leaves;
        (, uint48 headSize,,) = log.heads(logId);
        bytes32[] memory proof = headSize == 0 ? none : tree.proof(headSize, size);
        bytes32 root = tree.root(size); // before the prank, which the SHA-256 precompile would use up
        vm.prank(ALICE);
        log.anchor(logId, size, root, proof);
    }

    function headHash() private view returns (bytes32) {
        (address writer, uint48 size, uint48 time, bytes32 root) = log.heads(logId);
        return keccak256(abi.encode(writer, size, time, root));
    }

    /// @dev The anchor must be refused for this reason, and the head stay as it was.
    function assertRefused(address who, uint256 size, bytes32 root, bytes32[] memory proof, bytes memory reason)
        private
    {
        bytes32 before = headHash();
        vm.expectRevert(reason);
        vm.prank(who);
        log.anchor(logId, size, root, proof);
        vm.assertEq(headHash(), before, "head unchanged");
    }

    function notWriter(address who) private view returns (bytes memory) {
        return abi.encodeWithSelector(TransparencyLog.NotLogWriter.selector, logId, who);
    }

    function notGrowing(uint256 headSize, uint256 size) private view returns (bytes memory) {
        return abi.encodeWithSelector(TransparencyLog.HeadNotGrowing.selector, logId, headSize, size);
    }

    function notExtension(uint256 headSize, uint256 size) private view returns (bytes memory) {
        return abi.encodeWithSelector(TransparencyLog.NotAnExtension.selector, logId, headSize, size);
    }

    // Opening

    function test_openMakesAnIdOfOpenerAndKey() external {
        bytes32 expected = sha256(bytes.concat(bytes12(0), bytes20(BOB), LOG_KEY));
        vm.expectEmit(address(log));
        emit TransparencyLog.LogOpened(expected, BOB, LOG_KEY);
        vm.expectEmit(address(log));
        emit TransparencyLog.WriterChanged(expected, BOB);
        vm.prank(BOB);
        vm.assertEq(log.open(LOG_KEY), expected, "id");

        (address opener, bytes32 logKey) = log.logs(expected);
        vm.assertEq(opener, BOB, "opener");
        vm.assertEq(logKey, LOG_KEY, "key");
        (address writer, uint48 size, uint48 time, bytes32 root) = log.heads(expected);
        vm.assertEq(writer, BOB, "writer");
        vm.assertEq(bytes32(uint256(size) + time), root, "an empty head");
    }

    function test_openTwiceReverts() external {
        anchor(5);
        vm.expectRevert(abi.encodeWithSelector(TransparencyLog.LogAlreadyOpen.selector, logId));
        vm.prank(ALICE);
        log.open(LOG_KEY);
        (, uint48 size,,) = log.heads(logId);
        vm.assertEq(size, 5, "head kept");
    }

    function testFuzz_nobodyCanTakeAnothersId(address stranger, bytes32 logKey, address opener) external {
        vm.assume(stranger != opener && stranger != ALICE && opener != ALICE);
        vm.assume(stranger != address(0) && opener != address(0));
        vm.prank(stranger);
        bytes32 strangersLog = log.open(logKey);
        vm.prank(opener);
        bytes32 openersLog = log.open(logKey);
        vm.assertTrue(strangersLog != openersLog, "own ids");
    }

    function test_registryMustHaveCode() external {
        vm.expectRevert(abi.encodeWithSelector(TransparencyLog.RegistryWithoutCode.selector, STRANGER));
        new TransparencyLog(IDeviceRegistry(STRANGER));
    }

    // Honest heads

    function testFuzz_honestHeadsAreTaken(uint256[5] memory steps) external {
        uint256 size = 0;
        for (uint256 i = 0; i < steps.length; ++i) {
            size += within(steps[i], 1, MOST / steps.length);
            vm.warp(block.timestamp + 10);
            bytes32[] memory tree = leaves;
            bytes32 expected = tree.root(size);
            vm.expectEmit(address(log));
            emit TransparencyLog.Anchored(logId, size, expected);
            anchor(size);
            (address writer, uint48 headSize, uint48 time, bytes32 root) = log.heads(logId);
            vm.assertEq(writer, ALICE, "writer");
            vm.assertEq(headSize, size, "size");
            vm.assertEq(time, NOW + 10 * (i + 1), "time");
            vm.assertEq(root, expected, "root");
        }
    }

    function test_hugeSizesFit() external {
        vm.prank(ALICE);
        log.anchor(logId, type(uint48).max, LOG_KEY, none);
        (address writer, uint48 size,, bytes32 root) = log.heads(logId);
        vm.assertEq(writer, ALICE, "writer");
        vm.assertEq(size, type(uint48).max, "size");
        vm.assertEq(root, LOG_KEY, "root");
    }

    function testFuzz_tooLargeSizesDoNot(uint256 size) external {
        size = within(size, uint256(type(uint48).max) + 1, type(uint256).max - 1);
        assertRefused(ALICE, size, LOG_KEY, none, abi.encodeWithSelector(TransparencyLog.SizeTooLarge.selector, size));
    }

    // Strangers

    function testFuzz_strangerCannotAnchor(address stranger, uint256 from, uint256 size) external {
        vm.assume(stranger != ALICE);
        from = within(from, 1, MOST - 1);
        size = within(size, from + 1, MOST);
        bytes32[] memory tree = leaves;
        assertRefused(stranger, from, tree.root(from), none, notWriter(stranger)); // not before the first head
        anchor(from);
        assertRefused(stranger, size, tree.root(size), tree.proof(from, size), notWriter(stranger)); // nor after it
        anchor(size);
    }

    function test_strangersOwnLogIsNoObstacle() external {
        bytes32[] memory tree = leaves;
        anchor(5);
        vm.startPrank(STRANGER);
        bytes32 other = log.open(LOG_KEY);
        log.anchor(other, 9, tree.root(9), none);
        vm.stopPrank();
        anchor(9);
    }

    function test_unopenedLogHasNoWriter() external {
        vm.expectRevert(abi.encodeWithSelector(TransparencyLog.NotLogWriter.selector, bytes32(uint256(1)), STRANGER));
        vm.prank(STRANGER);
        log.anchor(bytes32(uint256(1)), 1, LOG_KEY, none);
        vm.expectRevert(abi.encodeWithSelector(TransparencyLog.NotLogOpener.selector, bytes32(uint256(1)), STRANGER));
        vm.prank(STRANGER);
        log.setWriter(bytes32(uint256(1)), STRANGER);
    }

    // The writer

    function test_writingIsHandedOn() external {
        anchor(5);
        bytes32[] memory tree = leaves;
        vm.expectEmit(address(log));
        emit TransparencyLog.WriterChanged(logId, BOB);
        vm.prank(ALICE);
        log.setWriter(logId, BOB);
        (, uint48 size, uint48 time, bytes32 root) = log.heads(logId);
        vm.assertTrue(size == 5 && time == NOW && root == tree.root(5), "the head stays");

        assertRefused(ALICE, 9, tree.root(9), tree.proof(5, 9), notWriter(ALICE));
        (bytes32 newRoot, bytes32[] memory proof) = (tree.root(9), tree.proof(5, 9));
        vm.prank(BOB);
        log.anchor(logId, 9, newRoot, proof);

        vm.prank(ALICE);
        log.setWriter(logId, address(0));
        assertRefused(BOB, 10, tree.root(10), tree.proof(9, 10), notWriter(BOB));
    }

    function testFuzz_onlyTheOpenerHandsOn(address stranger) external {
        vm.assume(stranger != ALICE && stranger != address(0));
        vm.prank(ALICE);
        log.setWriter(logId, BOB);
        if (stranger == address(0)) stranger = BOB;
        vm.expectRevert(abi.encodeWithSelector(TransparencyLog.NotLogOpener.selector, logId, stranger));
        vm.prank(stranger);
        log.setWriter(logId, stranger);
        vm.expectRevert(abi.encodeWithSelector(TransparencyLog.NotLogOpener.selector, logId, BOB));
        vm.prank(BOB); // the writer is not the opener
        log.setWriter(logId, STRANGER);
    }

    // Dishonest heads

    function test_firstHeadTakesNoProof() external {
        bytes32[] memory tree = leaves;
        bytes memory reason = abi.encodeWithSelector(TransparencyLog.ProofOfFirstHead.selector, 1);
        assertRefused(ALICE, 5, tree.root(5), none.append(tree.root(5)), reason);
    }

    function test_firstHeadHasLeaves() external {
        assertRefused(ALICE, 0, sha256(""), none, notGrowing(0, 0));
    }

    function testFuzz_headCannotShrinkOrRepeat(uint256 from, uint256 size, bytes32 root) external {
        from = within(from, 1, MOST);
        size = within(size, 0, from);
        anchor(from);
        bytes32[] memory tree = leaves;
        assertRefused(ALICE, size, root, none, notGrowing(from, size));
        // Neither with a proof of the opposite, nor the very same head again.
        if (0 < size && size < from) {
            assertRefused(ALICE, size, tree.root(size), tree.proof(size, from), notGrowing(from, size));
        }
        assertRefused(ALICE, from, tree.root(from), none, notGrowing(from, from));
    }

    function testFuzz_headCannotFork(uint256 from, uint256 size, uint256 place, bytes32 change) external {
        vm.assume(change != 0);
        from = within(from, 1, MOST - 1);
        size = within(size, from + 1, MOST);
        anchor(from);
        bytes32[] memory fork = leaves;
        fork[place % from] ^= change;
        assertRefused(ALICE, size, fork.root(size), fork.proof(from, size), notExtension(from, size));
        assertRefused(ALICE, from, fork.root(from), none, notGrowing(from, from));
        anchor(size);
    }

    function testFuzz_proofMustBeThatProof(uint256 from, uint256 size, uint256 place, bytes32 change) external {
        vm.assume(change != 0);
        from = within(from, 1, MOST - 1);
        size = within(size, from + 1, MOST);
        anchor(from);
        bytes32[] memory tree = leaves;
        bytes32 root = tree.root(size);
        bytes32[] memory proof = tree.proof(from, size);
        bytes memory reason = notExtension(from, size);

        assertRefused(ALICE, size, root, none, reason);
        assertRefused(ALICE, size, root, proof.append(change), reason);
        assertRefused(ALICE, size, root, proof.shortened(), reason);
        assertRefused(ALICE, size, root ^ change, proof, reason);
        proof[place % proof.length] ^= change;
        assertRefused(ALICE, size, root, proof, reason);
    }

    function test_everyWrongSizeIsRefused() external {
        bytes32[] memory tree = leaves;
        anchor(6);
        bytes32 root = tree.root(11);
        bytes32[] memory proof = tree.proof(6, 11);
        for (uint256 size = 7; size <= 40; ++size) {
            // From 6 leaves, trees of 9 to 16 have proofs of one shape, and a root does not say its size: RFC 9162 proves what the
            // tree begins with, and its signed head is where the size comes from. Here that is the writer's word in the transaction.
            if (size > 8 && size < 17) continue;
            assertRefused(ALICE, size, root, proof, notExtension(6, size));
        }
        anchor(11);
    }

    // Inclusion

    function testFuzz_inclusionAgainstTheNewestHead(uint256 from, uint256 size, uint256 index, bytes32 change)
        external
    {
        vm.assume(change != 0);
        from = within(from, 1, MOST - 1);
        size = within(size, from + 1, MOST);
        index = within(index, 0, size - 1);
        bytes32[] memory tree = leaves;
        bytes32 entry = ReferenceTree.entryOf(1, index);
        bytes32[] memory path = tree.path(index, size);

        anchor(from);
        vm.assertFalse(log.verifyInclusion(logId, entry, index, path), "not yet");
        anchor(size);
        vm.assertTrue(log.verifyInclusion(logId, entry, index, path), "now");
        vm.assertFalse(log.verifyInclusion(logId, entry ^ change, index, path), "another entry");
        vm.assertFalse(log.verifyInclusion(logId, tree[index], index, path), "the leaf is not the entry");
        vm.assertFalse(log.verifyInclusion(logId, entry, index ^ 1, path), "another index");
        vm.assertFalse(log.verifyInclusion(logId, entry, size, path), "index = size");
        vm.assertFalse(log.verifyInclusion(logId, entry, index, path.append(change)), "extra node");
        vm.assertFalse(log.verifyInclusion(logId, entry, index, path.shortened()), "missing node");
        vm.assertFalse(log.verifyInclusion(logId ^ change, entry, index, path), "another log");
    }

    function test_emptyLogIncludesNothing() external view {
        vm.assertFalse(log.verifyInclusion(logId, 0, 0, none), "no head");
        vm.assertFalse(log.verifyInclusion(0, 0, 0, none), "no log");
    }
}
