// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Merkle proofs of an RFC 9162 log
/// @notice The two verification algorithms of RFC 9162. Both are bounded: every round uses up one element of the proof and
/// halves the tree, so a proof longer than the tree is high stops at the top.
/// @dev The loops are in assembly because hashing is most of what an anchor costs: the buffer 0x01 || left || right stays where it
/// is for all rounds, and a hash costs about half of what `sha256(abi.encodePacked(...))` takes, which allocates anew each time. It lies at
/// the free memory pointer, which is not moved: the space is scratch. The SHA-256 precompile (address 2) fails only when the gas runs
/// out; then so does this.
///
/// RFC 9162 shifts fn and sn to the right one by one until fn is odd (or zero, which cannot be where it says so: there
/// fn is odd already or equals sn, which is not zero). Dividing both by fn's lowest set bit, `fn & -fn`, is the same in one step.
library Rfc9162 {
    /// @notice Leaf hash of a 32-byte entry: SHA-256(0x00 || entry), RFC 9162 section 2.1.1.
    function leaf(bytes32 entry) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), entry));
    }

    /// @notice Whether `path` proves that `leafHash` is the leaf at `index` of the tree of `size` leaves with `root`.
    /// @dev RFC 9162 section 2.1.3.2; the numbers are that section's steps, the names its variables.
    /// @param leafHash The leaf's hash.
    /// @param index Place of the leaf, from 0.
    /// @param size Number of leaves.
    /// @param root Root of the tree.
    /// @param path Inclusion proof, leaf side first.
    function verifyInclusion(bytes32 leafHash, uint256 index, uint256 size, bytes32 root, bytes32[] calldata path)
        internal
        view
        returns (bool)
    {
        if (index >= size) return false; // 1

        bool used; // the whole path was used, and it led to the top
        bytes32 r = leafHash; // 3
        assembly ("memory-safe") {
            // 2
            let fn := index
            let sn := sub(size, 1)

            let buffer := mload(0x40)
            mstore8(buffer, 0x01)
            let left := add(buffer, 1)
            let right := add(buffer, 33)

            // 4
            let p := path.offset
            let end := add(p, shl(5, path.length))
            for {} and(lt(p, end), gt(sn, 0)) { p := add(p, 32) } {
                switch or(and(fn, 1), eq(fn, sn))
                case 0 {
                    mstore(left, r)
                    mstore(right, calldataload(p))
                    fn := shr(1, fn)
                    sn := shr(1, sn)
                }
                default {
                    mstore(left, calldataload(p))
                    mstore(right, r)
                    // Until fn is odd, and then once more.
                    let low := shl(1, and(fn, sub(0, fn)))
                    fn := div(fn, low)
                    sn := div(sn, low)
                }
                if iszero(staticcall(gas(), 2, buffer, 65, 0x00, 32)) { revert(0, 0) }
                r := mload(0x00)
            }
            used := and(eq(p, end), iszero(sn))
        }
        return used && r == root; // 5
    }

    /// @notice Whether `proof` proves that the tree of `newSize` leaves with `newRoot` begins with the whole tree of `oldSize` leaves with
    /// `oldRoot`.
    /// @dev RFC 9162 section 2.1.4.2; the numbers are that section's steps, the names its variables. Only for 0 < oldSize < newSize:
    /// all else is false here, because equal sizes and the empty tree need no proof and the caller decides what they mean.
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

        bool used; // the whole proof was used, and it led to the top
        bytes32 fr;
        bytes32 sr;
        assembly ("memory-safe") {
            // 3, 4: oldSize - 1 ends in as many ones as oldSize ends in zeros.
            let low := and(oldSize, sub(0, oldSize))
            let fn := div(sub(oldSize, 1), low)
            let sn := div(sub(newSize, 1), low)

            // 2, 5: the root of a perfect old tree (a power of two leaves) is itself the first node, and is not sent.
            let c := proof.offset
            let end := add(c, shl(5, proof.length))
            switch eq(oldSize, low)
            case 0 {
                fr := calldataload(c)
                c := add(c, 32)
            }
            default { fr := oldRoot }
            sr := fr

            let buffer := mload(0x40)
            mstore8(buffer, 0x01)
            let left := add(buffer, 1)
            let right := add(buffer, 33)

            // 6
            for {} and(lt(c, end), gt(sn, 0)) { c := add(c, 32) } {
                switch or(and(fn, 1), eq(fn, sn))
                case 0 {
                    mstore(left, sr)
                    mstore(right, calldataload(c))
                    fn := shr(1, fn)
                    sn := shr(1, sn)
                }
                default {
                    mstore(left, calldataload(c))
                    mstore(right, fr)
                    if iszero(staticcall(gas(), 2, buffer, 65, 0x00, 32)) { revert(0, 0) }
                    fr := mload(0x00)
                    mstore(right, sr)
                    // Until fn is odd, and then once more.
                    low := shl(1, and(fn, sub(0, fn)))
                    fn := div(fn, low)
                    sn := div(sn, low)
                }
                if iszero(staticcall(gas(), 2, buffer, 65, 0x00, 32)) { revert(0, 0) }
                sr := mload(0x00)
            }
            used := and(eq(c, end), iszero(sn))
        }
        return used && fr == oldRoot && sr == newRoot; // 7
    }
}
