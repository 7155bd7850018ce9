"""What passes between a board and its broker is understood in any pieces, and nothing in it does harm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from test_fleet_accounting import HISTORY
from trigpoint.wire import ack
from trigpoint_tools.fleet.traffic import Traffic

ACK_KEY = bytes(range(32))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


def publish(topic: str, payload: bytes, qos: int = 1) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic.encode() + (b"\0\1" if qos else b"") + payload
    length, head = len(body), b""
    while True:
        length, digit = divmod(length, 128)
        head += bytes((digit | (0x80 if length else 0),))
        if not length:
            return bytes((0x30 | qos << 1,)) + head + body


def statement(seq: int) -> bytes:
    return publish("trig/1/00/s", HISTORY[seq].raw)


def acked(seq: int, key: bytes = ACK_KEY) -> bytes:
    return publish("trig/1/00/a", ack.seal(key, seq, 1_700_000_000_000))


CONNECT = b"\x10\x02ab"
PUBACK = b"\x40\x02\0\1"


@given(st.lists(st.integers(1, 60), max_size=60))
def test_it_understands_any_pieces(sizes: list[int]) -> None:
    traffic = Traffic(ACK_KEY, Clock())
    sent = CONNECT + statement(0) + b"\xc0\0" + statement(1) + statement(1) + statement(2)
    at = 0
    for size in [*sizes, len(sent)]:
        traffic.pass_by(1, True, sent[at : at + size])
        at += size
    assert sorted(traffic.statements) == [0, 1, 2]
    assert traffic.resent == 1
    assert traffic.acked == -1


def test_latency_is_from_the_first_sending_to_the_first_ack_that_covers_it() -> None:
    traffic = Traffic(ACK_KEY, Clock())  # each look at the clock is half a second later
    traffic.pass_by(1, True, statement(0) + statement(1))
    traffic.pass_by(1, False, PUBACK + acked(0, bytes(32)))  # forged
    assert (traffic.acked, traffic.ack_ms) == (-1, [])
    traffic.pass_by(1, True, statement(1))
    traffic.pass_by(2, False, acked(1))
    assert (traffic.acked, traffic.ack_ms) == (1, [1000.0, 500.0])
    traffic.pass_by(2, False, acked(1) + acked(0))
    assert traffic.ack_ms == [1000.0, 500.0]


def test_a_new_connection_begins_anew() -> None:
    """What a cut has left of a packet must not swallow what the next connection brings."""
    traffic = Traffic(ACK_KEY, Clock())
    traffic.pass_by(1, True, statement(0)[:50])
    traffic.pass_by(2, True, CONNECT + statement(1))
    assert sorted(traffic.statements) == [1]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.binary(max_size=80)), max_size=20))
def test_no_bytes_do_harm(passed: list[tuple[int, bool, bytes]]) -> None:
    traffic = Traffic(ACK_KEY, Clock())
    for connection, from_board, data in passed:
        traffic.pass_by(connection, from_board, data)
    traffic.pass_by(99, True, CONNECT + statement(3))
    assert sorted(traffic.statements) == [3]
    assert traffic.acked == -1


@given(st.binary(min_size=0, max_size=300))
def test_no_publication_does_harm(payload: bytes) -> None:
    traffic = Traffic(ACK_KEY, Clock())
    for topic in ("trig/1/00/s", "trig/1/00/a"):
        for from_board in (True, False):
            traffic.pass_by(1, from_board, publish(topic, payload))
    assert traffic.acked == -1 and not traffic.statements
