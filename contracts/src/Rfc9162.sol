// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Merkle proofs of an RFC 9162 log
/// @notice The two verification algorithms of RFC 9162, step by step, and the hashes they stand on. Both are bounded: every
/// round uses up one element of the proof and halves the tree, so a proof longer than the tree is high stops at the top.
library Rfc9162 {
    /// @notice The SHA-256 precompile failed, which it does only when the gas runs out.
    error Sha256Failed();

    /// @notice Leaf hash of a 32-byte entry: SHA-256(0x00 || entry), RFC 9162 section 2.1.1.
    function leaf(bytes32 entry) internal view returns (bytes32 hash) {
        bool done;
        assembly ("memory-safe") {
            // 33 bytes of Solidity's scratch space.
            mstore8(0x00, 0x00)
            mstore(0x01, entry)
            done := staticcall(gas(), 2, 0x00, 33, 0x00, 32)
            hash := mload(0x00)
        }
        if (!done) revert Sha256Failed();
    }

    /// @notice Node hash: SHA-256(0x01 || left || right), RFC 9162 section 2.1.1.
    /// @dev Solidity's own `sha256(abi.encodePacked(...))` allocates new memory for each hash and costs about twice the gas.
    function node(bytes32 left, bytes32 right) internal view returns (bytes32 hash) {
        bool done;
        assembly ("memory-safe") {
            // 65 bytes at the free memory pointer, which stays where it is: the space is scratch.
            let buffer := mload(0x40)
            mstore8(buffer, 0x01)
            mstore(add(buffer, 1), left)
            mstore(add(buffer, 33), right)
            done := staticcall(gas(), 2, buffer, 65, 0x00, 32)
            hash := mload(0x00)
        }
        if (!done) revert Sha256Failed();
    }

    /// @notice Whether `path` proves that `leafHash` is the leaf at `index` of the tree of `size` leaves with `root`.
    /// @dev RFC 9162 section 2.1.3.2; the step numbers are that section's.
    /// @param leafHash The leaf's hash.
    /// @param index Place of the entry, from 0.
    /// @param size Number of leaves.
    /// @param root Root of the tree.
    /// @param path Inclusion proof, leaf side first.
    function verifyInclusion(bytes32 leafHash, uint256 index, uint256 size, bytes32 root, bytes32[] calldata path)
        internal
        view
        returns (bool)
    {
        if (index >= size) return false; // 1

        // 2, 3
        uint256 fn = index;
        uint256 sn = size - 1;
        bytes32 r = leafHash;

        // 4
        for (uint256 i = 0; i < path.length; ++i) {
            if (sn == 0) return false; // longer than the tree is high
            bytes32 p = path[i];
            if (fn & 1 == 1 || fn == sn) {
                r = node(p, r);
                // A last node without a sibling is carried up unhashed.
                while (fn & 1 == 0 && fn != 0) {
                    fn >>= 1;
                    sn >>= 1;
                }
            } else {
                r = node(r, p);
            }
            fn >>= 1;
            sn >>= 1;
        }

        return sn == 0 && r == root; // 5
    }

    /// @notice Whether `proof` proves that the tree of `newSize` leaves with `newRoot` extends the tree of `oldSize` leaves with `oldRoot`.
    /// @dev RFC 9162 section 2.1.4.2; the step numbers are that section's. Only for 0 < oldSize < newSize: anything else is false here,
    /// because equal sizes and the empty tree need no proof and the caller decides what they mean.
    /// @param oldSize Leaves of the older tree.
    /// @param oldRoot Its root.
    /// @param newSize Leaves of the newer tree.
    /// @param newRoot Its root.
    /// @param proof Consistency proof, leaf side first.
    function verifyConsistency(
        uint256 oldSize,
        bytes32 oldRoot,
        uint256 newSize,
        bytes32 newRoot,
        bytes32[] calldata proof
    ) internal view returns (bool) {
        if (oldSize == 0 || oldSize >= newSize || proof.length == 0) return false; // 1

        // 3, 4
        uint256 fn = oldSize - 1;
        uint256 sn = newSize - 1;
        while (fn & 1 == 1) {
            fn >>= 1;
            sn >>= 1;
        }

        // 2, 5: where the old tree is perfect (a power of two leaves), its root is itself the first node and is not sent.
        bool perfect = oldSize & (oldSize - 1) == 0;
        bytes32 fr = perfect ? oldRoot : proof[0];
        bytes32 sr = fr;

        // 6
        for (uint256 i = perfect ? 0 : 1; i < proof.length; ++i) {
            if (sn == 0) return false; // longer than the tree is high
            bytes32 c = proof[i];
            if (fn & 1 == 1 || fn == sn) {
                fr = node(c, fr);
                sr = node(c, sr);
                while (fn & 1 == 0 && fn != 0) {
                    fn >>= 1;
                    sn >>= 1;
                }
            } else {
                sr = node(sr, c);
            }
            fn >>= 1;
            sn >>= 1;
        }

        return sn == 0 && fr == oldRoot && sr == newRoot; // 7
    }
}
