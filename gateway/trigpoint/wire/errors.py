"""The one error that every parser of outside bytes raises."""

from __future__ import annotations


class WireError(ValueError):
    """Bytes or values that docs/protocol.md does not allow.

    Attributes:
        reason: the kind of fault and the name of its counter: `size`, `shape` or `signature`.
        field: the part of the message that is wrong, in the protocol's words, such as `seq` or `readings[2].u`.
    """

    def __init__(self, reason: str, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.reason = reason
        self.field = field
