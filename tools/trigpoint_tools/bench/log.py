"""The Merkle log: appending leaves, proofs in a log of ten million, and what publishing writes to the disk."""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trigpoint.log import tree
from trigpoint.log.merkle import leaf_hashes, root_from_inclusion, verify_consistency
from trigpoint.log.tree import RightEdge
from trigpoint.log.verified import VerifiedTiles
from trigpoint.public import PublicFiles
from trigpoint.store import fold
from trigpoint.store.database import migrate, open_database
from trigpoint.store.log import Head, StoredTiles

LEAVES = 10_000_000
PROOFS = 60
_BATCH = 65_536
_ROUNDS = 5
_APPENDED = 100_000
_PUBLISHINGS = 300
_BOARDS = 100
_MINUTES_A_DAY = 1_440
_STATEMENT = 250


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Measure the log; `report` is told what goes on. Takes half a minute and 700 MB of disk under build/bench.

    Returns:
        log_append_per_s: leaves a second of CPU time, from their entries, in the batches of 100 that a minute brings.
        log_append_single_per_s: the same one by one.
        log_append_vs_hashes: CPU time of a leaf in batches over that of the two hashes that it cannot do without.
        proof_ms_10m: milliseconds of an inclusion proof in a log of 10 million leaves whose tiles are rows of a
            database that is in no cache: median over leaves, of each the best of three.
        proof_warm_ms_10m: the same with what was read before in the system's cache.
        proof_verified_ms_10m: the same, each tile verified by the root first.
        consistency_ms_10m: of a consistency proof from a random size, cold.
        public_mb_per_day_100_boards: megabytes that the public files cost a day at a statement a minute of each board,
            by the process's count of bytes sent to the disk; the file system's journal comes on top.
    """
    base = Path("build/bench")
    base.mkdir(parents=True, exist_ok=True)
    report(f"appending {_APPENDED:,} leaves, {_ROUNDS} times")
    results = _appending()
    with tempfile.TemporaryDirectory(dir=base) as folder:
        path = Path(folder) / "log.db"
        started = time.process_time()
        size, root = _build(path)
        report(
            f"built a log of {size:,} leaves in {time.process_time() - started:.0f} s of CPU time: its tiles are rows"
            f" of {path.stat().st_size / 1e6:.0f} MB, its leaf hashes random bytes: a tree sees no difference"
        )
        results |= _proofs(path, size, root)
    with tempfile.TemporaryDirectory(dir=base) as folder:
        report(f"publishing {_PUBLISHINGS} times, {_BOARDS} statements later each time")
        results["public_mb_per_day_100_boards"] = round(_published(Path(folder)), 1)
    return results


def _appending() -> dict[str, int | float]:
    entries = [sha256(b"%d" % number).digest() for number in range(_APPENDED)]
    batches, singles, hashes = [], [], []
    for _ in range(_ROUNDS):
        edge, started = RightEdge(0, []), time.process_time()
        for start in range(0, _APPENDED, _BOARDS):
            edge = edge.append(leaf_hashes(entries[start : start + _BOARDS])).edge
        batches.append((time.process_time() - started) / _APPENDED)
        few = entries[: _APPENDED // 10]
        edge, started = RightEdge(0, []), time.process_time()
        for entry in few:
            edge = edge.append(leaf_hashes([entry])).edge
        singles.append((time.process_time() - started) / len(few))
        started = time.process_time()
        for leaf in [sha256(b"\x00" + entry).digest() for entry in entries]:
            sha256(b"\x01" + leaf + leaf).digest()
        hashes.append((time.process_time() - started) / _APPENDED)
    return {
        "log_append_per_s": round(1 / statistics.median(batches)),
        "log_append_single_per_s": round(1 / statistics.median(singles)),
        "log_append_vs_hashes": round(
            statistics.median(ours / bare for ours, bare in zip(batches, hashes, strict=True)), 2
        ),
    }


def _build(path: Path) -> Head:
    """Make a database with the tiles of a large log, as folding would have left it."""
    chance = random.Random(9162)  # noqa: S311 (no secret)
    edge = RightEdge(0, [])
    with closing(open_database(path)) as connection:
        migrate(connection)
        connection.execute("PRAGMA synchronous = OFF")
        while edge.size < LEAVES:
            count = min(_BATCH, LEAVES - edge.size)
            block = chance.randbytes(count * 32)
            appended = edge.append([block[at : at + 32] for at in range(0, len(block), 32)])
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO tiles (level, idx, data) VALUES (?, ?, ?)"
                " ON CONFLICT (level, idx) DO UPDATE SET data = excluded.data",
                [(level, index, data) for (level, index), data in appended.tiles.items()],
            )
            connection.execute("COMMIT")
            edge = appended.edge
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Head(edge.size, edge.root)


def _proofs(path: Path, size: int, root: bytes) -> dict[str, int | float]:
    chance = random.Random(1)  # noqa: S311 (no secret)
    cold, warm, verified, consistent = [], [], [], []
    for _ in range(PROOFS):
        index, older = chance.randrange(size), chance.randrange(1, size)
        cold.append(_cold(path, partial(_inclusion, index=index, size=size)))
        consistent.append(_cold(path, partial(_consistency, older=older, size=size)))
        with closing(open_database(path, read_only=True)) as connection:
            tiles = StoredTiles(connection)
            proof = tree.inclusion_proof(tiles, index, size)
            warm.append(_timed(partial(tree.inclusion_proof, tiles, index, size)))
            verified.append(_timed(partial(_verified_proof, tiles, index, size, root)))
            leaf = tiles.tile(0, index >> 8)[32 * (index & 255) :][:32]
            extends = verify_consistency(
                older, tree.root(tiles, older), size, root, tree.consistency_proof(tiles, older, size)
            )
        if root_from_inclusion(leaf, index, size, proof) != root or not extends:
            raise ValueError("a proof does not hold")
    return {
        "proof_ms_10m": round(statistics.median(cold), 3),
        "proof_warm_ms_10m": round(statistics.median(warm), 3),
        "proof_verified_ms_10m": round(statistics.median(verified), 3),
        "consistency_ms_10m": round(statistics.median(consistent), 3),
    }


def _cold(path: Path, prove: Callable[[StoredTiles], object]) -> float:
    """Return the milliseconds of a proof whose tiles are in no cache; the best of three, for others use the disk."""
    times = []
    for _ in range(3):
        _forget(path)
        with closing(open_database(path, read_only=True)) as connection:
            times.append(_timed(partial(prove, StoredTiles(connection))))
    return min(times)


def _inclusion(tiles: StoredTiles, index: int, size: int) -> list[bytes]:
    return tree.inclusion_proof(tiles, index, size)


def _consistency(tiles: StoredTiles, older: int, size: int) -> list[bytes]:
    return tree.consistency_proof(tiles, older, size)


def _verified_proof(tiles: StoredTiles, index: int, size: int, root: bytes) -> list[bytes]:
    return tree.inclusion_proof(VerifiedTiles(tiles, size, root), index, size)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def _forget(path: Path) -> None:
    """Take the file out of the system's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _published(folder: Path) -> float:
    """Return how many megabytes a day the public files cost: a publishing a minute, 100 statements later each time."""
    chance = random.Random(2)  # noqa: S311 (no secret)
    written = 0
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        public = PublicFiles(folder, connection, bytes(32), Ed25519PrivateKey.from_private_bytes(bytes(32)))
        for number in range(_PUBLISHINGS):
            connection.executemany(
                "INSERT INTO statements (leaf_index, board, seq, arrival_ms, raw) VALUES (?, ?, ?, 0, ?)",
                [(number * _BOARDS + n, n, number, chance.randbytes(_STATEMENT)) for n in range(_BOARDS)],
            )
            fold.fold_log(connection)
            before = _write_bytes()
            public.publish()
            written += _write_bytes() - before
    return written / _PUBLISHINGS * _MINUTES_A_DAY / 1e6


def _write_bytes() -> int:
    """Return the bytes that this process has caused to be written to disks (proc(5), /proc/pid/io)."""
    for line in Path("/proc/self/io").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    raise ValueError("/proc/self/io has no write_bytes")
