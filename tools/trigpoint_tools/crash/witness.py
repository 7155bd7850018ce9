"""Reads what a killed gateway has left on the disk, and compares it with what its boards sent and were told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from trigpoint.config import Config
from trigpoint.log import checkpoint
from trigpoint.log.merkle import EMPTY_ROOT, leaf_hash, node_hash
from trigpoint.wire import statement

from trigpoint_tools.crash.fleet import Board


class Witness:
    """Remembers all that was ever on the disk. Each look reads what is new since the last one.

    It shares no code with the gateway's own store and log: the tree here is a second, independent one.

    Attributes:
        stored: statements of each board, by kid.
        lost: acked statements that are not there.
        duplicated: statements that are there twice.
        faults: everything else that is wrong, one line each.
    """

    def __init__(self, config: Config, log_key: bytes, boards: list[Board]) -> None:
        self._config = config
        self._log_key = log_key
        self._boards = {board.kid: board for board in boards}
        self._peaks: list[bytes | None] = []
        self._size = 0
        self._published = 0
        self._last_raw = b""
        self.stored = dict.fromkeys(self._boards, 0)
        self.lost = 0
        self.duplicated = 0
        self.faults: list[str] = []

    @property
    def size(self) -> int:
        """Statements seen so far."""
        return self._size

    def look(self) -> None:
        """Compare the disk with the boards' word. Call it while no gateway runs."""
        acked = {kid: board.acked for kid, board in self._boards.items()}
        with closing(sqlite3.connect(self._config.database)) as connection:
            if not self._size and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
                return  # killed before it had made its first table
            heads = self._heads(connection)
            self._read(connection, heads)
        self.lost += sum(max(0, acked[kid] + 1 - count) for kid, count in self.stored.items())

    def _heads(self, connection: sqlite3.Connection) -> dict[int, list[tuple[str, bytes]]]:
        """Return the heads that the disk claims, by size."""
        size, root, log_id = connection.execute("SELECT size, root, log_id FROM log_state").fetchone()
        heads: dict[int, list[tuple[str, bytes]]] = {size: [("log_state", root)]}
        path: Path = self._config.public / "checkpoint"
        if path.exists() and log_id is not None:
            published = checkpoint.verify(path.read_text(), log_id, self._log_key)
            if published.size < self._published:
                self.faults.append(f"the checkpoint went back from {self._published} to {published.size} leaves")
            self._published = published.size
            heads.setdefault(published.size, []).append(("checkpoint", published.root))
        return heads

    def _read(self, connection: sqlite3.Connection, heads: dict[int, list[tuple[str, bytes]]]) -> None:
        if self._size:
            last = connection.execute("SELECT raw FROM statements WHERE leaf_index = ?", (self._size - 1,)).fetchone()
            if last is None or last[0] != self._last_raw:
                self.faults.append(f"statement {self._size - 1}, which was there, is gone or changed")
        self._compare(heads)
        rows = connection.execute(
            "SELECT leaf_index, raw FROM statements WHERE leaf_index >= ? ORDER BY leaf_index", (self._size,)
        )
        for leaf_index, raw in rows:
            if leaf_index != self._size:
                self.faults.append(f"statement {self._size} is missing, the next is {leaf_index}")
                return
            self._take(raw)
            self._compare(heads)
        self.faults += [
            f"{what} has {size} leaves, of {self._size} stored"
            for size, claims in heads.items()
            for what, _ in claims
            if size > self._size
        ]

    def _take(self, raw: bytes) -> None:
        parsed = statement.parse(raw)
        board = self._boards[parsed.kid]
        expected = self.stored[parsed.kid]
        if parsed.seq < expected:
            self.duplicated += 1
        elif parsed.seq > expected:
            self.faults.append(f"board {parsed.kid.hex()[:8]}: seq {parsed.seq} follows {expected - 1}")
        if raw != board.sent[parsed.seq]:
            self.faults.append(f"board {parsed.kid.hex()[:8]}: seq {parsed.seq} is not what the board signed")
        self.stored[parsed.kid] = max(expected, parsed.seq + 1)
        self._last_raw = raw
        self._add(leaf_hash(parsed.entry))

    def _add(self, node: bytes) -> None:
        """Add a leaf to the peaks: the roots of the perfect subtrees that the tree is made of, smallest first."""
        self._size += 1
        for height, peak in enumerate(self._peaks):
            if peak is None:
                self._peaks[height] = node
                return
            node = node_hash(peak, node)
            self._peaks[height] = None
        self._peaks.append(node)

    def _root(self) -> bytes:
        root = b""
        for peak in self._peaks:
            if peak is not None:
                root = node_hash(peak, root) if root else peak
        return root or EMPTY_ROOT

    def _compare(self, heads: dict[int, list[tuple[str, bytes]]]) -> None:
        for what, root in heads.get(self._size, []):
            if root != self._root():
                self.faults.append(f"{what} at {self._size} leaves has a root that is not that of the statements")
