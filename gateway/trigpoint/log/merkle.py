"""Hashes and proofs of an RFC 9162 Merkle tree (section 2.1), checked without the tree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256().digest()
"""Root of a tree without leaves (RFC 9162 section 2.1.1)."""

MAX_SIZE = (1 << 48) - 1
"""Most leaves of a log: what the TransparencyLog contract can count."""


class ProofError(ValueError):
    """A proof, index or size that cannot belong to any tree, or tiles that do not hold what they should."""


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the leaf hash of each entry, in less time than one by one."""
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that a leaf and its inclusion proof lead to (RFC 9162 section 2.1.3.2).

    The proof holds if the root equals one that is trusted.

    Args:
        leaf: leaf hash, 32 bytes.
        index: place of the leaf, from 0.
        size: leaves in the tree.
        path: siblings, leaf side first, 32 bytes each.

    Raises:
        ProofError: if the index is not in the tree, or the path has a node more or less than it must.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves")
    _check_hashes((leaf, *path))
    node, last, result = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofError(f"the path of leaf {index} in {size} has {len(path)} nodes, which are too many")
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise ProofError(f"the path of leaf {index} in {size} has {len(path)} nodes, which are too few")
    return result


def verify_consistency(m: int, root_m: bytes, n: int, root_n: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the tree of n leaves extends the tree of m leaves (RFC 9162 section 2.1.4.2).

    Args:
        m: leaves of the older tree, at most n. A tree without leaves is extended by every tree, with an empty proof.
        root_m: its root.
        n: leaves of the newer tree.
        root_n: its root.
        proof: nodes of 32 bytes, as `consistency_proof` makes them.

    Raises:
        ProofError: if the sizes are impossible or the proof has a node more or less than it must.
    """
    if not 0 <= m <= n <= MAX_SIZE:
        raise ProofError(f"a tree of {n} leaves cannot extend one of {m}")
    _check_hashes((root_m, root_n, *proof))
    if m in (0, n):
        if proof:
            raise ProofError(f"from {m} to {n} leaves the proof must be empty")
        return root_m == (root_n if m else EMPTY_ROOT)
    nodes = list(proof)
    if m & (m - 1) == 0:
        # A perfect older tree is a node of the newer one, and the proof leaves it out.
        nodes.insert(0, root_m)
    if not nodes:
        raise ProofError(f"from {m} to {n} leaves the proof must not be empty")
    node, last = m - 1, n - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise ProofError(f"the proof from {m} to {n} leaves has too many nodes")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise ProofError(f"the proof from {m} to {n} leaves has too few nodes")
    return old == root_m and new == root_n


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(value) != 32 for value in hashes):
        raise ProofError("a hash that is not 32 bytes long")
