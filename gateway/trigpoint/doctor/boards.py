"""Whose boards are served."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from trigpoint.doctor.finding import Finding, ok, warn
from trigpoint.words import counted


@dataclass(frozen=True)
class Boards:
    """How many boards are active in the registry, and how many of these have an owner whom the gateway serves."""

    active: int
    served: int


def look(connection: sqlite3.Connection, owners: Collection[bytes]) -> Boards:
    """Count them; `owners` are addresses, 20 bytes each; none for everybody. Raises sqlite3.Error."""
    rows = connection.execute("SELECT owner, count(*) FROM boards WHERE active_until IS NULL GROUP BY owner").fetchall()
    active = sum(number for _, number in rows)
    return Boards(active, sum(number for owner, number in rows if owner in owners) if owners else active)


def judge(owners: Collection[bytes], boards: Boards | None, *, local: bool) -> Finding:
    """Judge `ingest.owners`.

    Args:
        owners: addresses, none for everybody.
        boards: None while there is no database.
        local: whether the chain is this machine's own, where no strangers are.
    """
    what = "owners served"
    if not owners:
        if local:
            return ok("boards", what, "everybody's: the chain is a local one")
        return warn(
            "boards",
            what,
            "everybody's: on a public chain any stranger can enrol boards, and fill this disk with them",
            "name your own address, and others whom you serve, in ingest.owners",
        )
    text = f"those of {counted(len(owners), 'address')}"
    if boards is None or not boards.active:
        return ok("boards", what, text)
    text += f": {boards.served:,} of {counted(boards.active, 'active board')}"
    if not boards.served:
        return warn("boards", what, text, "name in ingest.owners who owns your boards (trigpoint gateway status DIR)")
    return ok("boards", what, text)
