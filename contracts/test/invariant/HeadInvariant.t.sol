// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {DeviceRegistry} from "../../src/DeviceRegistry.sol";
import {TransparencyLog} from "../../src/TransparencyLog.sol";
import {ReferenceTree} from "../base/ReferenceTree.sol";
import {vm, within} from "../base/Vm.sol";

/// @notice A writer who is honest or not as the fuzzer pleases, and a stranger. It keeps the only true history: a list of leaves.
contract Writer {
    using ReferenceTree for bytes32[];

    uint256 private constant MOST = 96;

    TransparencyLog public immutable log;
    bytes32 public immutable logId;
    uint256 public honest; // heads that were taken
    uint256 public dishonest; // heads that were tried and refused
    bytes32[] private leaves = ReferenceTree.leavesOf(1, MOST);

    constructor(TransparencyLog log_) {
        log = log_;
        logId = log_.open("log key");
        log_.anchor(logId, 1, leaves[0], new bytes32[](0));
    }

    function headSize() public view returns (uint256) {
        (, uint48 size,,) = log.heads(logId);
        return size;
    }

    function trueRoot(uint256 size) external view returns (bytes32) {
        return leaves.root(size);
    }

    function extend(uint256 by) external {
        uint256 from = headSize();
        if (from == MOST) return;
        uint256 size = from + within(by, 1, MOST - from < 12 ? MOST - from : 12);
        bytes32[] memory tree = leaves;
        log.anchor(logId, size, tree.root(size), tree.proof(from, size));
        ++honest;
    }

    /// @notice A tree in which one leaf of the head was changed or two were swapped, with its own good proof.
    function rewrite(uint256 by, uint256 first, uint256 second, bytes32 change) external {
        uint256 from = headSize();
        if (from == MOST) return;
        uint256 size = from + within(by, 1, MOST - from);
        bytes32[] memory tree = leaves;
        (first, second) = (first % from, second % from);
        if (first == second) tree[first] = keccak256(abi.encode(tree[first], change));
        else (tree[first], tree[second]) = (tree[second], tree[first]);
        attempt(size, tree.root(size), tree.proof(from, size));
    }

    /// @notice A tree that leaves out a leaf of the head.
    function omit(uint256 by, uint256 which) external {
        uint256 from = headSize();
        if (from == MOST) return;
        uint256 size = from + within(by, 1, MOST - from);
        bytes32[] memory tree = leaves;
        for (uint256 i = which % from; i + 1 < MOST; ++i) {
            tree[i] = tree[i + 1];
        }
        attempt(size, tree.root(size), tree.proof(from, size));
    }

    /// @notice An older size, or the same again, with whatever root and proof.
    function shrink(uint256 size, bytes32 root, bytes32[] calldata proof) external {
        uint256 from = headSize();
        size = within(size, 0, from);
        attempt(size, root, proof);
        if (size > 0) attempt(size, this.trueRoot(size), proof);
    }

    /// @notice A bigger size with whatever root and proof.
    function invent(uint256 size, bytes32 root, bytes32[] calldata proof) external {
        attempt(size, root, proof);
        attempt(headSize() + 1, root, proof);
    }

    /// @notice The honest next head, by a stranger; and a stranger's own log under the same key.
    function intrude(address stranger) external {
        uint256 from = headSize();
        if (from == MOST || stranger == address(this) || stranger == address(0)) return;
        bytes32[] memory tree = leaves;
        (bytes32 root, bytes32[] memory proof) = (tree.root(from + 1), tree.proof(from, from + 1));
        vm.startPrank(stranger);
        attempt(from + 1, root, proof);
        try log.setWriter(logId, stranger) {
            revert("a stranger handed the writing on");
        } catch {}
        try log.open("log key") {} catch {}
        vm.stopPrank();
    }

    function attempt(uint256 size, bytes32 root, bytes32[] memory proof) private {
        try log.anchor(logId, size, root, proof) {
            revert("a dishonest head was taken");
        } catch {
            ++dishonest;
        }
    }
}

/// @notice Whatever is tried, the head is a prefix of the one true history, by the one writer, and the honest writer is never in want.
contract HeadInvariantTest {
    Writer private writer;

    function setUp() external {
        vm.warp(1_800_000_000);
        writer = new Writer(new TransparencyLog(new DeviceRegistry()));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(writer);
    }

    function invariant_headIsAPrefixOfTheTruth() external view {
        (address who, uint48 size, uint48 time, bytes32 root) = writer.log().heads(writer.logId());
        vm.assertEq(who, address(writer), "writer");
        vm.assertEq(root, writer.trueRoot(size), "root");
        vm.assertTrue(size > writer.honest(), "each honest head adds at least one leaf to the first");
        vm.assertTrue(time != 0 && time <= block.timestamp, "time");
    }
}
