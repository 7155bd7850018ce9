// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The board id: a COSE Key Thumbprint
/// @notice RFC 9679 with SHA-256, for a P-256 key. docs/protocol.md section 2.
library Thumbprint {
    /// @dev `{1: 2, -1: 1, -2: <32 bytes>` in deterministic CBOR: kty EC2, crv P-256, then the head of x.
    bytes8 private constant BEFORE_X = hex"a401022001215820";
    /// @dev `-3: <32 bytes>`: label and head of y.
    bytes3 private constant BEFORE_Y = hex"225820";

    /// @notice The id of the board whose public key is (x, y).
    /// @param x Affine coordinate, 32 bytes, big-endian.
    /// @param y Affine coordinate, 32 bytes, big-endian.
    /// @return The 32 bytes that are `kid` on the wire and, read as a number, the token id in the registry.
    function kid(bytes32 x, bytes32 y) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(BEFORE_X, x, BEFORE_Y, y));
    }
}
