"""Throws away what is folded, and folds it again from the statements."""

from __future__ import annotations

import sqlite3

from trigpoint.log.merkle import EMPTY_ROOT
from trigpoint.store.fold import fold_index, fold_log, replay

FOLDED = frozenset({"log", "index", "hours"})
"""The checks of what can be mended."""


def fold_again(connection: sqlite3.Connection) -> None:
    """Make anew all that follows from the statements, in the transaction that `connection` is in.

    In one transaction, because a log without its tiles looks like one that has lost its end.
    """
    for table in ("tiles", "seqs", "hours", "series"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608
    connection.execute("UPDATE log_state SET size = 0, root = ?", (EMPTY_ROOT,))
    connection.execute("DELETE FROM folds")
    connection.execute("INSERT INTO folds VALUES ('index', 0)")
    connection.execute("UPDATE boards SET next_seq = 0, last_entry = zeroblob(32)")
    # Where nothing has come since a declared loss, only its own row tells where the board stands.
    connection.execute(
        "UPDATE boards SET next_seq = lost.last + 1, last_entry = NULL"
        " FROM (SELECT kid, max(to_seq) AS last FROM lost GROUP BY kid) AS lost WHERE lost.kid = boards.kid"
    )
    fold_log(connection)
    while (tail := replay(connection)).size > tail.start:
        fold_index(connection, tail)
