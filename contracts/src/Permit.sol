// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

/// @notice A board's word that it may be registered for one owner, in one registry, on one chain. docs/protocol.md section 8.
/// @param owner Who will own the device's token.
/// @param x The board's public key, affine coordinate.
/// @param y The board's public key, affine coordinate.
/// @param metadataHash SHA-256 of a document about the device that the owner chose; zeros for none.
/// @param deadline Seconds since 1970; the permit is void after it.
/// @param r The board's signature over the digest.
/// @param s The board's signature over the digest, low s only.
struct Permit {
    address owner;
    bytes32 x;
    bytes32 y;
    bytes32 metadataHash;
    uint256 deadline;
    bytes32 r;
    bytes32 s;
}

/// @title The enrolment permit's digest and signature
library PermitSignature {
    /// @dev Keeps a permit apart from all else that a board signs: a statement's signed bytes begin with 0x84, these with `t`.
    bytes32 private constant TAG = "trig/1/permit";

    /// @notice What the board signed, for this contract on this chain. Everything that a registration writes is under it.
    function digest(Permit calldata permit) internal view returns (bytes32) {
        return sha256(
            abi.encode(
                TAG,
                block.chainid,
                address(this),
                permit.owner,
                permit.x,
                permit.y,
                permit.metadataHash,
                permit.deadline
            )
        );
    }

    /// @notice Whether the board's key signed the permit, for this contract on this chain. False for a high s and for a point off the curve.
    /// @dev P256.verify asks the precompile at 0x100 (EIP-7951) and computes in Solidity, for some 200,000 gas more, where a chain has none.
    function verify(Permit calldata permit) internal view returns (bool) {
        return P256.verify(digest(permit), permit.r, permit.s, permit.x, permit.y);
    }
}
