"""The gateway's transactions in the database, and the anchors among them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from trigpoint.wire.receipt import Anchor


class State(StrEnum):
    """Where a transaction stands. `chain/lifecycle.py` says how one follows from another.

    - prepared: signed and stored; no node has seen it.
    - sent: a node may have it; it is in no block that counts.
    - mined: in a block, with the effect that it was made for.
    - final: in a block with enough blocks on top.
    - replaced: the same transaction at another price was offered in its place, or taken. A block may yet take this one.
    - reorganised: its block left the chain; it is sent again.
    - abandoned: it never took effect and, with its nonce used up, never will.
    """

    PREPARED = "prepared"
    SENT = "sent"
    MINED = "mined"
    FINAL = "final"
    REPLACED = "replaced"
    REORGANISED = "reorganised"
    ABANDONED = "abandoned"


LIVE: Final = frozenset({State.PREPARED, State.SENT, State.MINED, State.REORGANISED})
"""The states of a transaction that is on its way."""


@dataclass(frozen=True)
class Transaction:
    """A transaction to the TransparencyLog.

    Attributes:
        id: its number in the database; 0 before it is stored.
        chain_id: EIP-155 chain id.
        contract: address of the TransparencyLog, 20 bytes.
        purpose: `open` or `anchor`.
        size: of an anchor: leaves; None for an opening.
        root: of an anchor: 32 bytes; None for an opening.
        state: see `State`.
        sender: the account, 20 bytes.
        nonce: the account's; None, as `raw`, if it was found on the chain and is not from this database.
        raw: the signed bytes.
        hash: 32 bytes.
        prepared_ms: the gateway's clock when it was stored, milliseconds since 1970.
        sent_ms: the same when it was last taken up as sent; None before.
        block: number of the block that holds it; None while none does.
        block_hash: 32 bytes, likewise.
        gas_used: likewise.
        cost: what was paid for it, in wei, likewise.
        passed_at: the newest block when its nonce was first seen in use while it was itself in no block; else None.
        note: what went wrong, for a person; empty if nothing did.
    """

    id: int
    chain_id: int
    contract: bytes
    purpose: str
    size: int | None
    root: bytes | None
    state: State
    sender: bytes
    nonce: int | None
    raw: bytes | None
    hash: bytes
    prepared_ms: int
    sent_ms: int | None = None
    block: int | None = None
    block_hash: bytes | None = None
    gas_used: int | None = None
    cost: int | None = None
    passed_at: int | None = None
    note: str = ""


@dataclass(frozen=True)
class AnchorRow:
    """An anchor for a table or a person; the fields are those of `Transaction`."""

    size: int
    root: bytes
    state: State
    transaction: bytes
    block: int | None
    gas_used: int | None
    note: str


@dataclass(frozen=True)
class Attempts:
    """When the newest anchor was prepared (milliseconds since 1970), and how many were in vain since the last final."""

    newest_ms: int | None
    failures: int


class InFlightError(Exception):
    """Another transaction is on its way, or had this nonce, so this one was not stored."""


_COLUMNS = (
    "id, chain_id, contract, purpose, size, root, state, sender, nonce, raw, hash, prepared_ms, sent_ms,"
    " block, block_hash, gas_used, cost, passed_at, note"
)
_LIVE = "state IN ('prepared', 'sent', 'mined', 'reorganised')"


def add(connection: sqlite3.Connection, new: Transaction) -> Transaction:
    """Store a prepared transaction and return it with its number.

    Raises:
        InFlightError: there is a live one on this chain, or its nonce was given to another purpose before.
    """
    if live(connection, new.chain_id):
        raise InFlightError("a transaction is in flight already")
    highest = highest_nonce(connection, new.chain_id, new.sender)
    if new.nonce is None or (highest is not None and new.nonce <= highest):
        raise InFlightError(f"nonce {new.nonce} of the account was given to another transaction before")
    return _insert(connection, new)


def replace_by(connection: sqlite3.Connection, old: Transaction, new: Transaction) -> Transaction:
    """Store a variant of a live transaction, which from then on is pursued in its place; return it with its number.

    Raises:
        InFlightError: it is no variant of it.
    """
    same = [(t.chain_id, t.contract, t.purpose, t.size, t.root, t.sender, t.nonce) for t in (old, new)]
    if same[0] != same[1]:
        raise InFlightError("a variant differs in its price alone")
    save(connection, replace(old, state=State.REPLACED))
    return _insert(connection, new)


def save(connection: sqlite3.Connection, changed: Transaction) -> None:
    """Store a transaction's new state, block and note. What it was made of never changes."""
    connection.execute(
        "UPDATE transactions SET state = ?, sent_ms = ?, block = ?, block_hash = ?, gas_used = ?, cost = ?,"
        " passed_at = ?, note = ? WHERE id = ?",
        (
            changed.state,
            changed.sent_ms,
            changed.block,
            changed.block_hash,
            changed.gas_used,
            None if changed.cost is None else str(changed.cost),
            changed.passed_at,
            changed.note,
            changed.id,
        ),
    )


def live(connection: sqlite3.Connection, chain_id: int) -> list[list[Transaction]]:
    """Return the live transactions on this chain, oldest nonce first, each with all its variants, oldest first.

    Exactly one of the variants is live; the others are replaced.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM transactions WHERE {_LIVE} AND chain_id = ? ORDER BY coalesce(nonce, -1), id",  # noqa: S608
        (chain_id,),
    ).fetchall()
    return [_variants(connection, _transaction(row)) for row in rows]


def _variants(connection: sqlite3.Connection, pursued: Transaction) -> list[Transaction]:
    if pursued.nonce is None:
        return [pursued]
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM transactions WHERE chain_id = ? AND sender = ? AND nonce = ? ORDER BY id",  # noqa: S608
        (pursued.chain_id, pursued.sender, pursued.nonce),
    )
    # One that is given up stays so while another is pursued.
    return [found for found in map(_transaction, rows) if found.state is not State.ABANDONED]


def highest_nonce(connection: sqlite3.Connection, chain_id: int, sender: bytes) -> int | None:
    """Return the highest nonce ever given to a transaction of this account here; None before the first."""
    (nonce,) = connection.execute(
        "SELECT max(nonce) FROM transactions WHERE chain_id = ? AND sender = ?", (chain_id, sender)
    ).fetchone()
    return None if nonce is None else int(nonce)


def since(connection: sqlite3.Connection, chain_id: int, sender: bytes, since_ms: int) -> list[Transaction]:
    """Return all transactions of this account with a nonce that got a variant at `since_ms` or later."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM transactions WHERE chain_id = ?1 AND sender = ?2 AND nonce IN"  # noqa: S608
        " (SELECT nonce FROM transactions WHERE chain_id = ?1 AND sender = ?2 AND prepared_ms >= ?3) ORDER BY id",
        (chain_id, sender, since_ms),
    )
    return [_transaction(row) for row in rows]


def adopt(connection: sqlite3.Connection, found: Transaction) -> Transaction:
    """Store an anchor that was found on the chain, in a block. If it is one that was given up, that one lives again."""
    row = connection.execute("SELECT id FROM transactions WHERE hash = ?", (found.hash,)).fetchone()
    if row is None:
        return _insert(connection, found)
    save(connection, replace(found, id=row[0]))
    return _transaction(connection.execute(f"SELECT {_COLUMNS} FROM transactions WHERE id = ?", row).fetchone())  # noqa: S608


def put_back(
    connection: sqlite3.Connection,
    chain_id: int,
    contract: bytes,
    *,
    head_size: int | None,
    sender: bytes,
    next_nonce: int,
) -> int:
    """Turn settled transactions that the chain has lost to `reorganised`; return how many.

    Args:
        connection: the database, in a transaction.
        chain_id: EIP-155 chain id.
        contract: 20 bytes.
        head_size: leaves under the chain's head: larger final anchors are lost. None if the log is not even open there.
        sender: the account, 20 bytes.
        next_nonce: its next one on the chain: what was settled with it or a higher one is undecided again.
    """
    changed = connection.execute(
        "UPDATE transactions SET state = 'reorganised', block = NULL, block_hash = NULL, gas_used = NULL, cost = NULL,"
        " passed_at = NULL, note = 'its block left the chain after it was final'"
        " WHERE chain_id = ? AND contract = ? AND state = 'final' AND coalesce(size, 0) > ?",
        (chain_id, contract, -1 if head_size is None else head_size),
    ).rowcount
    # Of variants that were all given up, the newest is pursued again.
    changed += connection.execute(
        "UPDATE transactions SET state = 'reorganised', block = NULL, block_hash = NULL, gas_used = NULL, cost = NULL,"
        " passed_at = NULL, note = 'its nonce is free again'"
        " WHERE id IN (SELECT max(id) FROM transactions WHERE chain_id = ?1 AND contract = ?2 AND sender = ?3"
        " AND nonce >= ?4 GROUP BY nonce HAVING sum(state NOT IN ('replaced', 'abandoned')) = 0)"
        " AND NOT EXISTS (SELECT 1 FROM transactions AS other WHERE other.chain_id = transactions.chain_id"
        " AND other.contract = transactions.contract AND other.purpose = transactions.purpose"
        " AND other.size IS transactions.size AND other.state NOT IN ('replaced', 'abandoned'))",
        (chain_id, contract, sender, next_nonce),
    ).rowcount
    return changed


def newest_block(connection: sqlite3.Connection, chain_id: int, contract: bytes) -> int | None:
    """Return the newest block in which one of the newest transactions was seen to settle; None before the first."""
    (block,) = connection.execute(
        "SELECT max(max(coalesce(block, 0), coalesce(passed_at, 0))) FROM (SELECT block, passed_at FROM transactions"
        " WHERE chain_id = ? AND contract = ? AND state IN ('final', 'abandoned') ORDER BY id DESC LIMIT 16)",
        (chain_id, contract),
    ).fetchone()
    return None if block is None else int(block)


def newest_final(connection: sqlite3.Connection, chain_id: int, contract: bytes) -> Transaction | None:
    """Return the newest final anchor in this contract."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM transactions WHERE chain_id = ? AND contract = ?"  # noqa: S608
        # What is said twice lets SQLite find it by the index one_anchor_of_a_size.
        " AND purpose = 'anchor' AND state NOT IN ('replaced', 'abandoned') AND state = 'final'"
        " ORDER BY size DESC LIMIT 1",
        (chain_id, contract),
    ).fetchone()
    return _transaction(row) if row else None


def attempts(connection: sqlite3.Connection, chain_id: int, contract: bytes) -> Attempts:
    """Return what the decision to anchor must know of earlier anchors in this contract."""
    of_contract = (chain_id, contract)
    newest = connection.execute(
        "SELECT prepared_ms FROM transactions WHERE chain_id = ? AND contract = ? AND purpose = 'anchor'"
        " AND raw IS NOT NULL ORDER BY id DESC LIMIT 1",
        of_contract,
    ).fetchone()
    (failures,) = connection.execute(
        "SELECT count(*) FROM transactions WHERE chain_id = ? AND contract = ? AND purpose = 'anchor'"
        " AND state = 'abandoned' AND id > coalesce((SELECT id FROM transactions"
        " WHERE chain_id = ? AND contract = ? AND purpose = 'anchor' AND state = 'final' ORDER BY id DESC LIMIT 1), 0)",
        of_contract * 2,
    ).fetchone()
    return Attempts(newest[0] if newest else None, failures)


def latest_final_anchor(connection: sqlite3.Connection) -> Anchor | None:
    """Return the newest anchor that is final, as receipts name it; None before the first."""
    row = connection.execute(
        "SELECT chain_id, contract, size, root, hash, block FROM transactions"
        " WHERE purpose = 'anchor' AND state = 'final' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return Anchor(*row) if row else None


def first_final_anchor(connection: sqlite3.Connection, leaf_index: int) -> Anchor | None:
    """Return the first final anchor that covers a leaf, in the contract of the newest one; None if none does."""
    row = connection.execute(
        "SELECT chain_id, contract, size, root, hash, block FROM transactions"
        " WHERE purpose = 'anchor' AND state = 'final' AND size > ? AND (chain_id, contract) ="
        " (SELECT chain_id, contract FROM transactions WHERE purpose = 'anchor' AND state = 'final'"
        " ORDER BY id DESC LIMIT 1)"
        " ORDER BY size LIMIT 1",
        (leaf_index,),
    ).fetchone()
    return Anchor(*row) if row else None


def first_mined_anchor(connection: sqlite3.Connection, leaf_index: int) -> Anchor | None:
    """Return the first anchor that covers a leaf and is in a block, but not final yet; None if there is none."""
    row = connection.execute(
        # What is said twice lets SQLite find it by the index `live`.
        f"SELECT chain_id, contract, size, root, hash, block FROM transactions WHERE {_LIVE}"  # noqa: S608
        " AND purpose = 'anchor' AND state = 'mined' AND size > ? ORDER BY size LIMIT 1",
        (leaf_index,),
    ).fetchone()
    return Anchor(*row) if row else None


def is_final(connection: sqlite3.Connection, anchor: Anchor) -> bool:
    """Tell whether an anchor is final, just as it is named."""
    row = connection.execute(
        "SELECT chain_id, contract, size, root, hash, block FROM transactions"
        " WHERE hash = ? AND purpose = 'anchor' AND state = 'final'",
        (anchor.transaction,),
    ).fetchone()
    return row is not None and Anchor(*row) == anchor


def anchors(connection: sqlite3.Connection) -> list[AnchorRow]:
    """Return all anchors ever prepared or found, oldest first."""
    rows = connection.execute(
        "SELECT size, root, state, hash, block, gas_used, note FROM transactions WHERE purpose = 'anchor' ORDER BY id"
    )
    return [AnchorRow(row[0], row[1], State(row[2]), *row[3:]) for row in rows]


def _insert(connection: sqlite3.Connection, new: Transaction) -> Transaction:
    row = connection.execute(
        "INSERT INTO transactions (chain_id, contract, purpose, size, root, state, sender, nonce, raw, hash,"  # noqa: S608
        " prepared_ms, sent_ms, block, block_hash, gas_used, cost, passed_at, note)"
        f" VALUES ({', '.join('?' * 18)}) RETURNING {_COLUMNS}",
        (
            new.chain_id,
            new.contract,
            new.purpose,
            new.size,
            new.root,
            new.state,
            new.sender,
            new.nonce,
            new.raw,
            new.hash,
            new.prepared_ms,
            new.sent_ms,
            new.block,
            new.block_hash,
            new.gas_used,
            None if new.cost is None else str(new.cost),
            new.passed_at,
            new.note,
        ),
    ).fetchone()
    return _transaction(row)


def _transaction(row: tuple[Any, ...]) -> Transaction:
    named = dict(zip(_COLUMNS.split(", "), row, strict=True))
    cost = named["cost"]
    return Transaction(**{**named, "state": State(named["state"]), "cost": None if cost is None else int(cost)})
