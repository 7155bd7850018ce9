"""What the gateway has kept, read from its database as it grows, without asking the gateway."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trigpoint.store.chain import latest_final_anchor
from trigpoint.store.database import open_database
from trigpoint.wire.statement import Statement, parse


class KeptStatement(NamedTuple):
    """One row of the journal: the statement and its arrival, in milliseconds of the gateway's clock."""

    statement: Statement
    arrival_ms: int


@dataclass
class Kept:
    """The gateway's database, read incrementally: `update` adds what is new.

    Attributes:
        database: its path.
        log: all statements in the log's order.
        readings: how many readings they have.
        readings_of: how many of them are each board's, by board id.
        by_board: the same statements, by board id and seq.
        lost: seqs that each board has declared lost, as (first, last).
        flagged: boards whose key the gateway calls cloned.
        refused: how many messages it has refused or kept as evidence.
        anchored_size: leaves under the newest final anchor.
        anchors: how many are final.
        anchor_gas: what those have taken.
    """

    database: Path
    log: list[KeptStatement] = field(default_factory=list)
    readings: int = 0
    readings_of: Counter[bytes] = field(default_factory=Counter)
    by_board: dict[bytes, dict[int, KeptStatement]] = field(default_factory=dict)
    lost: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    flagged: frozenset[bytes] = frozenset()
    refused: int = 0
    anchored_size: int = 0
    anchors: int = 0
    anchor_gas: int = 0

    def update(self) -> None:
        """Read what has come since the last time. A database that is busy is left for the next time."""
        try:
            with closing(open_database(self.database, read_only=True)) as connection:
                connection.execute("BEGIN")
                self._read(connection)
        except sqlite3.OperationalError:
            pass

    @property
    def declared_statements(self) -> int:
        """How many statements boards have declared lost."""
        return sum(last - first + 1 for ranges in self.lost.values() for first, last in ranges)

    def known_boards(self) -> int:
        """Return how many boards the gateway has found on the chain."""
        with closing(open_database(self.database, read_only=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM boards").fetchone()[0])

    def next_seq(self, kid: bytes) -> int:
        """Return the seq that the gateway expects of a board."""
        stored = max(self.by_board.get(kid, {}), default=-1)
        declared = max((last for _, last in self.lost.get(kid, ())), default=-1)
        return max(stored, declared) + 1

    def evidence(self) -> frozenset[bytes]:
        """Return the raw messages that the gateway keeps as proof of cloned keys."""
        return frozenset(self._column("SELECT raw FROM evidence"))

    def refused_messages(self) -> Mapping[str, frozenset[bytes]]:
        """Return the raw messages that the gateway has refused and kept, by reason."""
        found: dict[str, set[bytes]] = {}
        with closing(open_database(self.database, read_only=True)) as connection:
            for reason, raw in connection.execute("SELECT reason, raw FROM rejected"):
                found.setdefault(reason, set()).add(raw)
        return {reason: frozenset(raws) for reason, raws in found.items()}

    def refused_counts(self) -> dict[str, int]:
        """Return how many messages the gateway keeps as refused, by reason, evidence among them."""
        counts: dict[str, int] = {}
        with closing(open_database(self.database, read_only=True)) as connection:
            for table in ("rejected", "evidence"):
                for reason, count in connection.execute(f"SELECT reason, count(*) FROM {table} GROUP BY 1"):  # noqa: S608
                    counts[reason] = counts.get(reason, 0) + count
        return counts

    def has_all(self, raws: frozenset[bytes]) -> bool:
        """Tell whether the gateway has had all of these messages, whatever it did with them."""
        left = raws - {kept.statement.raw for kept in self.log}
        return left <= self.evidence() | frozenset(self._column("SELECT raw FROM rejected"))

    def _read(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT raw, arrival_ms FROM statements WHERE leaf_index >= ? ORDER BY leaf_index", (len(self.log),)
        )
        for raw, arrival_ms in rows:
            kept = KeptStatement(parse(raw), arrival_ms)
            self.log.append(kept)
            self.readings += len(kept.statement.readings)
            self.readings_of[kept.statement.kid] += len(kept.statement.readings)
            self.by_board.setdefault(kept.statement.kid, {})[kept.statement.seq] = kept
        self.lost = {}
        for kid, first, last in connection.execute("SELECT kid, from_seq, to_seq FROM lost ORDER BY from_seq"):
            self.lost.setdefault(kid, []).append((first, last))
        self.flagged = frozenset(kid for (kid,) in connection.execute("SELECT kid FROM boards WHERE flagged = 1"))
        (self.refused,) = connection.execute(
            "SELECT (SELECT count(*) FROM rejected) + (SELECT count(*) FROM evidence)"
        ).fetchone()
        self.anchors, self.anchor_gas = connection.execute(
            "SELECT count(*), coalesce(sum(gas_used), 0) FROM transactions WHERE purpose = 'anchor' AND state = 'final'"
        ).fetchone()
        newest = latest_final_anchor(connection)
        self.anchored_size = newest.size if newest else 0

    def _column(self, query: str) -> list[bytes]:
        with closing(open_database(self.database, read_only=True)) as connection:
            return [value for (value,) in connection.execute(query)]
