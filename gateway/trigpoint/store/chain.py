"""The gateway's transactions in the database, and the anchors among them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from enum import StrEnum

from trigpoint.wire.receipt import Anchor


class State(StrEnum):
    """Where a transaction stands. `chain/submitter.py` says how one follows from another.

    - prepared: signed and stored; no node has seen it.
    - sent: a node may have it; it is in no block that counts.
    - mined: in a block, with the effect that it was made for.
    - final: in a block with enough blocks on top.
    - failed: it never took effect and never will.
    """

    PREPARED = "prepared"
    SENT = "sent"
    MINED = "mined"
    FINAL = "final"
    FAILED = "failed"


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
        block: number of the block that holds it; None while none does.
        block_hash: 32 bytes, likewise.
        gas_used: likewise.
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
    block: int | None = None
    block_hash: bytes | None = None
    gas_used: int | None = None
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
    """When the newest anchor was prepared (milliseconds since 1970), and how many failed since the last final one."""

    newest_ms: int | None
    failures: int


class InFlightError(Exception):
    """Another transaction is not settled yet, so this one was not stored."""


_COLUMNS = (
    "id, chain_id, contract, purpose, size, root, state, sender, nonce, raw, hash, prepared_ms,"
    " block, block_hash, gas_used, passed_at, note"
)
_UNSETTLED = "state IN ('prepared', 'sent', 'mined')"


def add(connection: sqlite3.Connection, new: Transaction) -> Transaction:
    """Store a prepared transaction and return it with its number.

    Raises:
        InFlightError: there is an unsettled one on this chain.
    """
    if unsettled(connection, new.chain_id):
        raise InFlightError("a transaction is in flight already")
    return _insert(connection, new)


def save(connection: sqlite3.Connection, changed: Transaction) -> None:
    """Store a transaction's new state, block and note. What it was made of never changes."""
    connection.execute(
        "UPDATE transactions SET state = ?, block = ?, block_hash = ?, gas_used = ?, passed_at = ?, note = ?"
        " WHERE id = ?",
        (
            changed.state,
            changed.block,
            changed.block_hash,
            changed.gas_used,
            changed.passed_at,
            changed.note,
            changed.id,
        ),
    )


def unsettled(connection: sqlite3.Connection, chain_id: int) -> list[Transaction]:
    """Return the transactions on this chain that are neither final nor failed, oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM transactions WHERE chain_id = ? AND {_UNSETTLED} ORDER BY id",  # noqa: S608
        (chain_id,),
    )
    return [_transaction(row) for row in rows]


def adopt(connection: sqlite3.Connection, found: Transaction) -> Transaction:
    """Store an anchor that was found on the chain, in a block. If it is one that was given up, that one lives again."""
    row = connection.execute("SELECT id FROM transactions WHERE hash = ?", (found.hash,)).fetchone()
    if row is None:
        return _insert(connection, found)
    save(connection, replace(found, id=row[0]))
    return _transaction(connection.execute(f"SELECT {_COLUMNS} FROM transactions WHERE id = ?", row).fetchone())  # noqa: S608


def put_back(connection: sqlite3.Connection, chain_id: int, contract: bytes, head_size: int | None) -> int:
    """Send final transactions that the chain has lost back to `sent`; return how many.

    Args:
        connection: the database, in a transaction.
        chain_id: EIP-155 chain id.
        contract: 20 bytes.
        head_size: leaves under the chain's head: larger anchors are lost. None if the log is not even open there.
    """
    changed = connection.execute(
        "UPDATE transactions SET state = 'sent', block = NULL, block_hash = NULL, gas_used = NULL,"
        " note = 'its block left the chain after it was final'"
        " WHERE chain_id = ? AND contract = ? AND state = 'final' AND coalesce(size, 0) > ?",
        (chain_id, contract, -1 if head_size is None else head_size),
    )
    return changed.rowcount


def newest_final(connection: sqlite3.Connection, chain_id: int, contract: bytes) -> Transaction | None:
    """Return the newest final anchor in this contract."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM transactions WHERE chain_id = ? AND contract = ?"  # noqa: S608
        " AND purpose = 'anchor' AND state = 'final' ORDER BY size DESC LIMIT 1",
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
        " AND state = 'failed' AND id > (SELECT coalesce(max(id), 0) FROM transactions"
        " WHERE chain_id = ? AND contract = ? AND purpose = 'anchor' AND state = 'final')",
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


def anchors(connection: sqlite3.Connection) -> list[AnchorRow]:
    """Return all anchors ever prepared or found, oldest first."""
    rows = connection.execute(
        "SELECT size, root, state, hash, block, gas_used, note FROM transactions WHERE purpose = 'anchor' ORDER BY id"
    )
    return [AnchorRow(row[0], row[1], State(row[2]), *row[3:]) for row in rows]


def _insert(connection: sqlite3.Connection, new: Transaction) -> Transaction:
    row = connection.execute(
        "INSERT INTO transactions (chain_id, contract, purpose, size, root, state, sender, nonce, raw, hash,"  # noqa: S608
        " prepared_ms, block, block_hash, gas_used, passed_at, note)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
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
            new.block,
            new.block_hash,
            new.gas_used,
            new.passed_at,
            new.note,
        ),
    ).fetchone()
    return _transaction(row)


def _transaction(row: tuple[object, ...]) -> Transaction:
    fields = list(row)
    fields[6] = State(str(fields[6]))
    return Transaction(*fields)  # type: ignore[arg-type]
