"""Whom the board's MQTT client lets in, and whom Mosquitto does: certificates, passwords and the shipped access list.

Each refusal ends in one line that says what is wrong, the line of the health report.
"""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as paho
import pytest
import trigpoint.broker
from brokers import MOSQUITTO, RunningBroker, free_port, make_mosquitto
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mqttboard import MqttBoard
from paho.mqtt.enums import CallbackAPIVersion

SHIPPED = Path(trigpoint.broker.__file__).parent
NOW = datetime.now(UTC)
A, B = "aa" * 32, "bb" * 32


@dataclass
class Issuer:
    name: x509.Name
    key: ec.EllipticCurvePrivateKey


def certificate(
    directory: Path,
    name: str,
    host: str | None = None,
    issuer: Issuer | None = None,
    valid: tuple[int, int] = (-1, 1),
) -> Issuer:
    """Write <name>.pem, .der and .key; `valid` in days from now. Without an issuer it is a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host or name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=valid[0]))
        .not_valid_after(NOW + timedelta(days=valid[1]))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if host:
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        if host[0].isdigit():
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    (directory / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / f"{name}.der").write_bytes(made.public_bytes(serialization.Encoding.DER))
    (directory / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Issuer(subject, key)


@contextmanager
def tls_broker(directory: Path, host: str = "localhost", valid: tuple[int, int] = (-1, 1)) -> Iterator[RunningBroker]:
    authority = certificate(directory, "authority")
    certificate(directory, "stranger")
    certificate(directory, "server", host, authority, valid)
    running = make_mosquitto(
        directory, f"certfile {directory}/server.pem\nkeyfile {directory}/server.key\ntls_version tlsv1.2\n"
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()


def refusal(board: MqttBoard) -> str:
    """Return the line that says why there is no connection."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        error, _, session, _ = board.status()
        assert session == 0
        if error:
            assert "\n" not in error
            return str(error)
        time.sleep(0.1)
    raise AssertionError("no line")


def test_certified_broker_is_let_in(tmp_path: Path) -> None:
    with (
        tls_broker(tmp_path) as broker,
        MqttBoard(broker.port, host="localhost", ca=str(tmp_path / "authority.der")) as board,
    ):
        board.expect("up", 1)
        board.publish("from/board", bytes(4096), count=3)


@pytest.mark.parametrize(
    ("host", "valid", "authority", "line"),
    [
        ("localhost", (-1, 1), "stranger", "TLS: The certificate is not correctly signed by the trusted CA"),
        (
            "elsewhere.example",
            (-1, 1),
            "authority",
            "TLS: The certificate Common Name (CN) does not match with the expected CN",
        ),
        ("localhost", (-9, -1), "authority", "TLS: The certificate validity has expired"),
        ("localhost", (1, 9), "authority", "TLS: The certificate validity starts in the future"),
    ],
)
def test_broker_without_a_good_certificate_is_not(
    tmp_path: Path, host: str, valid: tuple[int, int], authority: str, line: str
) -> None:
    with (
        tls_broker(tmp_path, host, valid) as broker,
        MqttBoard(broker.port, host="localhost", ca=str(tmp_path / f"{authority}.der")) as board,
    ):
        assert refusal(board) == line


def test_broker_with_a_renewed_certificate_is_let_in_again(tmp_path: Path) -> None:
    with tls_broker(tmp_path, valid=(-9, -1)) as broker:
        ca = (tmp_path / "authority.der").read_bytes()
        (tmp_path / "ca.der").write_bytes(ca)
        with MqttBoard(broker.port, host="localhost", ca=str(tmp_path / "ca.der")) as board:
            assert "expired" in refusal(board)
            broker.stop()
            key = serialization.load_pem_private_key((tmp_path / "authority.key").read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            name = x509.load_der_x509_certificate(ca).subject
            certificate(tmp_path, "server", "localhost", Issuer(name, key))
            broker.start()
            board.expect("up", 1)


# -- passwords and the access list


def password_file(directory: Path) -> Path:
    tool = shutil.which("mosquitto_passwd", path="/usr/bin:/usr/sbin")
    if MOSQUITTO is None or tool is None:
        pytest.skip("Mosquitto is not installed (apt-get install mosquitto)")
    passwords = directory / "passwords"
    passwords.write_text("".join(f"{user}:{user.upper()}\n" for user in (A, B, "gateway", "owner")))
    passwords.chmod(0o644)
    subprocess.run([tool, "-U", str(passwords)], check=True)
    return passwords


@contextmanager
def guarded_broker(directory: Path) -> Iterator[RunningBroker]:
    """Mosquitto with the shipped access list and a password for each: the user's name in capitals."""
    passwords = password_file(directory)
    running = make_mosquitto(directory, f"password_file {passwords}\nacl_file {SHIPPED / 'acl'}\n")
    config = directory / "mosquitto.conf"
    config.write_text(config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    running.start()
    try:
        yield running
    finally:
        running.stop()


class Client:
    """A user of the broker that notes what it gets."""

    def __init__(self, port: int, user: str) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.username_pw_set(user, user.upper())
        self.client.on_message = lambda _c, _u, message: self.got.append((message.topic, message.payload))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        deadline = time.monotonic() + 5
        while not self.client.is_connected() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.client.is_connected()
        self.client.subscribe("#", 1)

    def publish(self, topic: str) -> None:
        # Mosquitto 2.0.11 hangs up on who publishes what it may not.
        with suppress(RuntimeError):
            self.client.publish(topic, self_name(topic), qos=1).wait_for_publish(0.3)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def self_name(topic: str) -> bytes:
    return b"to " + topic.encode()


def test_board_works_under_the_access_list(tmp_path: Path) -> None:
    with guarded_broker(tmp_path) as broker:
        gateway = Client(broker.port, "gateway")
        with MqttBoard(
            broker.port, client_id=A, user=A, password=A.upper(), topics=[f"trig/1/{A}/a", f"trig/1/{A}/c"]
        ) as board:
            board.expect("up", 1)
            board.publish(f"trig/1/{A}/s", b"statement")
            gateway.publish(f"trig/1/{A}/a")
            board.expect("message", [f"trig/1/{A}/a", self_name(f"trig/1/{A}/a").hex()])
            deadline = time.monotonic() + 5
            while (f"trig/1/{A}/s", b"statement") not in gateway.got and time.monotonic() < deadline:
                time.sleep(0.01)
            assert (f"trig/1/{A}/s", b"statement") in gateway.got
        gateway.close()


def test_board_works_with_the_shipped_configuration(tmp_path: Path) -> None:
    """TLS, passwords and access list at once: the mosquitto.conf that we ship, but for the paths."""
    certificate(tmp_path, "server", "localhost", certificate(tmp_path, "authority"))
    running = make_mosquitto(tmp_path)
    text = (SHIPPED / "mosquitto.conf").read_text()
    for shipped, here in (
        ("listener 8883\n", f"listener {running.port} 127.0.0.1\n"),
        ("listener 8884 ", f"listener {free_port()} "),
        ("/etc/mosquitto/trigpoint/server", f"{tmp_path}/server"),
        ("/etc/mosquitto/trigpoint/passwd-gateway", "/etc/mosquitto/trigpoint/passwd"),
        ("/etc/mosquitto/trigpoint/passwd", str(password_file(tmp_path))),
        ("/etc/mosquitto/trigpoint/acl", str(SHIPPED / "acl")),
        ("persistence true\n", f"persistence true\npersistence_location {tmp_path}/sessions/\nuser root\n"),
    ):
        assert shipped in text
        text = text.replace(shipped, here)
    (tmp_path / "mosquitto.conf").write_text(text)
    running.start()
    try:
        ca = str(tmp_path / "authority.der")
        with MqttBoard(
            running.port, host="localhost", ca=ca, client_id=A, user=A, password=A.upper(), topics=[f"trig/1/{A}/a"]
        ) as board:
            board.expect("up", 1)
            board.publish(f"trig/1/{A}/s", bytes(4096), count=3)
    finally:
        running.stop()


def test_wrong_password_is_named(tmp_path: Path) -> None:
    with guarded_broker(tmp_path) as running, MqttBoard(running.port, user=A, password="wrong") as board:
        assert refusal(board) == "broker refused the connection: not authorised"
