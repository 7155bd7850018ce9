"""What comes from the broker, and what there is to say of it before anything is known of its board."""

from __future__ import annotations

from dataclasses import dataclass

from trigpoint.wire.statement import MAX_SIZE

_TOPIC_KEPT = 128


@dataclass(frozen=True)
class Message:
    """What came from the broker.

    Attributes:
        topic: its first 128 characters at most; not trusted.
        payload: its first 4,097 bytes at most.
        size: bytes of the whole payload.
        arrival_ms: the gateway's clock, milliseconds since 1970.
    """

    topic: str
    payload: bytes
    size: int
    arrival_ms: int

    @classmethod
    def of(cls, topic: str, payload: bytes | bytearray, arrival_ms: int) -> Message:
        """Keep of topic and payload no more than is needed to see that they are too long."""
        return cls(topic[:_TOPIC_KEPT], bytes(payload[: MAX_SIZE + 1]), len(payload), arrival_ms)
