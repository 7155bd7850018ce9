// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

import {Thumbprint} from "./Thumbprint.sol";

/// @notice A board's statement, taken apart: COSE_Sign1, tag 18, empty unprotected header. docs/protocol.md section 3.
/// @param protected Content of the protected header's byte string.
/// @param payload Content of the payload's byte string: the SenML pack.
/// @param r First half of the signature.
/// @param s Second half of the signature, low s only.
/// @param x The board's public key, affine coordinate.
/// @param y The board's public key, affine coordinate.
struct Statement {
    bytes protected;
    bytes payload;
    bytes32 r;
    bytes32 s;
    bytes32 x;
    bytes32 y;
}

/// @title A statement's bytes, entry and signature
/// @notice A contract sees the protected header only as far as the kid. The rest (seq, prev, oldest) and the pack are the
/// board's word, which its signature covers, and a gateway checks them before they get into a log.
library StatementBytes {
    /// @dev RFC 9052 section 4.4: array of 4, the text "Signature1", and the head of a byte string shorter than 256.
    bytes private constant SIG_STRUCTURE = hex"846a5369676e61747572653158";
    /// @dev Tag 18, array of 4, and the head of a byte string shorter than 256.
    bytes private constant SIGN1 = hex"d28458";
    /// @dev The empty byte string: no external_aad.
    bytes1 private constant NO_EXTERNAL_AAD = 0x40;
    /// @dev The empty map: no unprotected header.
    bytes1 private constant EMPTY_MAP = 0xa0;
    /// @dev Head of the signature's 64 bytes.
    bytes2 private constant SIGNATURE_HEAD = hex"5840";
    /// @dev The protected header's first bytes: map of 6, {1: -7, 3: 112, 4: <32 bytes>. They are the same in every statement,
    /// because deterministic CBOR leaves no choice.
    bytes9 private constant HEADER_START = hex"a60126031870045820";

    /// @dev The header's length: 90 bytes that never vary in number, and two numbers below 2^32 (seq, oldest) of 1 to 5 bytes.
    uint256 private constant MIN_PROTECTED = 92;
    uint256 private constant MAX_PROTECTED = 100;
    /// @dev Most bytes that a statement may have.
    uint256 private constant MAX_STATEMENT = 4096;
    /// @dev All of a statement but protected header, payload and the payload's head: SIGN1, the header's length, the empty map, the signature.
    uint256 private constant FRAME = 3 + 1 + 1 + 66;

    /// @notice The board id that the header names, if the statement has a statement's form.
    /// @return formed False if a length is out of bounds, the header does not begin as a statement's does, or its kid is not the
    /// thumbprint of the public key.
    /// @return kid The board id; zero unless formed.
    function kidOf(Statement calldata statement) internal pure returns (bool formed, bytes32 kid) {
        bytes calldata protected = statement.protected;
        uint256 payloadLength = statement.payload.length;
        if (protected.length < MIN_PROTECTED || protected.length > MAX_PROTECTED) return (false, 0);
        if (payloadLength > MAX_STATEMENT) return (false, 0);
        if (FRAME + protected.length + _byteStringHead(payloadLength).length + payloadLength > MAX_STATEMENT) {
            return (false, 0);
        }
        if (bytes9(protected) != HEADER_START) return (false, 0);
        kid = bytes32(protected[9:41]);
        if (kid != Thumbprint.kid(statement.x, statement.y)) return (false, 0);
        return (true, kid);
    }

    /// @notice What the log holds of a formed statement: SHA-256 of its bytes, tag and signature included.
    function entryOf(Statement calldata statement) internal pure returns (bytes32) {
        bytes memory signature = abi.encodePacked(SIGNATURE_HEAD, statement.r, statement.s);
        return sha256(_encode(SIGN1, statement, EMPTY_MAP, signature));
    }

    /// @notice Whether the board signed a formed statement. False for a high s and for a point off the curve.
    /// @dev P256.verify asks the precompile at 0x100 (EIP-7951) and computes in Solidity where a chain has none: dear, but bounded.
    function verifySignature(Statement calldata statement) internal view returns (bool) {
        bytes32 digest = sha256(_encode(SIG_STRUCTURE, statement, NO_EXTERNAL_AAD, ""));
        return P256.verify(digest, statement.r, statement.s, statement.x, statement.y);
    }

    /// @dev What the two encodings share: header and payload as byte strings, with something before, between and after.
    function _encode(bytes memory before, Statement calldata statement, bytes1 between, bytes memory afterwards)
        private
        pure
        returns (bytes memory)
    {
        bytes calldata protected = statement.protected;
        bytes calldata payload = statement.payload;
        return abi.encodePacked(
            before, uint8(protected.length), protected, between, _byteStringHead(payload.length), payload, afterwards
        );
    }

    /// @dev The head of a byte string in deterministic CBOR, which is the shortest one; for lengths below 65,536.
    function _byteStringHead(uint256 length) private pure returns (bytes memory) {
        if (length < 24) return abi.encodePacked(uint8(0x40 + length));
        if (length < 256) return abi.encodePacked(uint8(0x58), uint8(length));
        return abi.encodePacked(uint8(0x59), uint16(length));
    }
}
