// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title RFC 9162's own recursive definitions, for tests
/// @notice Section 2.1.1 (MTH), 2.1.3.1 (PATH) and 2.1.4.1 (PROOF) as they are written there. Slow, and with nothing in
/// common with the iterative verification under test. `leaves` are leaf hashes; D[a:b] is (a, b).
library ReferenceTree {
    function mth(bytes32[] memory leaves, uint256 a, uint256 b) internal pure returns (bytes32) {
        if (b - a == 1) return leaves[a];
        uint256 k = _split(b - a);
        return sha256(abi.encodePacked(uint8(1), mth(leaves, a, a + k), mth(leaves, a + k, b)));
    }

    function root(bytes32[] memory leaves, uint256 size) internal pure returns (bytes32) {
        return mth(leaves, 0, size);
    }

    function path(bytes32[] memory leaves, uint256 index, uint256 size) internal pure returns (bytes32[] memory) {
        return _path(leaves, index, 0, size);
    }

    function proof(bytes32[] memory leaves, uint256 m, uint256 n) internal pure returns (bytes32[] memory) {
        return _subproof(leaves, m, 0, n, true);
    }

    function _path(bytes32[] memory leaves, uint256 m, uint256 a, uint256 b) private pure returns (bytes32[] memory) {
        if (b - a == 1) return new bytes32[](0);
        uint256 k = _split(b - a);
        if (m < k) return append(_path(leaves, m, a, a + k), mth(leaves, a + k, b));
        return append(_path(leaves, m - k, a + k, b), mth(leaves, a, a + k));
    }

    function _subproof(bytes32[] memory leaves, uint256 m, uint256 a, uint256 b, bool complete)
        private
        pure
        returns (bytes32[] memory)
    {
        if (m == b - a) return complete ? new bytes32[](0) : append(new bytes32[](0), mth(leaves, a, b));
        uint256 k = _split(b - a);
        if (m <= k) return append(_subproof(leaves, m, a, a + k, complete), mth(leaves, a + k, b));
        return append(_subproof(leaves, m - k, a + k, b, false), mth(leaves, a, a + k));
    }

    function append(bytes32[] memory list, bytes32 last) internal pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = last;
    }

    function shortened(bytes32[] memory list) internal pure returns (bytes32[] memory shorter) {
        shorter = new bytes32[](list.length - 1);
        for (uint256 i = 0; i < shorter.length; ++i) {
            shorter[i] = list[i];
        }
    }

    function same(bytes32[] memory a, bytes32[] memory b) internal pure returns (bool) {
        return keccak256(abi.encodePacked(a)) == keccak256(abi.encodePacked(b));
    }

    /// @notice `size` leaf hashes of entries that depend on the seed.
    function leavesOf(uint256 seed, uint256 size) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = leafOf(entryOf(seed, i));
        }
    }

    function entryOf(uint256 seed, uint256 index) internal pure returns (bytes32) {
        return keccak256(abi.encode(seed, index));
    }

    function leafOf(bytes32 entry) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0), entry));
    }

    /// @dev The largest power of two smaller than n, for n > 1.
    function _split(uint256 n) private pure returns (uint256 k) {
        k = 1;
        while (k * 2 < n) {
            k *= 2;
        }
    }
}
