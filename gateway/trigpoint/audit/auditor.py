"""The audit of a log: is it signed, does it extend all that it showed before, and does it keep to the chain?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from web3 import Web3

from trigpoint.audit import chain
from trigpoint.audit.chain import ANCHORED_HEAD, CHAIN, LOG_ON_CHAIN
from trigpoint.audit.follow import FetchedTiles, follow, head
from trigpoint.audit.report import Report, of_contradiction, of_fork
from trigpoint.audit.source import DirectorySource, FetchError, Source
from trigpoint.audit.store import Mirror
from trigpoint.errors import OperatorError
from trigpoint.log import fork, tree
from trigpoint.log.checkpoint import Checkpoint, CheckpointError
from trigpoint.log.merkle import ProofError
from trigpoint.log.verified import VerifiedTiles
from trigpoint.verify import Check
from trigpoint.wire.errors import WireError
from trigpoint.wire.trust import MAX_SIZE as MAX_TRUST
from trigpoint.wire.trust import Trust
from trigpoint.words import counted

TRUST: Final = "trust file"
CHECKPOINT: Final = "checkpoint"
HISTORY: Final = "history"
TREE: Final = "tree"

_ORDER = (TRUST, CHECKPOINT, HISTORY, TREE, CHAIN, LOG_ON_CHAIN, ANCHORED_HEAD)

GRACE_S: Final = 900
"""Seconds by which a log may publish leaves later than it anchors them."""

Progress = Callable[[int, int], None]


@dataclass
class Auditor:
    """Audits one log.

    Attributes:
        source: where its files come from.
        trust: what the auditor trusts; None to go by the mirror's trust.json, or else by the log's own.
        mirror: takes all files and remembers what was seen; None to verify only.
        web3: a node of the chain; None to leave the chain out.
        progress: is told leaves done and leaves in all.
        monotonic: seconds.
    """

    source: Source
    trust: Trust | None = None
    mirror: Mirror | None = None
    web3: Web3 | None = None
    progress: Progress = lambda done, total: None
    monotonic: Callable[[], float] = time.monotonic

    def run(self) -> Report:
        """Make the audit. What the log or the chain got wrong is in the report.

        Raises:
            FetchError: there is no checkpoint to be had, so there is nothing to audit.
            OperatorError: the mirror is another log's, or its disk refuses.
        """
        started = self.monotonic()
        trust, check = self._trusted()
        report = Report(self.source.place, trust, [check])
        try:
            # The chain before the log: then an honest log cannot be behind it for being asked too early.
            on_chain = self._ask_chain(report)
            self._audit(report)
        except OSError as error:
            raise OperatorError(f"cannot write to the mirror: {error.strerror}; check its owner and space") from error
        report.checks = sorted([*report.checks, *on_chain], key=lambda check: _ORDER.index(check.name))
        report.seconds = self.monotonic() - started
        return report

    def _trusted(self) -> tuple[Trust, Check]:
        kept = None if self.mirror is None else self.mirror.trust()
        if self.trust is not None:
            if self.mirror is not None:
                self.mirror.keep_trust(self.trust)
            return self.trust, Check(TRUST, "ok", f"Log {self.trust.log_id.hex()}.")
        if kept is not None:
            return kept, Check(TRUST, "ok", f"Log {kept.log_id.hex()}, as when this mirror began.")
        data = self.source.get("trust.json", MAX_TRUST)
        if data is None:
            raise FetchError(
                f"{self.source.place} has no trust.json: get one from somebody you trust; add --trust FILE"
            )
        try:
            found = Trust.from_json(data.decode())
        except (WireError, UnicodeDecodeError) as error:
            raise FetchError(f"the trust.json of {self.source.place} is none: {error}; add --trust FILE") from None
        if self.mirror is not None:
            self.mirror.keep_trust(found)
        return found, Check(
            TRUST, "skipped", f"Log {found.log_id.hex()} by its own word: add --trust FILE from somebody you trust."
        )

    def _ask_chain(self, report: Report) -> list[Check]:
        if self.web3 is None:
            return _unmade("no node was named", CHAIN, LOG_ON_CHAIN, ANCHORED_HEAD)
        checks, report.anchored = chain.ask(self.web3, report.trust)
        return checks

    def _audit(self, report: Report) -> None:
        """Make the checks `checkpoint`, `history`, `anchored head` and `tree`, as far as each allows the next."""
        trust = report.trust
        try:
            newest = report.head = head(self.source, trust.log_id, trust.log_key)
        except CheckpointError as error:
            report.checks += [
                Check(CHECKPOINT, "failed", f"What the log gives as its checkpoint is none: {error}."),
                *_unmade("there is no checkpoint", HISTORY, TREE),
                *self._unmade_head(report, "there is no checkpoint"),
            ]
            return
        report.checks.append(Check(CHECKPOINT, "ok", f"{counted(newest.size, 'leaf')}, signed by the log's key."))
        seen = None if self.mirror is None else self.mirror.seen(trust)
        report.earlier = None if seen is None else seen.size
        if seen is not None and newest.size < seen.size:
            report.checks += [
                self._gone_back(report, newest, seen),
                *_unmade("the log went back", TREE),
                *self._unmade_head(report, "the log went back"),
            ]
            return
        made = len(report.checks)
        try:
            tiles = VerifiedTiles(FetchedTiles(self.source, newest.size, report.amount), newest.size, newest.root)
            report.checks.append(self._extends(report, newest, seen, tiles))
            report.checks += self._anchored(report, newest, tiles)
            if report.evidence is None:
                self._follow(report, newest, tiles)
        except (FetchError, ProofError) as error:
            why = "the tree could not be verified"
            rest = [name for name in (HISTORY,) if len(report.checks) == made]
            report.checks += _unmade(why, *rest)
            if not any(check.name == ANCHORED_HEAD for check in report.checks):
                report.checks += self._unmade_head(report, why)
            report.checks.append(Check(TREE, "failed", f"{_sentence(error)}."))
            return
        if report.evidence is None:
            new = counted(report.amount.leaves, "leaf")
            leaves = f"Of {new} each follows from its entry, and the root from all {newest.size:,}."
            text = (
                leaves
                if report.amount.leaves
                else f"Nothing is new; the root is that of all {counted(newest.size, 'leaf')}."
            )
            report.checks.append(Check(TREE, "ok", text))
        else:
            report.checks += _unmade("the log forked", TREE)

    def _extends(self, report: Report, newest: Checkpoint, seen: Checkpoint | None, tiles: VerifiedTiles) -> Check:
        if seen is None:
            why = (
                "Nothing was seen of it before." if self.mirror is not None else "Not remembered: there is no --mirror."
            )
            return Check(HISTORY, "skipped", why)
        found = fork.find(tiles, seen, newest)
        if found is not None:
            return _forked(report, found, seen, newest)
        return Check(HISTORY, "ok", f"It extends the {counted(seen.size, 'leaf')} seen before.")

    def _gone_back(self, report: Report, newest: Checkpoint, seen: Checkpoint) -> Check:
        """The log shows fewer leaves than before: at best an old copy. If we have its tiles, see whether it forked."""
        assert self.mirror is not None
        whole = self.mirror.head(report.trust)
        if whole is not None and whole.size >= newest.size:
            here = DirectorySource(self.mirror.directory)
            try:
                tiles = VerifiedTiles(FetchedTiles(here, whole.size, report.amount), whole.size, whole.root)
                found = fork.find(tiles, newest, whole)
            except (FetchError, ProofError) as error:
                raise OperatorError(
                    f"the mirror is damaged: {_sentence(error)}; see `trigpoint log audit {self.mirror.directory}`"
                ) from error
            if found is not None:
                return _forked(report, found, newest, whole)
        return Check(
            HISTORY,
            "failed",
            f"It went back: {counted(newest.size, 'leaf')} now, {seen.size:,} before. An old copy is served.",
        )

    def _anchored(self, report: Report, newest: Checkpoint, tiles: VerifiedTiles) -> list[Check]:
        anchored = report.anchored
        if anchored is None:
            return []
        who = chain.describe(anchored)
        if anchored.size == 0:
            return [Check(ANCHORED_HEAD, "ok", f"Nothing is anchored yet; {who}.")]
        if anchored.size > newest.size:
            late = f"anchored since {anchored.age_s:,} s: {counted(anchored.size, 'leaf')}; published: {newest.size:,}"
            if anchored.age_s <= GRACE_S:
                return [Check(ANCHORED_HEAD, "skipped", f"Not checked: {late}; audit again in a minute.")]
            return [Check(ANCHORED_HEAD, "failed", f"The log withholds leaves: {late}.")]
        root = tree.root(tiles, anchored.size)
        if root == anchored.root:
            return [
                Check(
                    ANCHORED_HEAD,
                    "ok",
                    f"The log begins with the {counted(anchored.size, 'leaf')} anchored; {who}.",
                )
            ]
        proof = tree.consistency_proof(tiles, anchored.size, newest.size)
        report.evidence = report.evidence or of_contradiction(anchored, root, proof, newest, report.trust)
        return [
            Check(
                ANCHORED_HEAD,
                "failed",
                f"THE LOG FORKED: the chain has another root at {counted(anchored.size, 'leaf')}.",
            )
        ]

    def _unmade_head(self, report: Report, why: str) -> list[Check]:
        return [] if report.anchored is None else _unmade(why, ANCHORED_HEAD)

    def _follow(self, report: Report, newest: Checkpoint, tiles: VerifiedTiles) -> None:
        whole = None
        if self.mirror is not None:
            whole = self.mirror.head(report.trust)
            self.mirror.see(newest)
        start = 0 if whole is None else whole.size
        total = newest.size - start
        self.progress(0, total)
        follow(
            self.source,
            tiles,
            self.mirror,
            start,
            amount=report.amount,
            progress=lambda done: self.progress(done, total),
        )
        if self.mirror is not None and (whole is None or whole.text != newest.text):
            self.mirror.finish(newest, start)


def _forked(report: Report, found: fork.Fork, older: Checkpoint, newer: Checkpoint) -> Check:
    report.evidence = of_fork(found, older, newer, report.trust)
    return Check(
        HISTORY,
        "failed",
        f"THE LOG FORKED: it signed {older.size:,} and {counted(newer.size, 'leaf')} of two histories.",
    )


def _unmade(why: str, *names: str) -> list[Check]:
    return [Check(name, "skipped", f"Not checked: {why}.") for name in names]


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return text[:1].upper() + text[1:]
