// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Permit} from "../../src/Permit.sol";
import {Statement} from "../../src/Statement.sol";

import {vm, within} from "./Vm.sol";

/// @notice A board as the tests know it: its key pair and its id.
struct Board {
    uint256 privateKey;
    bytes32 x;
    bytes32 y;
    uint256 id;
}

/// @title Boards that sign permits and statements, written from docs/protocol.md alone
/// @notice Nothing here calls the code under test: digests and encodings are spelled out a second time.
library Boards {
    uint256 internal constant N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;

    function make(uint256 seed) internal pure returns (Board memory board) {
        board.privateKey = within(uint256(keccak256(abi.encode("board", seed))), 1, N - 1);
        (uint256 x, uint256 y) = vm.publicKeyP256(board.privateKey);
        (board.x, board.y) = (bytes32(x), bytes32(y));
        board.id = uint256(sha256(bytes.concat(hex"a401022001215820", board.x, hex"225820", board.y)));
    }

    /// @notice ES256 with the lower s.
    function sign(Board memory board, bytes32 digest) internal pure returns (bytes32 r, bytes32 s) {
        (r, s) = vm.signP256(board.privateKey, digest);
        if (uint256(s) > N / 2) s = otherS(s);
    }

    /// @notice The other s that verifies by the textbook: n - s.
    function otherS(bytes32 s) internal pure returns (bytes32) {
        return bytes32(N - uint256(s));
    }

    function permit(Board memory board, address registry, address owner) internal view returns (Permit memory) {
        return permit(board, block.chainid, registry, owner, sha256("a board on a roof"), block.timestamp + 1 hours);
    }

    function permit(
        Board memory board,
        uint256 chainId,
        address registry,
        address owner,
        bytes32 metadataHash,
        uint256 deadline
    ) internal pure returns (Permit memory) {
        bytes32 digest = sha256(
            bytes.concat(
                "trig/1/permit",
                new bytes(19),
                bytes32(chainId),
                bytes32(uint256(uint160(registry))),
                bytes32(uint256(uint160(owner))),
                board.x,
                board.y,
                metadataHash,
                bytes32(deadline)
            )
        );
        (bytes32 r, bytes32 s) = sign(board, digest);
        return Permit(owner, board.x, board.y, metadataHash, deadline, r, s);
    }

    function statement(Board memory board, uint256 seq, bytes memory payload) internal pure returns (Statement memory) {
        return statement(board, header(bytes32(board.id), seq, sha256("prev"), seq), payload);
    }

    function statement(Board memory board, bytes memory protected, bytes memory payload)
        internal
        pure
        returns (Statement memory)
    {
        bytes memory toBeSigned =
            bytes.concat(hex"84", hex"6a", "Signature1", byteString(protected), hex"40", byteString(payload));
        (bytes32 r, bytes32 s) = sign(board, sha256(toBeSigned));
        return Statement(protected, payload, r, s, board.x, board.y);
    }

    /// @notice The protected header's map of six entries.
    function header(bytes32 kid, uint256 seq, bytes32 prev, uint256 oldest) internal pure returns (bytes memory) {
        return bytes.concat(
            hex"a60126031870045820",
            kid,
            hex"3a00010000",
            number(seq),
            hex"3a000100015820",
            prev,
            hex"3a00010002",
            number(oldest)
        );
    }

    function encode(Statement memory s) internal pure returns (bytes memory) {
        return bytes.concat(hex"d284", byteString(s.protected), hex"a0", byteString(s.payload), hex"5840", s.r, s.s);
    }

    function entry(Statement memory s) internal pure returns (bytes32) {
        return sha256(encode(s));
    }

    /// @notice CBOR byte string.
    function byteString(bytes memory content) internal pure returns (bytes memory) {
        return bytes.concat(_head(0x40, content.length), content);
    }

    /// @notice CBOR unsigned integer below 2^32.
    function number(uint256 value) internal pure returns (bytes memory) {
        return _head(0x00, value);
    }

    function _head(uint8 major, uint256 n) private pure returns (bytes memory) {
        if (n < 24) return abi.encodePacked(major | uint8(n));
        if (n < 256) return abi.encodePacked(major | 24, uint8(n));
        if (n < 65_536) return abi.encodePacked(major | 25, uint16(n));
        return abi.encodePacked(major | 26, uint32(n));
    }
}
