"""The board's MQTT client against a broker that breaks the rules, and its parser against any bytes at all."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from boardrunner import BoardError, BoardProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from mqttboard import Link, MqttBoard, RawBroker, message, remaining_length


def _serve(link: Link) -> None:
    link.accept()
    while True:
        link.puback(link.published()[1])


@pytest.mark.parametrize("kept", [True, False])
def test_unacknowledged_message_is_sent_again(kept: bool) -> None:
    """With DUP and the same packet id if the broker kept the session; as a new message if it did not."""
    seen: list[tuple[bool, int]] = []

    def first(link: Link) -> None:
        link.accept()
        seen.append(link.published())

    def second(link: Link) -> None:
        link.accept(session_present=kept)
        seen.append(link.published())
        link.puback(seen[-1][1])
        link.packet()

    with RawBroker(first, second) as raw, MqttBoard(raw.port) as board:
        board.publish("from/board", b"x")
        assert seen == [(False, seen[0][1]), (kept, seen[0][1])]


def test_packet_id_in_flight_is_not_used_again() -> None:
    """One message stays unacknowledged while 65,535 ids would have gone round; here, the last few of them."""
    ids: list[int] = []

    def script(link: Link) -> None:
        link.accept()
        held = link.published()[1]
        ids.append(held)
        for _ in range(6):
            ids.append(link.published()[1])
            link.puback(ids[-1])
        link.puback(held)
        link.packet()

    # SUBSCRIBE takes 65534; the held message gets 65535, the six others what follows.
    with RawBroker(script) as raw, MqttBoard(raw.port, first_id=65534) as board:
        board.expect("up", 1)
        board.start_publish("held", b"x")
        time.sleep(0.1)
        board.publish("others", b"y", count=6)
        board.expect("published", "held")
    assert ids == [65535, 1, 2, 3, 4, 5, 6]


def test_silent_broker_is_left() -> None:
    """A half-open connection: everything is taken and nothing answered, not even a ping."""

    def silent(link: Link) -> None:
        link.accept()
        while True:
            link.packet()

    with RawBroker(silent, _serve) as raw, MqttBoard(raw.port, keepalive_s=1, response_ms=500) as board:
        board.expect("up", 1)
        assert "ping" in board.expect("down", timeout=5)
        board.expect("up", 2)
        board.publish("from/board", b"x")


def test_missing_puback_ends_the_connection() -> None:
    def silent(link: Link) -> None:
        link.accept()
        while True:
            link.packet()

    with RawBroker(silent, _serve) as raw, MqttBoard(raw.port, response_ms=500) as board:
        board.publish("from/board", b"x")
        assert board.status()[2] == 2


def test_slow_drip_is_cut_off() -> None:
    def drip(link: Link) -> None:
        link.accept()
        for byte in message(b"to/board", bytes(500)):
            link.send(bytes((byte,)))
            time.sleep(0.05)

    with RawBroker(drip, _serve) as raw, MqttBoard(raw.port, response_ms=600) as board:
        board.expect("up", 1)
        assert "slowly" in board.expect("down", timeout=5)
        board.expect("up", 2)


def test_connack_that_never_comes() -> None:
    def mute(link: Link) -> None:
        link.packet()
        link.packet()

    with RawBroker(mute, _serve) as raw, MqttBoard(raw.port, response_ms=300) as board:
        board.expect("up", 1, timeout=5)
        assert "no answer" in board.status()[0]


def test_oversize_message_is_passed_over_and_acknowledged() -> None:
    acknowledged: list[bytes] = []
    done = threading.Event()

    def script(link: Link) -> None:
        link.accept()
        link.send(message(b"to/board", bytes(5000), 77) + message(b"to/board", b"small", 78))
        for _ in range(2):
            first, body = link.packet()
            assert first == 0x40
            acknowledged.append(body)
        done.set()
        link.packet()

    with RawBroker(script) as raw, MqttBoard(raw.port) as board:
        board.expect("message", ["to/board", b"small".hex()])
        assert done.wait(5)
        assert board.status()[:3] == ["", 1, 1]
    assert acknowledged == [b"\x00\x4d", b"\x00\x4e"]


@pytest.mark.parametrize(
    "packet",
    [
        b"\x32" + remaining_length(200_000_000),
        b"\x32\xff\xff\xff\xff\x01",
        b"\x90" + remaining_length(5000) + bytes(3000),
        b"\x34\x05\x00\x01a\x00\x01",
        b"\x32\x05\x00\x01a\x00\x00",
        b"\x32\x03\x00\x09a",
        b"\x30\x04\x00\x02\xff\xff",
        b"\x20\x02\x00\x00",
        b"\x00\x00",
        b"\xf0\x00",
        b"\x41\x02\x00\x01",
    ],
)
def test_broken_rule_costs_the_connection_only(packet: bytes) -> None:
    def script(link: Link) -> None:
        link.accept()
        link.send(packet)
        link.packet()

    with RawBroker(script, _serve) as raw, MqttBoard(raw.port) as board:
        board.expect("up", 1)
        assert board.expect("down") not in ("", "broker closed the connection")
        board.expect("up", 2)
        board.publish("from/board", b"x")


@pytest.mark.parametrize("connections", [120, pytest.param(5000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_many_fuzzed_connections_leave_the_heap_as_it_was(connections: int) -> None:
    noise = random.Random(4)
    good = [
        message(b"to/board", b"payload", 9),
        b"\x40\x02\x00\x05",
        b"\xd0\x00",
        b"\x90\x03\x00\x01\x01",
        b"\x20\x02\x00\x00",
    ]

    def fuzz(link: Link) -> None:
        if noise.random() < 0.7:
            link.accept()
        data = bytearray(b"".join(noise.choice(good) for _ in range(noise.randrange(1, 6))))
        for _ in range(noise.randrange(1, 8)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        link.send(bytes(data))

    with RawBroker(*[fuzz] * connections, _serve) as raw, MqttBoard(raw.port, response_ms=300) as board:
        before = board.status()[3]
        deadline = time.monotonic() + connections / 6
        while raw.connections <= connections and time.monotonic() < deadline:
            board.tell(hurry=1)
            time.sleep(0.01)
        assert raw.connections > connections // 2
        board.publish("from/board", b"alive")
        assert board.status()[3] > before - 4000


def _oversize(link: Link) -> None:
    link.accept()
    for _ in range(5):
        link.send(message(b"to/board", bytes(60_000)))
    link.send(b"\x32" + remaining_length(200_000_000))


def _drip(link: Link) -> None:
    link.accept()
    for byte in message(b"to/board", bytes(900)):
        link.send(bytes((byte,)))
        time.sleep(0.0005)
    link.send(b"\x90")
    link.packet()


def _flood(link: Link) -> None:
    link.accept()
    link.send(b"".join(message(b"to/board", bytes(900), 1 + n) for n in range(200)) + b"\x00\x00")


@pytest.mark.parametrize("attack", [_oversize, _drip, _flood])
def test_attack_repeated_leaves_the_heap_as_it_was(attack: Callable[[Link], None]) -> None:
    """The same attack ten times and another ten: what it leaves behind does not add up."""
    with RawBroker(*[attack] * 20, _serve) as raw, MqttBoard(raw.port, response_ms=300) as board:
        free = []
        for connections in (10, 20):
            deadline = time.monotonic() + 30
            while raw.connections <= connections and time.monotonic() < deadline:
                board.tell(hurry=1)
                time.sleep(0.02)
            free.append(board.status()[3])
        board.publish("from/board", b"alive", timeout=30)
        assert raw.connections > 20
        assert free[1] > free[0] - 2500, free


# -- the parser alone

_PARSER = """
from trig.mqtt_packets import Receiver, MqttError

def parse(pieces):
    receiver = Receiver(24, 64)
    packets = []
    for piece in pieces:
        while piece:
            room = receiver.room()
            n = min(len(room), len(piece))
            assert n
            room[:n] = piece[:n]
            receiver.fill(n)
            piece = piece[n:]
            while True:
                kind = receiver.next()
                if kind is None:
                    break
                body = [bytes(receiver.topic), bytes(receiver.payload)] if kind == 3 else []
                packets.append([kind, receiver.packet_id, receiver.code] + body)
    return packets
"""


@pytest.fixture(scope="module")
def parser() -> Iterator[BoardProcess]:
    with BoardProcess(_PARSER, heap="600k") as process:
        yield process


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=80), max_size=6))
def test_parser_takes_any_bytes(parser: BoardProcess, pieces: list[bytes]) -> None:
    try:
        parser.call("parse", pieces)
    except BoardError as error:
        assert error.kind == "MqttError", error


_TOPICS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6).map(str.encode)


@st.composite
def _messages(draw: Any) -> tuple[bytes, list[Any]]:
    topic, payload = draw(_TOPICS), draw(st.binary(max_size=140))
    packet_id = draw(st.integers(1, 65535))
    packet = message(topic, payload, packet_id)
    if len(packet) <= 64:
        return packet, [3, packet_id, topic, payload]
    return packet, [-1, packet_id]


@settings(max_examples=300, deadline=None)
@given(st.lists(_messages(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_parser_finds_the_same_packets_however_they_are_cut(
    parser: BoardProcess, messages: list[tuple[bytes, list[Any]]], cut: random.Random
) -> None:
    data = b"".join(packet for packet, _ in messages)
    pieces = []
    while data:
        size = cut.randrange(1, 100)
        pieces.append(data[:size])
        data = data[size:]
    found = parser.call("parse", pieces)
    assert isinstance(found, list)
    assert [[p[0], p[1], *p[3:]] for p in found] == [expected for _, expected in messages]
