"""What passes between one board and its broker, read off the wire: when statements go out and when their acks are back.

It believes neither the firmware nor the gateway: a statement is what parses as one, an ack what has been made with the
key that board and gateway share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from trigpoint.wire import ack
from trigpoint.wire.errors import WireError
from trigpoint.wire.statement import Statement, parse

_PUBLISH = 3
_MAX_PACKET = 8192


@dataclass
class Traffic:
    """One board's. Fed in the emulator's thread, and read in any.

    Attributes:
        key: what acks to this board are made with, 32 bytes.
        now: seconds, of which only differences count.
        statements: all that it has sent, by seq.
        resent: how often it sent one that it had sent before.
        acked: the highest seq of a genuine ack that has come back to it; -1 before the first.
        ack_ms: for each statement, the ms from when it was first sent to when an ack for it was back, in the order of
            the acks.
    """

    key: bytes
    now: Callable[[], float]
    statements: dict[int, Statement] = field(default_factory=dict)
    resent: int = 0
    acked: int = -1
    ack_ms: list[float] = field(default_factory=list)
    _sent_at: dict[int, float] = field(default_factory=dict)
    _streams: dict[bool, tuple[int, bytearray]] = field(default_factory=dict)

    def pass_by(self, connection: int, from_board: bool, data: bytes) -> None:
        """Take bytes of a connection, from the board or to it, in their order. A new connection begins anew."""
        number, buffer = self._streams.get(from_board, (-1, bytearray()))
        if number != connection:
            buffer = bytearray()
            self._streams[from_board] = (connection, buffer)
        buffer += data
        while (packet := _first_packet(buffer)) is not None:
            if packet and packet[0] >> 4 == _PUBLISH:
                topic, payload = _published(packet)
                if from_board and topic.endswith(b"/s"):
                    self._statement(payload)
                elif not from_board and topic.endswith(b"/a"):
                    self._ack(payload)

    def _statement(self, payload: bytes) -> None:
        try:
            statement = parse(payload)
        except WireError:
            return
        if statement.seq in self.statements:
            self.resent += 1
        else:
            self.statements[statement.seq] = statement
            self._sent_at[statement.seq] = self.now()

    def _ack(self, payload: bytes) -> None:
        try:
            seq = ack.open_ack(self.key, payload).seq
        except WireError:
            return
        if seq > self.acked:
            self.acked = seq
            back = self.now()
            for sent in sorted(sent for sent in self._sent_at if sent <= seq):
                self.ack_ms.append(1000 * (back - self._sent_at.pop(sent)))


def _first_packet(buffer: bytearray) -> bytes | None:
    """Take the first MQTT packet off the buffer (MQTT 3.1.1 section 2.2); None if it is not whole yet.

    What is no packet of a board's empties the buffer.
    """
    length = 0
    for place in range(1, min(5, len(buffer))):
        length |= (buffer[place] & 0x7F) << 7 * (place - 1)
        if buffer[place] < 0x80:
            end = place + 1 + length
            if length > _MAX_PACKET:
                break
            if len(buffer) < end:
                return None
            packet = bytes(buffer[:1]) + bytes(buffer[place + 1 : end])
            del buffer[:end]
            return packet
    else:
        if len(buffer) < 5:
            return None
    buffer.clear()
    return b""


def _published(packet: bytes) -> tuple[bytes, bytes]:
    """Return topic and payload of a PUBLISH packet without its length (section 3.3); nothing if it is too short."""
    size = int.from_bytes(packet[1:3], "big")
    start = 3 + size + (2 if packet[0] >> 1 & 3 else 0)
    return (packet[3 : 3 + size], packet[start:]) if len(packet) >= start else (b"", b"")
