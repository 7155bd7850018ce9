"""The transactions' table: what an older database holds is brought along, and what must never be is refused by it."""

import sqlite3
from pathlib import Path

import pytest
from trigpoint.store import chain as store
from trigpoint.store import database
from trigpoint.store.chain import State
from trigpoint.store.database import migrate, open_database

SENDER, CONTRACT = b"\x03" * 20, b"\x01" * 20
OLD = (
    "INSERT INTO transactions (chain_id, contract, purpose, size, root, state, sender, nonce, raw, hash, prepared_ms,"
    " block, block_hash, gas_used, passed_at, note) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, 5, ?, ?, ?, ?, ?)"
)


def old_row(connection: sqlite3.Connection, number: int, state: str, block: int | None = None) -> None:
    inside = block is not None
    connection.execute(
        OLD,
        (
            CONTRACT,
            "open" if number == 0 else "anchor",
            number or None,
            b"\x02" * 32 if number else None,
            state,
            SENDER,
            number,
            b"raw",
            bytes([number]) * 32,
            block,
            b"\x05" * 32 if inside else None,
            40_000 if inside else None,
            None,
            "",
        ),
    )


def test_an_older_database_is_brought_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = open_database(tmp_path / "old.db")
    everything = database._migrations()
    monkeypatch.setattr(database, "_migrations", lambda: {n: sql for n, sql in everything.items() if n < 4})
    migrate(connection)
    old_row(connection, 0, "final", 3)
    old_row(connection, 1, "final", 4)
    old_row(connection, 2, "failed")
    old_row(connection, 3, "sent")
    monkeypatch.setattr(database, "_migrations", lambda: everything)
    migrate(connection)
    assert [row.state for row in store.anchors(connection)] == [State.FINAL, State.ABANDONED, State.SENT]
    ((waiting,),) = store.live(connection, 1)
    assert (waiting.size, waiting.state, waiting.sent_ms, waiting.cost) == (3, State.SENT, 5, None)
    final = store.newest_final(connection, 1, CONTRACT)
    assert final is not None and (final.size, final.block) == (1, 4)
    assert store.highest_nonce(connection, 1, SENDER) == 3
    connection.close()


def test_the_database_refuses_two_purposes_of_a_nonce_and_an_anchor_twice(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "new.db")
    migrate(connection)
    old_row(connection, 1, "sent")
    for change in ("size = 2", "nonce = 2"):  # the same nonce for another anchor; the same anchor with another nonce
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(
                "INSERT INTO transactions SELECT id + 1, chain_id, contract, purpose, size, root, state, sender, nonce,"
                " raw, zeroblob(32), prepared_ms, sent_ms, block, block_hash, gas_used, cost, passed_at, note"
                " FROM (SELECT * FROM transactions)".replace(change.split()[0] + ",", change.split()[2] + ",", 1)
            )
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE transactions SET state = 'failed'")
    connection.close()
