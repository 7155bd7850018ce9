"""What came of an audit, as plain data: for a person, for a program, and as evidence for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trigpoint.audit.chain import AnchoredHead
from trigpoint.audit.follow import Amount
from trigpoint.log.checkpoint import Checkpoint
from trigpoint.log.fork import Fork
from trigpoint.verify import Check
from trigpoint.wire.trust import Trust


@dataclass(frozen=True)
class Evidence:
    """Proof that the log broke its word.

    Attributes:
        name: for a file.
        content: plain JSON data.
    """

    name: str
    content: dict[str, object]


@dataclass
class Report:
    """An audit.

    Attributes:
        place: of the log's files.
        trust: what the audit went by.
        checks: every check, made or not.
        head: the log's checkpoint, if it was signed.
        earlier: leaves of the newest checkpoint that was seen before; None if there was none.
        anchored: the log's head on the chain, if a node was asked and said so.
        amount: what was fetched and verified.
        seconds: how long it took.
        evidence: if the log forked.
    """

    place: str
    trust: Trust
    checks: list[Check]
    head: Checkpoint | None = None
    earlier: int | None = None
    anchored: AnchoredHead | None = None
    amount: Amount = field(default_factory=Amount)
    seconds: float = 0.0
    evidence: Evidence | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed. Some may not have been made: see their status."""
        return all(check.status != "failed" for check in self.checks)

    def as_dict(self) -> dict[str, object]:
        """Return the report as plain JSON data; hashes and ids in hex."""
        return {
            "log": self.place,
            "log_id": self.trust.log_id.hex(),
            "passed": self.passed,
            "forked": self.evidence is not None,
            "checks": [{"name": c.name, "status": c.status, "detail": c.detail} for c in self.checks],
            "size": None if self.head is None else self.head.size,
            "root": None if self.head is None else self.head.root.hex(),
            "earlier_size": self.earlier,
            "anchored_size": None if self.anchored is None else self.anchored.size,
            "leaves_verified": self.amount.leaves,
            "tiles_fetched": self.amount.tiles,
            "bundles_fetched": self.amount.bundles,
            "bytes_fetched": self.amount.bytes,
            "seconds": round(self.seconds, 3),
        }


def of_fork(fork: Fork, older: Checkpoint, newer: Checkpoint, trust: Trust) -> Evidence:
    """Return the evidence that the log signed two histories; docs/operating.md says how to check it."""
    content = {
        **_common(fork.root, fork.proof, newer, trust),
        "older": {"size": older.size, "root": older.root.hex(), "checkpoint": older.text},
    }
    return Evidence(f"fork-{older.size}-{newer.size}-{newer.root.hex()[:8]}.json", content)


def of_contradiction(
    anchored: AnchoredHead, root: bytes, proof: Sequence[bytes], newer: Checkpoint, trust: Trust
) -> Evidence:
    """Return the evidence that the log signed another history than the chain has."""
    content = {
        **_common(root, proof, newer, trust),
        "anchored": {
            "chain_id": trust.chain_id,
            "contract": "0x" + trust.transparency_log.hex(),
            "size": anchored.size,
            "root": anchored.root.hex(),
        },
    }
    return Evidence(f"fork-chain-{anchored.size}-{newer.size}-{newer.root.hex()[:8]}.json", content)


def _common(root: bytes, proof: Sequence[bytes], newer: Checkpoint, trust: Trust) -> dict[str, object]:
    return {
        "log_id": trust.log_id.hex(),
        "log_key": trust.log_key.hex(),
        "newer": {"size": newer.size, "root": newer.root.hex(), "checkpoint": newer.text},
        "root_of_newer_at_that_size": root.hex(),
        "consistency_proof": [node.hex() for node in proof],
    }
