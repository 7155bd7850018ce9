"""The board's MQTT client against real brokers, with everything that goes wrong on the way."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from brokers import RunningBroker, broker, embedded_broker, make_mosquitto, mosquitto  # noqa: F401
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mqttboard import MqttBoard
from paho.mqtt.enums import CallbackAPIVersion


class Peer:
    """The other end: subscribes to everything and can publish."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._news = threading.Condition()
        self._ready = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.reconnect_delay_set(0.2, 0.5)  # type: ignore[arg-type]
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(5)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._news:
            self.messages.append((message.topic, message.payload))
            self._news.notify_all()

    def expect(self, topic: str, payload: bytes, timeout: float = 10) -> None:
        with self._news:
            assert self._news.wait_for(lambda: (topic, payload) in self.messages, timeout), self.messages

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def peer(broker: RunningBroker) -> Iterator[Peer]:  # noqa: F811
    other = Peer(broker.port)
    yield other
    other.close()


def test_publish_receive_and_last_will(broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    with MqttBoard(broker.port) as board:
        board.expect("up", 1)
        board.publish("from/board", b"\x00\x01 body")
        peer.expect("from/board", b"\x00\x01 body")
        board.publish("from/board", bytes(4096))
        peer.expect("from/board", bytes(4096))
        peer.client.publish("to/board", b"hello", qos=1)
        board.expect("message", ["to/board", b"hello".hex()])
    peer.expect("will/board", b"gone")


def test_packet_ids_wrap_past_65535(broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    """umqtt.simple sends packet id 0 here and then waits for ever."""
    with MqttBoard(broker.port, first_id=65530) as board:
        board.expect("up", 1)
        board.publish("from/board", b"x", count=12)
        board.publish("from/board", b"the last")
        peer.expect("from/board", b"the last")
        assert board.status()[2] == 1


def test_kept_session_is_resumed(mosquitto: RunningBroker) -> None:  # noqa: F811
    """mqtt_as raises when the broker says that it kept the session."""
    with MqttBoard(mosquitto.port) as board:
        board.expect("up", 1)
    other = Peer(mosquitto.port)
    other.client.publish("to/board", b"while you were out", qos=1).wait_for_publish(5)
    with MqttBoard(mosquitto.port) as board:
        board.expect("up", 1)
        board.expect("message", ["to/board", b"while you were out".hex()])
        board.publish("from/board", b"back")
        other.expect("from/board", b"back")
    other.close()


def test_broker_restart(broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    with MqttBoard(broker.port) as board:
        board.expect("up", 1)
        broker.stop(kill=True)
        board.expect("down")
        board.start_publish("from/board", b"published while it was away")
        time.sleep(0.3)
        broker.start()
        board.expect("up", 2)
        board.expect("published", "from/board")
        peer.client.publish("to/board", b"still subscribed", qos=1)
        board.expect("message", ["to/board", b"still subscribed".hex()])


def test_retained(mosquitto: RunningBroker) -> None:  # noqa: F811
    with MqttBoard(mosquitto.port) as board:
        board.publish("health", b"{}", retain=True)
        late = Peer(mosquitto.port)
        late.expect("health", b"{}")
        late.close()


# -- TLS and passwords, against Mosquitto


def _certificate(
    directory: Path, name: str, host: str | None, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host or name)])
    issuer_name, issuer_key = issuer or (subject, key)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if host:
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        if host[0].isdigit():
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / f"{name}.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    (directory / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return subject, key


def _tls_broker(directory: Path, host: str) -> RunningBroker:
    authority = _certificate(directory, "authority", None, None)
    _certificate(directory, "stranger", None, None)
    _certificate(directory, "server", host, authority)
    return make_mosquitto(
        directory, f"certfile {directory}/server.pem\nkeyfile {directory}/server.key\ntls_version tlsv1.2\n"
    )


@pytest.mark.parametrize(
    ("certified", "authority", "works"),
    [("localhost", "authority", True), ("localhost", "stranger", False), ("elsewhere.example", "authority", False)],
)
def test_tls_is_verified(tmp_path: Path, certified: str, authority: str, works: bool) -> None:
    running = _tls_broker(tmp_path, certified)
    # The probe that `start` makes is a plain connection; Mosquitto merely drops it.
    running.start()
    try:
        with MqttBoard(running.port, host="localhost", ca=str(tmp_path / f"{authority}.der")) as board:
            if works:
                board.expect("up", 1)
                board.publish("from/board", bytes(4096), count=3)
            else:
                time.sleep(1)
                error, _, session, _ = board.status()
                assert session == 0
                assert "cert" in error.lower(), error
    finally:
        running.stop()


def test_wrong_password_is_named(tmp_path: Path) -> None:
    (tmp_path / "passwords").touch()
    running = make_mosquitto(tmp_path, f"password_file {tmp_path}/passwords\n")
    config = tmp_path / "mosquitto.conf"
    config.write_text(config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    running.start()
    try:
        with MqttBoard(running.port, user="board", password="wrong") as board:
            time.sleep(0.7)
            error, _, session, _ = board.status()
            assert session == 0
            assert "not authorised" in error
    finally:
        running.stop()
