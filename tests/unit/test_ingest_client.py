"""The quick way in: whatever a broker sends, in whatever pieces, it is what paho alone would have handed over."""

from itertools import pairwise

import paho.mqtt.client as paho
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import MQTTErrorCode
from trigpoint.ingest import client as module
from trigpoint.ingest.client import Client, puback_packet, publish_packet
from trigpoint.wire.statement import MAX_SIZE

KEPT = MAX_SIZE + 1


class Pieces:
    """A socket that gives the next piece at each read, and then nothing."""

    def __init__(self, pieces):
        self.pieces = [piece for piece in pieces if piece]

    def recv(self, most):
        if not self.pieces:
            raise BlockingIOError
        piece, rest = self.pieces[0][:most], self.pieces[0][most:]
        self.pieces[:1] = [rest] if rest else []
        return piece

    def close(self):
        pass


def read(pieces):
    """Read a stream; return what was published, and the code at the end."""
    seen, failures = [], []
    client = Client("c", lambda *message: seen.append(message), failures.append)
    client._sock = Pieces(pieces)
    code = MQTTErrorCode.MQTT_ERR_SUCCESS
    for _ in range(100_000):
        before = sum(map(len, client._sock.pieces)) if client._sock else 0
        code = client.loop_read()
        if code or client._sock is None or (not before and not client._sock.pieces):
            break
    assert not failures
    return seen, code


def paho_alone(stream):
    """Return what paho makes of a stream, and how it ends."""
    seen = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "c", clean_session=False, manual_ack=True)

    def on_message(_client, _user, message):
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        seen.append((topic, message.payload[:KEPT], len(message.payload), message.mid if message.qos else None))

    client.on_message = on_message
    client._sock = Pieces([stream])
    code = MQTTErrorCode.MQTT_ERR_SUCCESS
    while client._sock is not None and client._sock.pieces and not code:
        code = client.loop_read()
    return seen, code


def packet(first, body):
    length, encoded = len(body), b""
    while True:
        length, digit = length >> 7, length & 0x7F
        encoded += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + encoded + body


def publish(topic, payload, qos, mid):
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if qos else b"") + payload
    return packet(0x30 | qos << 1, body)


TOPICS = st.sampled_from([b"t", b"trig/1/" + b"a" * 64 + b"/s", "ö".encode(), b"\xff\xfe", b"x" * 300])
PAYLOADS = st.binary(max_size=40) | st.sampled_from([100, 126, 127, 128, 4_096, 4_097, 4_200, 16_383, 70_000]).map(
    bytes
)
PUBLISHES = st.builds(publish, TOPICS, PAYLOADS, st.sampled_from([0, 1]), st.integers(1, 65_535))
OTHERS = st.sampled_from([packet(0xD0, b""), packet(0x90, b"\x00\x01\x01"), packet(0x40, b"\x00\x07")])


def cut(stream, cuts):
    edges = [0, *sorted({at % (len(stream) + 1) for at in cuts}), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@settings(max_examples=150)
@given(st.lists(PUBLISHES | OTHERS, max_size=8), st.lists(st.integers(0, 10**6), max_size=8))
def test_a_stream_in_any_pieces_is_what_paho_reads_from_it(packets, cuts):
    stream = b"".join(packets)
    seen, code = read(cut(stream, cuts))
    assert (seen, code) == paho_alone(stream)
    assert not code


@settings(max_examples=150)
@given(st.lists(PUBLISHES, max_size=3), st.binary(min_size=1, max_size=60), st.lists(st.integers(0, 200), max_size=4))
def test_what_is_malformed_is_judged_by_paho(packets, garbage, cuts):
    # Garbage may claim a packet that never ends, so each side stops where the stream does.
    stream = b"".join(packets) + garbage
    seen, code = read(cut(stream, cuts))
    expected, expected_code = paho_alone(stream)
    assert seen == expected
    assert bool(code) == bool(expected_code)


@pytest.mark.parametrize("piece", [1, 1_001, 4_096, 65_536])
def test_a_giant_is_let_by_with_no_more_in_memory_than_is_looked_at(piece):
    size = 1_000_000
    giant, small = publish(b"t", b"g" * size, 1, 5), publish(b"t", b"small", 1, 6)
    stream = small + giant + small
    pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
    if piece == 1:
        pieces = [stream[:70_000], *[bytes([byte]) for byte in stream[70_000:72_000]], stream[72_000:]]
    seen, code = read(pieces)
    assert not code
    assert seen == [
        ("t", b"small", 5, 6),
        ("t", b"g" * KEPT, size, 5),
        ("t", b"small", 5, 6),
    ]


def test_a_new_connection_has_nothing_of_the_last(monkeypatch):
    seen = []
    client = Client("c", lambda *message: seen.append(message), lambda error: None)
    whole = publish(b"t", b"one", 1, 1)
    client._sock = Pieces([packet(0xF0, b"") + whole])  # a packet that 3.1.1 does not have, and more behind it
    assert client.loop_read()
    monkeypatch.setattr(paho.Client, "reconnect", lambda self: MQTTErrorCode.MQTT_ERR_SUCCESS)
    client.reconnect()
    client._in_packet = paho.Client(paho.CallbackAPIVersion.VERSION2)._in_packet
    client._sock = Pieces([publish(b"t", b"two", 1, 1)])
    client.loop_read()
    assert [payload for _, payload, _, _ in seen] == [b"two"]


def test_a_connection_that_ends_is_told_so():
    class Ended(Pieces):
        def recv(self, most):
            return b""

    client = Client("c", lambda *message: None, lambda error: None)
    client._sock = Ended([])
    assert client.loop_read() == MQTTErrorCode.MQTT_ERR_CONN_LOST


def test_what_goes_out_is_what_a_peer_reads():
    topic, payload = b"trig/1/" + b"a" * 64 + b"/a", bytes(range(40))
    for body in (payload, payload * 3):
        assert paho_alone(publish_packet(topic, body)) == ([(topic.decode(), body, len(body), None)], 0)
    assert puback_packet(0x1234) == packet(0x40, b"\x12\x34")
    assert module._RECEIVED_AT_ONCE <= 1 << 21  # what three bytes of length can say
