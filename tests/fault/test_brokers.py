"""The whole way from a board's publish to its ack, over real brokers, and what happens when they go away."""

import datetime
import ipaddress
import re
import socket
import threading
import time
import tracemalloc
from contextlib import closing

import pytest
from boardclient import BoardClient
from brokers import free_port, make_mosquitto
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from intake import Intake, rows
from statements import TestBoard, enrol, spoil_signature
from trigpoint.clock import SystemClock
from trigpoint.config import Broker
from trigpoint.errors import OperatorError
from trigpoint.ingest.mqtt import Session
from trigpoint.store import queries
from trigpoint.store.database import open_database
from trigpoint.store.writer import Writer

LINK_KEY = ec.derive_private_key(77, ec.SECP256R1())


@pytest.fixture
def boards():
    return [TestBoard(number) for number in range(1, 4)]


@pytest.fixture
def writer(tmp_path, boards):
    with Writer(tmp_path / "test.db") as writer:
        writer.submit(lambda connection: enrol(connection, *boards))
        yield writer


def started(writer, broker):
    intake = Intake(writer, broker.port, LINK_KEY)
    intake.start()
    return intake


def counters(tmp_path):
    with closing(open_database(tmp_path / "test.db", read_only=True)) as connection:
        return queries.counters(connection)


def test_statements_are_stored_and_acked_and_the_rest_is_only_counted(broker, writer, boards, tmp_path):
    intake, client = started(writer, broker), BoardClient(broker.port, LINK_KEY, boards)
    for _ in range(20):
        for board in boards:
            board.next(readings=3)
    client.deliver(boards)
    accepted = counters(tmp_path)["accepted"]
    assert accepted == 60
    board = boards[0]
    acks = len(client.acks)
    client.send(board.topic, board.sent[3])
    client.send(board.topic, board.sent[3])
    client.wait_acks(acks + 2)  # a duplicate is one row, and an ack each time
    client.send(board.topic, spoil_signature(board.make(20, board.prev)))
    client.send(board.topic, board.make(4, b"p" * 32, value=-5))
    client.send(TestBoard(9).topic, TestBoard(9).next())
    client.send(board.topic, b"")
    client.send(board.topic, bytes(10_000))
    client.deliver([board for board in boards if board.next()])
    assert counters(tmp_path) == {
        "accepted": 63,
        "duplicate": counters(tmp_path)["duplicate"],
        "signature": 1,
        "clone": 1,
        "unknown_board": 1,
        "size": 2,
    }
    assert rows(tmp_path / "test.db", "SELECT count(*), max(leaf_index) FROM statements") == [(63, 62)]
    client.close()
    intake.stop()
    assert not intake.failures


@pytest.mark.parametrize("kill", [False, True])
def test_a_broker_that_goes_away_comes_back(broker, writer, boards, tmp_path, kill):
    intake, client = started(writer, broker), BoardClient(broker.port, LINK_KEY, boards)
    for board in boards:
        board.next()
    client.deliver(boards)
    broker.stop(kill=kill)
    time.sleep(0.3)
    for board in boards:
        board.next()
    broker.start()
    client.deliver(boards, timeout_s=30)
    assert counters(tmp_path)["accepted"] == 6
    client.close()
    intake.stop()
    assert not intake.failures


def test_what_comes_while_the_gateway_is_away_waits_in_its_session(mosquitto, writer, boards, tmp_path):
    started(writer, mosquitto).stop()
    client = BoardClient(mosquitto.port, LINK_KEY, boards)
    for _ in range(30):
        client.send(boards[0].topic, boards[0].next())
    time.sleep(0.5)
    intake = started(writer, mosquitto)
    client.wait_acked(boards[0], 29)
    assert counters(tmp_path) == {"accepted": 30}
    client.close()
    intake.stop()


def test_what_is_not_confirmed_comes_again_and_what_is_does_not(mosquitto):
    deliveries = []
    settings = Broker(host="127.0.0.1", port=mosquitto.port, tls=False, client_id="gateway")
    session = Session(settings, SystemClock(), deliveries.append, lambda error: None)
    session.start()
    board = TestBoard(1)
    client = BoardClient(mosquitto.port, LINK_KEY, [board])
    client.send(board.topic, b"one")
    wait_for(lambda: len(deliveries) == 1)
    mosquitto.stop()
    mosquitto.start()
    wait_for(lambda: len(deliveries) == 2)
    assert deliveries[1].message.payload == b"one"
    session.answer([], [deliveries[1]])
    session.stop()
    again = Session(settings, SystemClock(), deliveries.append, lambda error: None)
    again.start()
    time.sleep(0.5)
    assert len(deliveries) == 2
    again.stop()
    client.close()


class ScriptedBroker:
    """Takes one connection after the other, and publishes on each one message, all under packet id 1."""

    def __init__(self, payloads):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.payloads = payloads
        self.packets = [self.publish(payload) for payload in payloads]
        self.confirmed = []
        self.drop = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        for payload, publish in zip(self.payloads, self.packets, strict=True):
            connection, _ = self.listener.accept()
            with connection, connection.makefile("rwb") as stream:
                while packet := self.read(stream):
                    kind, body = packet
                    if kind == 0x10:  # CONNECT
                        stream.write(b"\x20\x02\x01\x00")
                    elif kind == 0x80:  # SUBSCRIBE
                        stream.write(b"\x90\x03" + body[:2] + b"\x01")
                        stream.write(publish)
                    elif kind == 0x40:  # PUBACK
                        self.confirmed.append((payload, body))
                    elif kind == 0xE0:  # DISCONNECT
                        break
                    stream.flush()
                    if payload != self.payloads[-1] and kind == 0x80:
                        self.drop.wait(10)
                        break

    @staticmethod
    def publish(payload):
        body = b"\x00\x01t\x00\x01" + payload
        length, left = [], len(body)
        while left > 127:
            length.append(left & 127 | 128)
            left >>= 7
        return b"\x32" + bytes([*length, left]) + body

    @staticmethod
    def read(stream):
        head = stream.read(2)
        return (head[0] & 0xF0, stream.read(head[1])) if len(head) == 2 else None

    def close(self):
        self.thread.join(10)
        self.listener.close()


def test_a_packet_id_is_confirmed_only_on_the_connection_that_brought_it():
    broker, deliveries = ScriptedBroker([b"one", b"two"]), []
    settings = Broker(host="127.0.0.1", port=broker.port, tls=False)
    session = Session(settings, SystemClock(), deliveries.append, lambda error: None)
    session.start()
    wait_for(lambda: len(deliveries) == 1)
    broker.drop.set()
    wait_for(lambda: len(deliveries) == 2)
    session.answer([], [deliveries[0]])  # would tell the broker to forget "two", which is not on the disk
    time.sleep(0.3)
    assert broker.confirmed == []
    session.answer([], [deliveries[1]])
    wait_for(lambda: broker.confirmed)
    assert broker.confirmed == [(b"two", b"\x00\x01")]
    session.stop()
    broker.close()


def test_a_huge_message_takes_little_memory_and_is_not_sent_again():
    """256 MB are what a broker may pass on. Held whole they end a small gateway, and again after each restart."""
    broker, deliveries = ScriptedBroker([bytes(64 << 20)]), []
    settings = Broker(host="127.0.0.1", port=broker.port, tls=False)
    session = Session(settings, SystemClock(), deliveries.append, lambda error: None)
    tracemalloc.start()
    try:
        session.start()
        wait_for(lambda: deliveries)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    message = deliveries[0].message
    assert (message.topic, message.size, len(message.payload)) == ("t", 64 << 20, 4_097)
    session.answer([], [deliveries[0]])
    wait_for(lambda: broker.confirmed)
    session.stop()
    broker.close()


def wait_for(condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_broker_that_is_not_there_or_not_willing_is_told_in_one_line(tmp_path, caplog):
    def start(port, **more):
        settings = Broker(host="127.0.0.1", port=port, **{"tls": False, **more})
        session = Session(settings, SystemClock(), lambda delivery: None, lambda error: None)
        assert not session.start()
        session.stop()
        return caplog.messages[-1]

    there = r"cannot reach the MQTT broker at 127\.0\.0\.1:\d+: .*; check broker\.host, port and tls"
    assert re.match(there, start(free_port()))
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    strict = make_mosquitto(tmp_path, f"password_file {passwords}\n")
    strict_config = tmp_path / "mosquitto.conf"
    strict_config.write_text(strict_config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    strict.start()
    try:
        with pytest.raises(OperatorError, match=r"does not serve this gateway: Not authorized; check broker\.username"):
            start(strict.port)
        assert re.match(there, start(strict.port, tls=True))
    finally:
        strict.stop()
    with pytest.raises(OperatorError, match=r"broker\.ca"):
        start(strict.port, tls=True, ca=tmp_path / "no.pem")


def certificates(directory):
    """Make an authority and a certificate for 127.0.0.1; return their PEM files and the certificate's key file."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def issue(name, key, alternative, *, authority):
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if alternative:
            address = x509.IPAddress(ipaddress.ip_address(alternative))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        path = directory / f"{name}.pem"
        path.write_bytes(builder.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return path

    key_file = directory / "server.key"
    key_file.write_bytes(server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key_file.chmod(0o644)
    return (
        issue("authority", authority_key, None, authority=True),
        issue("server", server_key, "127.0.0.1", authority=False),
        key_file,
    )


def test_tls_is_verified_against_the_name_and_the_authority(tmp_path):
    authority, server, key = certificates(tmp_path)
    broker = make_mosquitto(tmp_path, f"certfile {server}\nkeyfile {key}\n")
    broker.start()

    def session(**more):
        settings = Broker(**{"host": "127.0.0.1", "port": broker.port, "ca": authority, **more})
        return Session(settings, SystemClock(), lambda delivery: None, lambda error: None)

    try:
        good = session()
        good.start()
        good.stop()
        with pytest.raises(OperatorError, match="no trusted TLS connection to the broker"):
            session(ca=None).start()
        with pytest.raises(OperatorError, match="Hostname mismatch"):
            session(host="localhost").start()
    finally:
        broker.stop()
