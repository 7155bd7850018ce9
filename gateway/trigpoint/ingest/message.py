"""What comes from the broker."""

from __future__ import annotations

from typing import NamedTuple

from trigpoint.wire.statement import MAX_SIZE

TOPIC_KEPT = 128


def statements_topic(kid: bytes) -> str:
    """Return the topic of a board's statements, given its id."""
    return f"trig/1/{kid.hex()}/s"


def acks_topic(kid: bytes) -> str:
    """Return the topic of the acks for a board."""
    return f"trig/1/{kid.hex()}/a"


class Message(NamedTuple):
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
        return cls(topic[:TOPIC_KEPT], bytes(payload[: MAX_SIZE + 1]), len(payload), arrival_ms)


class Delivery(NamedTuple):
    """A message, and what it takes to confirm it to the broker.

    Attributes:
        message: what came.
        connection: number of the network connection over which it came.
        packet_id: its MQTT packet id; None for QoS 0, which is not confirmed.
    """

    message: Message
    connection: int
    packet_id: int | None
