"""What a check says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

Progress = Callable[[str, int, int], None]
"""Told from time to time which check is under way, how much of it is done, and how much there is in all."""

RESTORE = (
    "this cannot be made again from anything else here: stop the gateway and restore the newest backup that is clean"
    " (`trigpoint gateway restore`)"
)
"""What to do about the truth: statements, and the rows that boards signed."""

FOLD = "it follows from the statements, which are well: stop the gateway and run `trigpoint gateway fsck --mend`"
"""What to do about what is folded."""


class BrokenError(Exception):
    """A check has found its first broken thing.

    Attributes:
        where: which row or file.
        what: what is wrong with it.
        remedy: what to do.
    """

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True)
class Finding:
    """How one check came out.

    Attributes:
        check: its name.
        status: ok, broken, or skipped: it could not be made.
        detail: what was looked at, or why it was skipped, or what is wrong.
        where: of something broken: which row or file; else empty.
        remedy: of something broken: what to do; else empty.
    """

    check: str
    status: str
    detail: str
    where: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """All checks, in the order in which they were made.

    Attributes:
        findings: one for each check.
        statements: how many are stored.
        seconds: that it took.
    """

    findings: list[Finding]
    statements: int
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing is broken. A check that could not be made says nothing against it."""
        return not self.broken

    @property
    def broken(self) -> list[Finding]:
        """The findings that something is broken."""
        return [finding for finding in self.findings if finding.status == "broken"]

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "clean": self.clean,
            "statements": self.statements,
            "seconds": round(self.seconds, 3),
            "checks": [asdict(finding) for finding in self.findings],
        }
