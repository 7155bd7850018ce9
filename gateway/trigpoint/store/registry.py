"""The registry's mirror in `boards`, and how far it reaches. Ingest's columns of that table are never touched here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Registered:
    """A board was registered: its id, its key (32 bytes each), its owner (20 bytes) and its block's time in seconds."""

    kid: bytes
    x: bytes
    y: bytes
    owner: bytes
    time: int


@dataclass(frozen=True)
class Ended:
    """A board was revoked or succeeded by another, at its block's time in seconds."""

    kid: bytes
    time: int


@dataclass(frozen=True)
class Transferred:
    """A board has a new owner, 20 bytes."""

    kid: bytes
    owner: bytes


Event = Registered | Ended | Transferred


@dataclass(frozen=True)
class Cursor:
    """The block up to which the registry is mirrored, included.

    Attributes:
        chain_id: EIP-155 chain id.
        registry: address of the DeviceRegistry, 20 bytes.
        block: number of the block.
        block_hash: 32 bytes.
    """

    chain_id: int
    registry: bytes
    block: int
    block_hash: bytes


def cursor(connection: sqlite3.Connection) -> Cursor | None:
    """Return the cursor; None before the first sync."""
    row = connection.execute("SELECT chain_id, registry, block, block_hash FROM registry_cursor").fetchone()
    return Cursor(*row) if row else None


def apply(connection: sqlite3.Connection, events: Iterable[Event], to: Cursor) -> None:
    """Mirror the events that follow the cursor, in the chain's order, and move the cursor."""
    for event in events:
        _apply(connection, event)
    connection.execute(
        "INSERT INTO registry_cursor (id, chain_id, registry, block, block_hash) VALUES (1, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET chain_id = excluded.chain_id, registry = excluded.registry,"
        " block = excluded.block, block_hash = excluded.block_hash",
        (to.chain_id, to.registry, to.block, to.block_hash),
    )


def rebuild(connection: sqlite3.Connection, events: Iterable[Event], to: Cursor) -> None:
    """Mirror all events of the registry anew.

    A board that is in none of them keeps its row, because its seq and its statements are facts, but has a life of no
    length: it is not active, and was at no time.
    """
    connection.execute("UPDATE boards SET active_until = active_from")
    apply(connection, events, to)


def _apply(connection: sqlite3.Connection, event: Event) -> None:
    match event:
        case Registered():
            connection.execute(
                "INSERT INTO boards (kid, x, y, owner, active_from) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (kid) DO UPDATE SET owner = excluded.owner, active_from = excluded.active_from,"
                " active_until = NULL",
                (event.kid, event.x, event.y, event.owner, event.time),
            )
        case Ended():
            connection.execute("UPDATE boards SET active_until = ? WHERE kid = ?", (event.time, event.kid))
        case Transferred():
            connection.execute("UPDATE boards SET owner = ? WHERE kid = ?", (event.owner, event.kid))
