"""Publishes a load as fast as its acks come, or at a rate, over one MQTT connection, and times the acks."""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.wire import ack
from trigpoint.wire.cbor import uint_at
from trigpoint.wire.keys import PublicKey

from trigpoint_tools.load.statements import Supply

_WAIT_S = 0.05
_RESEND_S = 5.0
_AT_ONCE = 262_144
_KEEPALIVE_S = 3_600
_ACK_SEQ = 10
"""Where an ack's seq is (protocol section 6): after tag, array, protected and unprotected header, payload and map."""
_CHECKED_EVERY = 64
"""Of the acks, so many have their MAC checked: to check each would cost more than to send its statement."""


class LoadError(Exception):
    """The load did not get through, or an answer was wrong."""


@dataclass
class Timing:
    """What came of a load.

    Attributes:
        statements: how many were acked.
        seconds: from the first one sent to the last one acked.
        resent: how many were sent again, because no ack came for seconds.
        delays: from sending a statement to its ack, in seconds, by order of acks.
    """

    statements: int = 0
    seconds: float = 0.0
    resent: int = 0
    delays: list[float] = field(default_factory=list)

    def delay_ms(self, share: float) -> float:
        """Return the delay in milliseconds that so large a share of statements stays below."""
        ordered = sorted(self.delays)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Publisher:
    """One connection that serves all boards of a supply.

    Args:
        host: the broker's.
        port: the broker's, without TLS.
        loads: what to send.
        link_key: the gateway's: it makes the keys of the acks.
        window: statements on the way at most.
        client_id: of the MQTT session.
    """

    def __init__(
        self,
        host: str,
        port: int,
        loads: Supply,
        link_key: ec.EllipticCurvePrivateKey,
        *,
        window: int = 4_000,
        client_id: str = "load",
    ) -> None:
        self._loads = loads
        self._window = window
        self._number = {f"trig/1/{kid.hex()}/a".encode(): number for number, kid in enumerate(loads.kids)}
        self._topics = [f"trig/1/{kid.hex()}/s".encode() for kid in loads.kids]
        self._keys: dict[int, bytes] = {}
        self._link_key = link_key
        self._unsent = bytearray()
        self._unread = bytearray()
        self._packet_id = 0
        self._acks = 0
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = client_id.encode()
        connect = b"\x00\x04MQTT\x04\x02" + _KEEPALIVE_S.to_bytes(2, "big") + len(name).to_bytes(2, "big") + name
        self._socket.sendall(b"\x10" + bytes([len(connect)]) + connect)
        self._wait_for(0x20)
        self._socket.sendall(_subscribe(b"trig/1/+/a"))
        self._wait_for(0x90)
        self._socket.setblocking(False)

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def run(self, first_seq: int, seqs: int, *, round_s: float = 0.0, phases: Sequence[float] | None = None) -> Timing:
        """Send these rounds of the supply and wait for all acks.

        Args:
            first_seq: of the first round.
            seqs: how many rounds.
            round_s: seconds that each round takes at least; 0 for as many statements as the window lets through.
            phases: when each board's turn is in a round, 0 to 1, rising; evenly spread if None.

        Raises:
            LoadError: an ack was wrong, or none came however often the statements were sent.
        """
        timing, started = Timing(), time.perf_counter()
        sent: list[deque[tuple[int, float]]] = [deque() for _ in self._topics]
        left = self._statements(first_seq, seqs)
        total = seqs * len(self._topics)
        count = on_the_way = 0
        heard_at = started
        boards = len(self._topics)
        spread = phases or [number / boards for number in range(boards)]

        def due_at(count: int) -> float:
            turn, number = divmod(count, boards)
            return started + round_s * (turn + spread[number])

        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while timing.statements < total:
                now = time.perf_counter()
                while (
                    count < total
                    and due_at(count) <= now
                    and on_the_way < self._window
                    and len(self._unsent) < _AT_ONCE
                ):
                    number, seq, raw = next(left)
                    sent[number].append((seq, time.perf_counter()))
                    self._queue(number, raw)
                    count, on_the_way = count + 1, on_the_way + 1
                wants = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
                selector.modify(self._socket, wants)
                pause = _WAIT_S
                if count < total and on_the_way < self._window:
                    pause = max(0.0, min(pause, due_at(count) - now))
                for _, events in selector.select(pause):
                    if events & selectors.EVENT_WRITE:
                        self._write()
                    if events & selectors.EVENT_READ:
                        self._unread += self._received()
                now = time.perf_counter()
                for number, seq in self._take_acks():
                    heard_at = now
                    waiting = sent[number]
                    while waiting and waiting[0][0] <= seq:
                        timing.delays.append(now - waiting.popleft()[1])
                        timing.statements += 1
                        on_the_way -= 1
                if on_the_way and now - heard_at > _RESEND_S:
                    if timing.resent > 3 * total:
                        raise LoadError(f"{on_the_way} statements are not acked, however often they are sent")
                    heard_at = now
                    for number, waiting in enumerate(sent):
                        for seq, _ in waiting:
                            self._queue(number, self._loads.rounds[seq][number])
                            timing.resent += 1
        timing.seconds = time.perf_counter() - started
        return timing

    def _statements(self, first_seq: int, seqs: int) -> Iterator[tuple[int, int, bytes]]:
        for seq in range(first_seq, first_seq + seqs):
            for number, raw in enumerate(self._loads.rounds[seq]):
                yield number, seq, raw

    def _queue(self, number: int, raw: bytes) -> None:
        self._packet_id = self._packet_id % 65_535 + 1
        topic = self._topics[number]
        length = 4 + len(topic) + len(raw)
        self._unsent += b"\x32" + bytes((0x80 | length & 0x7F, length >> 7)) + len(topic).to_bytes(2, "big") + topic
        self._unsent += self._packet_id.to_bytes(2, "big") + raw

    def _write(self) -> None:
        with suppress(BlockingIOError):
            del self._unsent[: self._socket.send(self._unsent)]

    def _received(self) -> bytes:
        try:
            data = self._socket.recv(_AT_ONCE)
        except BlockingIOError:
            return b""
        if not data:
            raise LoadError("the broker has closed the connection")
        return data

    def _take_acks(self) -> Sequence[tuple[int, int]]:
        """Return number and seq of each ack that has come whole."""
        found: list[tuple[int, int]] = []
        data, at = self._unread, 0
        while at + 2 <= len(data):
            length, body = data[at + 1], at + 2
            if length > 0x7F:
                if at + 3 > len(data):
                    break
                length, body = length & 0x7F | data[at + 2] << 7, at + 3
            stop = body + length
            if stop > len(data):
                break
            if data[at] & 0xF0 == 0x30:
                topic_end = body + 2 + int.from_bytes(data[body : body + 2], "big")
                found.append(self._ack(bytes(data[body + 2 : topic_end]), bytes(data[topic_end:stop])))
            at = stop
        del data[:at]
        return found

    def _ack(self, topic: bytes, payload: bytes) -> tuple[int, int]:
        number = self._number[topic]
        self._acks += 1
        if self._acks % _CHECKED_EVERY == 1:
            if number not in self._keys:
                point = self._loads.points[number]
                self._keys[number] = ack.derive_key(self._link_key, PublicKey(point[:32], point[32:]))
            return number, ack.open_ack(self._keys[number], payload).seq
        return number, uint_at(payload, _ACK_SEQ)[0]

    def _wait_for(self, kind: int) -> None:
        """Read packets until one of this kind has come."""
        while True:
            while len(self._unread) >= 2 and len(self._unread) >= 2 + self._unread[1]:
                found = self._unread[0] & 0xF0
                del self._unread[: 2 + self._unread[1]]
                if found == kind:
                    return
            self._unread += self._received()


def _subscribe(topic: bytes) -> bytes:
    body = b"\x00\x01" + len(topic).to_bytes(2, "big") + topic + b"\x00"
    return b"\x82" + bytes([len(body)]) + body
