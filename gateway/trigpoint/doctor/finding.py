"""One line of what the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. `unknown` is what could not be looked at, and why is in the text."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do about it.

    Attributes:
        subject: broker, disk, clock, ...
        what: the single thing.
        level: see `Level`.
        text: how it is, with figures; no secret.
        remedy: what to do; empty if nothing is to be done.
    """

    subject: str
    what: str
    level: Level
    text: str
    remedy: str = ""


def ok(subject: str, what: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(subject, what, Level.OK, text)


def unknown(subject: str, what: str, text: str) -> Finding:
    """Return that it could not be looked at."""
    return Finding(subject, what, Level.UNKNOWN, text)


def warn(subject: str, what: str, text: str, remedy: str) -> Finding:
    """Return that it works, but not for long or not well."""
    return Finding(subject, what, Level.WARN, text, remedy)


def fail(subject: str, what: str, text: str, remedy: str) -> Finding:
    """Return that it does not work."""
    return Finding(subject, what, Level.FAIL, text, remedy)
