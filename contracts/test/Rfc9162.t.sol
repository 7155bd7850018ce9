// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Rfc9162} from "../src/Rfc9162.sol";
import {ReferenceTree} from "./base/ReferenceTree.sol";
import {vm, within} from "./base/Vm.sol";

/// @notice The library behind external functions: it reads proofs from calldata.
contract Rfc9162Caller {
    function leaf(bytes32 entry) external pure returns (bytes32) {
        return Rfc9162.leaf(entry);
    }

    function inclusion(bytes32 leafHash, uint256 index, uint256 size, bytes32 root, bytes32[] calldata path)
        external
        view
        returns (bool)
    {
        return Rfc9162.verifyInclusion(leafHash, index, size, root, path);
    }

    function consistency(uint256 m, bytes32 rootM, uint256 n, bytes32 rootN, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        return Rfc9162.verifyConsistency(m, rootM, n, rootN, proof);
    }
}

contract Rfc9162Test {
    using ReferenceTree for bytes32[];

    uint256 private constant SIZES = 70;
    uint256 private constant SMALL_SIZES = 9;

    Rfc9162Caller private lib;

    function setUp() external {
        lib = new Rfc9162Caller();
    }

    function testFuzz_leafHashIsThatOfTheRfc(bytes32 entry) external view {
        vm.assertEq(lib.leaf(entry), sha256(abi.encodePacked(hex"00", entry)), "leaf");
    }

    function test_everyInclusionProofHolds() external view {
        for (uint256 size = 1; size <= SIZES; ++size) {
            this.checkInclusion(size); // a call of its own each time, because memory is never given back within one
        }
    }

    function checkInclusion(uint256 size) external view {
        bytes32[] memory leaves = ReferenceTree.leavesOf(1, size);
        bytes32 root = leaves.root(size);
        for (uint256 index = 0; index < size; ++index) {
            bytes32[] memory path = leaves.path(index, size);
            vm.assertTrue(lib.inclusion(leaves[index], index, size, root, path), "honest");
            vm.assertFalse(lib.inclusion(leaves[index], index, size, root, path.append(root)), "extra node");
            vm.assertFalse(lib.inclusion(leaves[index], (index + 1) % size, size, root, path) && size > 1, "index");
            if (path.length != 0) {
                vm.assertFalse(lib.inclusion(leaves[index], index, size, root, path.shortened()), "missing node");
            }
        }
        vm.assertFalse(lib.inclusion(leaves[size - 1], size, size, root, leaves.path(size - 1, size)), "index = size");
        vm.assertFalse(lib.inclusion(leaves[0], type(uint256).max, size, root, leaves.path(0, size)), "huge index");
    }

    function test_everyConsistencyProofHolds() external view {
        for (uint256 n = 2; n <= SIZES; ++n) {
            this.checkConsistency(n);
        }
    }

    function checkConsistency(uint256 n) external view {
        bytes32[] memory leaves = ReferenceTree.leavesOf(1, n);
        bytes32 rootN = leaves.root(n);
        for (uint256 m = 1; m < n; ++m) {
            bytes32 rootM = leaves.root(m);
            bytes32[] memory proof = leaves.proof(m, n);
            vm.assertTrue(lib.consistency(m, rootM, n, rootN, proof), "honest");
            vm.assertFalse(lib.consistency(m, rootM, n, rootN, proof.append(rootN)), "extra node");
            vm.assertFalse(lib.consistency(m, rootM, n, rootN, proof.shortened()), "missing node");
            vm.assertFalse(lib.consistency(m, rootN, n, rootN, proof), "wrong old root");
            vm.assertFalse(lib.consistency(m, rootM, n, rootM, proof), "wrong new root");
            vm.assertFalse(lib.consistency(n, rootN, m, rootM, proof), "backwards");
        }
    }

    /// @notice A path holds at another index or in a tree of another size exactly if it is that leaf's path there too.
    function test_pathsHoldNowhereElse() external view {
        for (uint256 size = 1; size <= SMALL_SIZES; ++size) {
            for (uint256 index = 0; index < size; ++index) {
                this.checkPathElsewhere(index, size);
            }
        }
    }

    function checkPathElsewhere(uint256 index, uint256 size) external view {
        bytes32[] memory leaves = ReferenceTree.leavesOf(1, SMALL_SIZES);
        bytes32[] memory path = leaves.path(index, size);
        for (uint256 otherSize = 1; otherSize <= SMALL_SIZES; ++otherSize) {
            bytes32 root = leaves.root(otherSize);
            for (uint256 other = 0; other <= otherSize; ++other) {
                bool right = other == index && other < otherSize && path.same(leaves.path(other, otherSize));
                bool holds = lib.inclusion(leaves[index], other, otherSize, root, path);
                vm.assertTrue(holds == right, "path elsewhere");
            }
        }
    }

    /// @notice A consistency proof holds between other sizes exactly if it is their proof too.
    function test_consistencyProofsHoldNowhereElse() external view {
        for (uint256 n = 2; n <= SMALL_SIZES; ++n) {
            for (uint256 m = 1; m < n; ++m) {
                this.checkProofElsewhere(m, n);
            }
        }
    }

    function checkProofElsewhere(uint256 m, uint256 n) external view {
        bytes32[] memory leaves = ReferenceTree.leavesOf(1, SMALL_SIZES);
        bytes32[] memory proof = leaves.proof(m, n);
        for (uint256 b = 1; b <= SMALL_SIZES; ++b) {
            for (uint256 a = 1; a <= SMALL_SIZES; ++a) {
                bool right = a < b && proof.same(leaves.proof(a, b));
                vm.assertTrue(lib.consistency(a, leaves.root(a), b, leaves.root(b), proof) == right, "proof elsewhere");
            }
        }
    }

    function testFuzz_changedPathFails(uint256 seed, uint256 size, uint256 index, uint256 place, bytes32 change)
        external
        view
    {
        vm.assume(change != 0);
        size = within(size, 2, 200);
        index = within(index, 0, size - 1);
        bytes32[] memory leaves = ReferenceTree.leavesOf(seed, size);
        bytes32[] memory path = leaves.path(index, size);
        bytes32 root = leaves.root(size);
        vm.assertTrue(lib.inclusion(leaves[index], index, size, root, path), "honest");
        vm.assertFalse(lib.inclusion(leaves[index] ^ change, index, size, root, path), "leaf");
        vm.assertFalse(lib.inclusion(leaves[index], index, size, root ^ change, path), "root");
        path[place % path.length] ^= change;
        vm.assertFalse(lib.inclusion(leaves[index], index, size, root, path), "path");
    }

    function testFuzz_changedConsistencyProofFails(uint256 seed, uint256 n, uint256 m, uint256 place, bytes32 change)
        external
        view
    {
        vm.assume(change != 0);
        n = within(n, 2, 200);
        m = within(m, 1, n - 1);
        bytes32[] memory leaves = ReferenceTree.leavesOf(seed, n);
        bytes32[] memory proof = leaves.proof(m, n);
        (bytes32 rootM, bytes32 rootN) = (leaves.root(m), leaves.root(n));
        vm.assertTrue(lib.consistency(m, rootM, n, rootN, proof), "honest");
        vm.assertFalse(lib.consistency(m, rootM ^ change, n, rootN, proof), "old root");
        vm.assertFalse(lib.consistency(m, rootM, n, rootN ^ change, proof), "new root");
        proof[place % proof.length] ^= change;
        vm.assertFalse(lib.consistency(m, rootM, n, rootN, proof), "proof");
    }

    /// @notice A tree in which one old leaf was changed does not extend the old tree, by its own honest proof.
    function testFuzz_rewrittenPastFails(uint256 seed, uint256 n, uint256 m, uint256 place, bytes32 change)
        external
        view
    {
        vm.assume(change != 0);
        n = within(n, 2, 200);
        m = within(m, 1, n - 1);
        bytes32[] memory leaves = ReferenceTree.leavesOf(seed, n);
        bytes32 rootM = leaves.root(m);
        leaves[place % m] ^= change;
        vm.assertFalse(lib.consistency(m, rootM, n, leaves.root(n), leaves.proof(m, n)), "rewritten");
    }

    /// @notice Any numbers and any nodes give an answer, at a gas that the proof's length bounds.
    function testFuzz_garbageIsFalse(uint256 m, bytes32 rootM, uint256 n, bytes32 rootN, bytes32[] calldata proof)
        external
        view
    {
        vm.assertFalse(lib.consistency(m, rootM, n, rootN, proof), "consistency");
        vm.assertFalse(lib.inclusion(rootM, m, n, rootN, proof) && proof.length > 0, "inclusion");
    }

    function test_longProofStopsAtTheTop() external view {
        bytes32[] memory proof = new bytes32[](10_000);
        bytes memory consistency =
            abi.encodeCall(lib.consistency, (2 ** 47 + 1, bytes32(0), type(uint48).max, bytes32(0), proof));
        // The 48 rounds that such a tree can need take 28,000 gas; all 10,000 would take millions.
        (bool answered, bytes memory answer) = address(lib).staticcall{gas: 60_000}(consistency);
        vm.assertTrue(answered && !abi.decode(answer, (bool)), "false");
    }

    /// @notice The hashes of a tree's right edge lead to its own root, but are no proof between equal sizes: such a one is empty.
    function test_equalSizesHaveNoProof() external view {
        bytes32[] memory leaves = ReferenceTree.leavesOf(1, 3);
        bytes32 root = leaves.root(3);
        bytes32[] memory edge = new bytes32[](2);
        (edge[0], edge[1]) = (leaves[2], leaves.root(2));
        vm.assertFalse(lib.consistency(3, root, 3, root, edge), "the right edge");
        vm.assertFalse(lib.consistency(3, root, 3, root, new bytes32[](0)), "nothing");
    }

    function test_theEmptyTreeProvesNothing() external view {
        bytes32[] memory none = new bytes32[](0);
        vm.assertFalse(lib.inclusion(0, 0, 0, 0, none), "inclusion in nothing");
        vm.assertFalse(lib.consistency(0, 0, 1, 0, none), "from nothing");
        vm.assertFalse(lib.consistency(1, 0, 1, 0, none), "to itself");
    }
}
