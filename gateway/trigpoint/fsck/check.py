"""Makes all checks in one pass over the statements, on one moment of the database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from trigpoint.chain.errors import ChainUnavailableError
from trigpoint.errors import OperatorError
from trigpoint.fsck import anchors, folded, truth
from trigpoint.fsck.anchors import OnChain
from trigpoint.fsck.findings import RESTORE, BrokenError, Finding, Progress, Report
from trigpoint.fsck.folded import Hours, Stand
from trigpoint.fsck.signatures import Verifier
from trigpoint.fsck.tree import Builder, PublicFiles, StoredTiles
from trigpoint.fsck.truth import Board, Row
from trigpoint.store.database import newest_schema
from trigpoint.words import counted

_T = TypeVar("_T")
_P = ParamSpec("_P")
_PROGRESS_EVERY = 256


@dataclass(frozen=True)
class Scope:
    """What is to be checked beside the database itself.

    Attributes:
        public: the directory of public files; None for a database that has none, such as a backup.
        log_key: the log's public key as the gateway's key file has it, 32 bytes; None if that is not known.
        signatures: whether to verify the boards' signature on every statement. On those that the log's head does not
            cover yet it is always verified, for nothing else would tell that their last bytes have changed.
        chain: asks the contracts; None not to.
    """

    public: Path | None = None
    log_key: bytes | None = None
    signatures: bool = False
    chain: OnChain | None = None


def check(connection: sqlite3.Connection, scope: Scope, progress: Progress = lambda *_: None) -> Report:
    """Check a database and what belongs to it. It only reads, and others may write meanwhile.

    Memory is bounded: it grows with the number of boards and of anchors, not with that of statements.

    Args:
        connection: the database, for reading; not in a transaction.
        scope: what to check.
        progress: told how far it is.
    """
    began = time.monotonic()
    work = _Work(connection, scope, progress)
    work.run()
    return Report(work.findings(), work.size, time.monotonic() - began)


def check_schema(connection: sqlite3.Connection, database: Path) -> None:
    """Make sure that a database has the schema that the checks are about.

    Raises:
        OperatorError: it has another.
    """
    (schema,), newest = connection.execute("PRAGMA user_version").fetchone(), newest_schema()
    if schema > newest:
        raise OperatorError(f"{database} has schema {schema}, this Trigpoint knows {newest}: install the newer version")
    if schema < newest:
        raise OperatorError(
            f"{database} has schema {schema}, this Trigpoint checks {newest}: run the gateway once, which brings it up"
        )


class _Part:
    """One check: its steps are made until one finds something broken, and none after that."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.finding: Finding | None = None

    def do(self, step: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T | None:
        """Make a step and return what it returns; None if it finds something broken, or an earlier one did."""
        if self.finding is not None:
            return None
        try:
            return step(*arguments, **named)
        except BrokenError as broken:
            self.finding = Finding(self.name, "broken", broken.what, broken.where, broken.remedy)
        except ChainUnavailableError as error:
            self.skip(str(error))
        return None

    def ok(self, detail: str) -> None:
        """Note that all was well, if it was."""
        self.finding = self.finding or Finding(self.name, "ok", detail)

    def skip(self, why: str) -> None:
        """Note why it could not be made, or not to its end."""
        self.finding = self.finding or Finding(self.name, "skipped", why)

    @property
    def sound(self) -> bool:
        return self.finding is None or self.finding.status == "ok"


class _Work:
    """All parts of a check, in the order in which they are told."""

    def __init__(self, connection: sqlite3.Connection, scope: Scope, progress: Progress) -> None:
        self.connection = connection
        self.scope = scope
        self.progress = progress
        self.file = _Part("database file")
        self.boards = _Part("boards")
        self.statements = _Part("statements")
        self.losses = _Part("declared losses")
        self.evidence = _Part("evidence")
        self.signatures = _Part("signatures")
        self.log = _Part("log")
        self.index = _Part("index")
        self.hours = _Part("hours")
        self.public = _Part("public files")
        self.anchors = _Part("anchors")
        self.chain = _Part("chain")
        self.size = 0

    def findings(self) -> list[Finding]:
        """Return what each check came to, in a fixed order."""
        parts = [part for part in vars(self).values() if isinstance(part, _Part)]
        for part in parts:
            part.skip("what it builds on is broken")
        return [part.finding for part in parts if part.finding is not None]

    def run(self) -> None:
        connection = self.connection
        try:
            # First what others have seen: a running gateway's log is as long as that, or longer.
            public = self.public.do(self._open_public)
            if self.scope.chain is not None:
                self.chain.do(self._ask, self.scope.chain)
            connection.execute("BEGIN")
            try:
                self.file.do(self._look_through)
                if self.file.sound:
                    self._run(public)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            broken = BrokenError("the database", f"it cannot be read: {error}", RESTORE)
            self.file.finding = Finding(self.file.name, "broken", broken.what, broken.where, broken.remedy)

    def _look_through(self) -> None:
        """Let SQLite look at the file's own structure, its constraints and its indexes."""
        self.progress("database file", 0, 0)
        (said,) = self.connection.execute("PRAGMA integrity_check(1)").fetchone()
        if said != "ok":
            raise BrokenError("the database", str(said), RESTORE)
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        self.file.ok(f"{counted(pages, 'page')}, whole")

    def _open_public(self) -> PublicFiles | None:
        log_id, log_key = self._identity()
        if self.scope.public is None or log_id is None or log_key is None:
            self.public.skip("there are none yet" if self.scope.public else "a backup has none")
            return None
        return PublicFiles(self.scope.public, log_id, log_key)

    def _identity(self) -> tuple[bytes | None, bytes | None]:
        """Return the log's id and public key; None before the gateway has run once."""
        row = self.connection.execute("SELECT log_id, log_key FROM log_state").fetchone()
        return row or (None, None)

    def _run(self, public: PublicFiles | None) -> None:
        connection = self.connection
        (self.size,) = connection.execute("SELECT coalesce(max(leaf_index) + 1, 0) FROM statements").fetchone()
        known = self.boards.do(truth.boards, connection)
        if known is None:
            return
        self.boards.ok(f"{counted(len(known), 'board')} with their keys")
        losses = self.losses.do(truth.losses, connection, known)
        stored = self.log.do(StoredTiles, connection, self.scope.log_key)
        claims = self.anchors.do(anchors.claims, connection) or []
        wanted = {claim.size for claim in claims}
        if self.scope.chain is not None:
            wanted.add(self.scope.chain.size)
        with ExitStack() as stack:
            hours = Hours(connection)
            stack.callback(hours.close)
            verifier = stack.enter_context(Verifier())
            walk = _Walk(self, known, hours=hours, verifier=verifier, stored=stored, public=public, wanted=wanted)
            if self.statements.do(walk.all) is None:
                return
            self._after(walk)
        if losses is not None:
            self.losses.do(truth.finish, known)
            self.losses.ok(f"{losses:,}, each signed by its board")
        if not self.index.sound:
            self.evidence.skip("what it contradicts is found by the index, which is broken")
        evidence = self.evidence.do(truth.evidence, connection, known)
        self.evidence.ok(f"{counted(evidence or 0, 'statement')} against what is stored")
        self.anchors.do(anchors.agree, claims, walk.builder.roots)
        self.anchors.ok(f"{len(claims):,}, each of a head of this log")
        if self.scope.chain is None:
            self.chain.skip("not asked; --chain does")
        else:
            count = self.chain.do(self.scope.chain.confirm, claims, walk.builder.roots, self.progress)
            head = counted(self.scope.chain.size, "leaf")
            self.chain.ok(f"its head of {head} and {counted(count or 0, 'anchor')} are of this log")

    def _ask(self, chain: OnChain) -> None:
        log_id, log_key = self._identity()
        if log_id is None or log_key is None:
            raise ChainUnavailableError("the log has no id yet")
        chain.ask(log_id, log_key)

    def _after(self, walk: _Walk) -> None:
        """Finish the checks that have seen all statements pass."""
        connection, builder = self.connection, walk.builder
        self.statements.ok(f"{self.size:,}, each after the one before it, none missing")
        count = self.signatures.do(walk.verifier.finish)
        self.signatures.ok(
            f"{count or 0:,} verified" + ("" if self.scope.signatures else ", the newest; --signatures verifies all")
        )
        if walk.stored is not None:
            self.log.do(walk.stored.finish, builder)
            self.log.ok(f"{counted(walk.stored.compared, 'tile')} and the head of {counted(walk.stored.size, 'leaf')}")
        self.progress("index", 0, 0)
        self.index.do(folded.index, connection, walk.watermark)
        self.index.do(folded.stands, connection, walk.known, walk.stands)
        self.index.ok(f"{counted(walk.watermark, 'statement')} by board and seq, and where each board stands")
        self.progress("hours", 0, 0)
        cells = self.hours.do(walk.hours.finish)
        self.hours.ok(f"{counted(cells or 0, 'hour')} of series")
        if walk.public is not None:
            self.public.do(walk.public.finish, builder)
            leaves = counted(walk.public.size or 0, "leaf")
            self.public.ok(f"{counted(walk.public.compared, 'file')} and the checkpoint of {leaves}")


class _Walk:
    """The pass over all statements, and what learns of each."""

    def __init__(
        self,
        work: _Work,
        known: dict[int, Board],
        *,
        hours: Hours,
        verifier: Verifier,
        stored: StoredTiles | None,
        public: PublicFiles | None,
        wanted: set[int],
    ) -> None:
        self._work = work
        self.known = known
        self.hours = hours
        self.verifier = verifier
        self.stored = stored
        self.public = public
        self.stands: dict[int, Stand] = {}
        self.watermark = work.index.do(folded.watermark, work.connection) or 0
        edges = [view.size for view in (stored, public) if view is not None and view.size is not None]
        self.builder = Builder(wanted, edges, self._tile, self._bundle)

    def all(self) -> bool:
        """Read all statements. Returns True; raises BrokenError at the first that is broken."""
        work = self._work
        head = self.stored.size if self.stored is not None else 0
        signed_from = 0 if work.scope.signatures else head
        self._note_stands()
        for row in truth.statements(work.connection, self.known):
            self._take(row, signed_from)
            if row.leaf_index == self.watermark - 1:
                self._note_stands()
            if not row.leaf_index % _PROGRESS_EVERY:
                work.progress("statements", row.leaf_index, work.size)
        return True

    def _take(self, row: Row, signed_from: int) -> None:
        self.builder.add(row.statement.entry)
        if row.leaf_index < self.watermark:
            self._work.hours.do(self.hours.add, row)
        if row.leaf_index >= signed_from:
            self._work.signatures.do(self.verifier.add, row)

    def _note_stands(self) -> None:
        self.stands = {board.number: Stand(board.next_seq, board.last_entry) for board in self.known.values()}

    def _tile(self, level: int, index: int, data: bytes) -> None:
        if self.stored is not None:
            self._work.log.do(self.stored.take, level, index, data)
        if self.public is not None:
            self._work.public.do(self.public.take_tile, level, index, data)

    def _bundle(self, index: int, data: bytes) -> None:
        if self.public is not None:
            self._work.public.do(self.public.take_bundle, index, data)
