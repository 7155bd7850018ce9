"""Verification of a receipt file without asking anyone (docs/protocol.md section 11).

The checks on chain are `trigpoint.chain.confirm`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trigpoint.log.checkpoint import is_weak
from trigpoint.log.merkle import ProofError, leaf_hash, root_from_inclusion
from trigpoint.wire import receipt as receipts
from trigpoint.wire.errors import WireError
from trigpoint.wire.receipt import ReceiptFile
from trigpoint.wire.trust import Trust
from trigpoint.words import counted

CHECKS = ("format", "board key", "board signature", "inclusion", "log identity", "log signature", "anchor")
"""The checks that need no chain, in the order in which they are made."""

_NO_TRUST = "Not checked: there is no trust file to compare with."


@dataclass(frozen=True)
class Check:
    """One check and how it came out.

    Attributes:
        name: as in the protocol's tables.
        status: skipped means that it could not be made; only ok counts for the file.
        detail: a sentence for a person.
    """

    name: str
    status: Literal["ok", "failed", "skipped"]
    detail: str


@dataclass(frozen=True)
class Verdict:
    """All checks, in order.

    Attributes:
        checks: one for each name in `CHECKS`.
        receipt: the file's content, or None if its format failed. Believe it only if `verified`.
        verified: whether every check is ok.
    """

    checks: list[Check]
    receipt: ReceiptFile | None
    verified: bool


def verify_offline(data: bytes, trust: Trust | None) -> Verdict:
    """Make the seven checks that need no chain. Never raises on bad input.

    Args:
        data: the receipt file.
        trust: the trust file; without one the last three checks are skipped and the file is not verified.
    """
    try:
        receipt = receipts.parse(data)
    except WireError as error:
        failed = Check("format", "failed", f"The file is not a receipt file. {error}.")
        skipped = [Check(name, "skipped", "Not checked: the file has not the right format.") for name in CHECKS[1:]]
        return Verdict([failed, *skipped], None, verified=False)
    root, inclusion = _inclusion(receipt)
    checks = [
        Check("format", "ok", f"{counted(len(data), 'byte')}, each as the protocol wants it."),
        _board_key(receipt),
        _board_signature(receipt),
        inclusion,
        _log_identity(receipt, trust),
        _log_signature(receipt, trust, root),
        _anchor(receipt, trust, root),
    ]
    return Verdict(checks, receipt, verified=all(check.status == "ok" for check in checks))


def _check(name: str, holds: bool, ok: str, failed: str) -> Check:
    return Check(name, "ok", ok) if holds else Check(name, "failed", failed)


def _board_key(receipt: ReceiptFile) -> Check:
    kid = receipt.statement.kid.hex()
    return _check(
        "board key",
        receipt.board_key.kid == receipt.statement.kid,
        f"The key's thumbprint is the board id {kid}.",
        f"The key's thumbprint is {receipt.board_key.kid.hex()}, but the board id is {kid}.",
    )


def _board_signature(receipt: ReceiptFile) -> Check:
    statement = receipt.statement
    return _check(
        "board signature",
        receipt.board_key.verify(statement.signature, statement.to_be_signed()),
        f"The board signed statement {statement.seq} with {counted(len(statement.readings), 'reading')}.",
        "The board's key did not sign this statement.",
    )


def _inclusion(receipt: ReceiptFile) -> tuple[bytes | None, Check]:
    """Return the root that the proof leads to, if it leads to one."""
    leaf = leaf_hash(receipt.statement.entry)
    try:
        root = root_from_inclusion(leaf, receipt.index, receipt.size, receipt.path)
    except ProofError as error:
        return None, Check("inclusion", "failed", f"The inclusion proof is broken: {error}.")
    place = f"Entry {receipt.index} of {receipt.size} leads to root {root.hex()}."
    return root, Check("inclusion", "ok", place)


def _log_identity(receipt: ReceiptFile, trust: Trust | None) -> Check:
    if trust is None:
        return Check("log identity", "skipped", _NO_TRUST)
    return _check(
        "log identity",
        receipt.log_id == trust.log_id,
        f"The receipt is of the trusted log {trust.log_id.hex()}.",
        f"The receipt is of log {receipt.log_id.hex()}, but the trusted log is {trust.log_id.hex()}.",
    )


def _log_signature(receipt: ReceiptFile, trust: Trust | None, root: bytes | None) -> Check:
    if trust is None:
        return Check("log signature", "skipped", _NO_TRUST)
    if root is None:
        return Check("log signature", "skipped", "Not checked: the inclusion proof gives no root.")
    if is_weak(trust.log_key):
        return Check("log signature", "failed", "The trusted log's key is of small order: anybody can sign under it.")
    try:
        Ed25519PublicKey.from_public_bytes(trust.log_key).verify(receipt.signature, receipt.to_be_signed(root))
    except (InvalidSignature, ValueError):
        return Check("log signature", "failed", "The trusted log's key did not sign this receipt over this root.")
    return Check("log signature", "ok", "The trusted log's key signed the root and the anchor.")


def _anchor(receipt: ReceiptFile, trust: Trust | None, root: bytes | None) -> Check:
    anchor = receipt.anchor
    if anchor is None:
        return Check("anchor", "skipped", "Signed by the log, not yet anchored: get the receipt again later.")
    if trust is None:
        return Check("anchor", "skipped", _NO_TRUST)
    if root is None:
        return Check("anchor", "skipped", "Not checked: the inclusion proof gives no root.")
    wrong = [
        problem
        for holds, problem in (
            (anchor.chain_id == trust.chain_id, f"chain {anchor.chain_id} is not the trusted {trust.chain_id}"),
            (anchor.contract == trust.transparency_log, f"contract 0x{anchor.contract.hex()} is not the trusted one"),
            (anchor.size == receipt.size, f"its size {anchor.size} is not the proof's {receipt.size}"),
            (anchor.root == root, "its root is not the proof's"),
        )
        if not holds
    ]
    where = f"chain {anchor.chain_id}, contract 0x{anchor.contract.hex()}, block {anchor.block}"
    return _check(
        "anchor",
        not wrong,
        f"The log says that this root of {counted(anchor.size, 'entry')} is on {where}.",
        f"The anchor does not fit: {'; '.join(wrong)}.",
    )
