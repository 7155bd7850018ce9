// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Statement} from "../src/Statement.sol";
import {TransparencyLog} from "../src/TransparencyLog.sol";
import {Board, Boards} from "./base/Boards.sol";
import {ReferenceTree} from "./base/ReferenceTree.sol";
import {RegistryFixture} from "./base/RegistryFixture.sol";
import {vm, within} from "./base/Vm.sol";

/// @notice A statement counts if the log holds it, its board signed it, and the registry knows the board. Each test breaks one of these.
contract VerifyStatementTest is RegistryFixture {
    using Boards for Board;
    using Boards for Statement;
    using ReferenceTree for bytes32[];

    uint256 private constant INDEX = 11;
    uint256 private constant SIZE = 21;

    TransparencyLog private log;
    bytes32 private logId;
    uint256 private logsOpened;
    Board private board;
    bytes32[] private none;

    function setUp() external {
        log = new TransparencyLog(registry);
        logId = log.open("log key");
        board = registerNew(1, ALICE);
    }

    /// @dev Opens a log that holds this entry at INDEX of SIZE, and returns it with the entry's path.
    function logOf(bytes32 entry) private returns (bytes32 id, bytes32[] memory path) {
        bytes32[] memory leaves = ReferenceTree.leavesOf(1, SIZE);
        leaves[INDEX] = ReferenceTree.leafOf(entry);
        id = log.open(bytes32(++logsOpened));
        log.anchor(id, SIZE, leaves.root(SIZE), none);
        path = leaves.path(INDEX, SIZE);
    }

    /// @dev Whether the statement counts when a log holds it: inclusion is made true, so that the answer is about the rest.
    function countsIfLogged(Statement memory statement) private returns (bool) {
        (bytes32 id, bytes32[] memory path) = logOf(statement.entry());
        return log.verifyStatement(id, statement, INDEX, path);
    }

    function good() private view returns (Statement memory) {
        return board.statement(7, "a pack of readings");
    }

    function test_goodStatementCounts() external {
        vm.assertTrue(countsIfLogged(good()), "good");
    }

    /// @notice A statement made with Python's cbor2 and ecdsa packages by the key of RFC 6979 appendix A.2.5: its entry is SHA-256 of
    /// cbor2's bytes, so that the contract's encoding is compared with another's.
    function test_statementMadeElsewhereCounts() external {
        Statement memory statement = Statement({
            protected: hex"a60126031870045820750ca40795ab23e51a75dc76fa12c052f6f6c57ba8a732337b91f096592b6ef63a000100001903e83a0001000158200cf10bbc665ab7e463cdf04627410efc0e14bfec1c2f0fca9ff2910ec666c3473a000100021903e6",
            payload: hex"83a4006b74656d7065726174757265016343656c02c48221190866221a6b49d200a3006868756d6964697479016325524802c4822119137ba4006870726573737572650162506102c482201a000f760206183c",
            r: 0x42f32f382dfed6b13871fe9f23c990b037def5a8d6746aac82f8ff76396e6b48,
            s: 0x084fb7ad835ae992c566fc6cced67891c3c68b359e119771e4f2d15bcb00a61c,
            x: 0x60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6,
            y: 0x7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299
        });
        Board memory maker = Board({
            privateKey: 0xc9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721,
            x: statement.x,
            y: statement.y,
            id: 0x750ca40795ab23e51a75dc76fa12c052f6f6c57ba8a732337b91f096592b6ef6
        });
        registry.register(permitOf(maker, ALICE));
        (bytes32 id, bytes32[] memory path) = logOf(0x4fef4d1ecfeb5523762f2584460d5062ad2c6615a34a9c1251261d9cb7c09357);
        vm.assertTrue(log.verifyStatement(id, statement, INDEX, path), "made elsewhere");
    }

    function testFuzz_anySeqAndPayloadCount(uint32 seq, uint32 oldest, bytes32 prev, bytes memory payload) external {
        bytes memory header = Boards.header(bytes32(board.id), seq, prev, oldest);
        vm.assertTrue(countsIfLogged(board.statement(header, payload)), "any");
    }

    /// @notice Lengths at which the head of a byte string changes its form.
    function test_payloadLengths() external {
        uint16[8] memory lengths = [0, 1, 23, 24, 255, 256, 1000, 3900];
        for (uint256 i = 0; i < lengths.length; ++i) {
            vm.assertTrue(countsIfLogged(board.statement(7, new bytes(lengths[i]))), "length");
        }
    }

    function test_4096BytesAreTheMost() external {
        uint256 frame = board.statement(7, new bytes(1000)).encode().length - 1000;
        Statement memory largest = board.statement(7, new bytes(4096 - frame));
        vm.assertEq(largest.encode().length, 4096, "largest");
        vm.assertTrue(countsIfLogged(largest), "largest");
        vm.assertFalse(countsIfLogged(board.statement(7, new bytes(4097 - frame))), "one more");
        vm.assertFalse(countsIfLogged(board.statement(7, new bytes(70_000))), "many more");
    }

    function testFuzz_changedFieldsDoNotCount(uint256 place, uint8 bits, bytes32 change) external {
        vm.assume(bits != 0 && change != 0);
        Statement memory statement = good();
        bytes1 flip = bytes1(bits);

        statement.protected[place % statement.protected.length] ^= flip;
        vm.assertFalse(countsIfLogged(statement), "protected");
        statement = good();
        statement.payload[place % statement.payload.length] ^= flip;
        vm.assertFalse(countsIfLogged(statement), "payload");
        statement = good();
        statement.r ^= change;
        vm.assertFalse(countsIfLogged(statement), "r");
        statement = good();
        statement.s ^= change;
        vm.assertFalse(countsIfLogged(statement), "s");
        statement = good();
        statement.x ^= change;
        vm.assertFalse(countsIfLogged(statement), "x");
        statement = good();
        statement.y ^= change;
        vm.assertFalse(countsIfLogged(statement), "y");
    }

    function test_highSDoesNotCount() external {
        Statement memory statement = good();
        statement.s = Boards.otherS(statement.s);
        vm.assertFalse(countsIfLogged(statement), "high s");
    }

    /// @notice Bytes cannot move from one part into the other: the parts' lengths are under the signature.
    function test_partsCannotTradeBytes() external {
        Statement memory statement = good();
        bytes memory all = bytes.concat(statement.protected, statement.payload);
        uint256 right = statement.protected.length;
        for (uint256 cut = 90; cut <= 102; ++cut) {
            if (cut == right) continue;
            (statement.protected, statement.payload) = (part(all, 0, cut), part(all, cut, all.length));
            vm.assertFalse(countsIfLogged(statement), "cut elsewhere");
        }
    }

    function test_headerMustBeAStatements() external {
        bytes memory header = Boards.header(bytes32(board.id), 7, 0, 7);
        vm.assertTrue(countsIfLogged(board.statement(header, "x")), "header");
        for (uint256 i = 0; i < 9; ++i) {
            bytes memory other = bytes.concat(header);
            other[i] ^= 0x01;
            vm.assertFalse(countsIfLogged(board.statement(other, "x")), "signed, but no statement");
        }
        vm.assertFalse(countsIfLogged(board.statement(part(header, 0, 91), "x")), "short");
        vm.assertFalse(countsIfLogged(board.statement(bytes.concat(header, new bytes(9)), "x")), "long");
        vm.assertFalse(countsIfLogged(board.statement("", "x")), "none");
    }

    /// @notice A registered board's key cannot sign under another board's id.
    function test_kidMustBeTheKeysThumbprint() external {
        Board memory other = registerNew(2, BOB);
        bytes memory header = Boards.header(bytes32(other.id), 7, 0, 7);
        vm.assertFalse(countsIfLogged(board.statement(header, "x")), "another's id");
    }

    function test_unregisteredBoardDoesNotCount() external {
        vm.assertFalse(countsIfLogged(Boards.make(2).statement(7, "x")), "unregistered");
    }

    /// @notice The head's time decides, not the time of asking.
    function test_boardMustBeActiveWhenTheHeadWasAnchored() external {
        Statement memory statement = good();
        vm.warp(NOW - 1);
        (bytes32 early, bytes32[] memory path) = logOf(statement.entry());
        vm.assertFalse(log.verifyStatement(early, statement, INDEX, path), "anchored before registration");

        vm.warp(NOW + 10);
        Statement memory second = board.statement(8, "x");
        (bytes32 middle, bytes32[] memory secondPath) = logOf(second.entry());
        vm.warp(NOW + 20);
        vm.prank(ALICE);
        registry.revoke(board.id);
        vm.assertTrue(log.verifyStatement(middle, second, INDEX, secondPath), "anchored before revocation");
        vm.assertFalse(countsIfLogged(board.statement(9, "x")), "anchored in the second of revocation");
        vm.warp(NOW + 30);
        vm.assertFalse(countsIfLogged(board.statement(10, "x")), "anchored after revocation");
    }

    function testFuzz_mustBeIncluded(uint256 index, uint256 place, bytes32 change) external {
        vm.assume(change != 0);
        Statement memory statement = good();
        (bytes32 id, bytes32[] memory path) = logOf(statement.entry());
        vm.assertTrue(log.verifyStatement(id, statement, INDEX, path), "good");
        index = within(index, 0, SIZE * 2);
        if (index != INDEX) vm.assertFalse(log.verifyStatement(id, statement, index, path), "index");
        vm.assertFalse(log.verifyStatement(id ^ change, statement, INDEX, path), "log");
        vm.assertFalse(log.verifyStatement(id, statement, INDEX, path.append(change)), "extra node");
        vm.assertFalse(log.verifyStatement(id, statement, INDEX, path.shortened()), "missing node");
        vm.assertFalse(log.verifyStatement(id, board.statement(8, "x"), INDEX, path), "another statement");
        path[place % path.length] ^= change;
        vm.assertFalse(log.verifyStatement(id, statement, INDEX, path), "path");
    }

    function test_emptyLogHoldsNothing() external view {
        vm.assertFalse(log.verifyStatement(logId, good(), 0, none), "no head");
        vm.assertFalse(log.verifyStatement(0, good(), 0, none), "no log");
    }

    function part(bytes memory whole, uint256 from, uint256 to) private pure returns (bytes memory piece) {
        piece = new bytes(to - from);
        for (uint256 i = from; i < to; ++i) {
            piece[i - from] = whole[i];
        }
    }
}
