"""The broker's set-up: made once, added to, renewed; and what a real Mosquitto with TLS makes of it."""

import os
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from brokers import HOST, MOSQUITTO, RunningBroker, free_port
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from trigpoint.broker import certificates, folder, passwords
from trigpoint.errors import OperatorError

NOW = datetime.now(UTC)
BOARD, OTHER = "ab" * 32, "cd" * 32


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def made(tmp_path):
    place = tmp_path / "gw" / "broker"
    place.parent.mkdir()
    folder.make(place, ["localhost", HOST], 8883, NOW)
    return place


def files(place):
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_what_is_private_is_readable_by_its_owner_alone(made):
    folder.add_user(made, BOARD)
    for name in ("ca.key", "server.key", "passwd", "passwd-gateway", f"passwords/{BOARD}"):
        assert mode(made / name) == 0o600, name
    assert mode(made) == mode(made / "passwords") == 0o700


def test_made_again_only_what_has_to_change_changes(made):
    folder.add_user(made, "gateway")
    before = files(made)
    again = folder.make(made, ["localhost"], 8883, NOW + timedelta(days=100))
    assert not again.authority
    assert not again.certificate
    assert files(made) == before
    later = folder.make(made, ["broker.example"], 8883, NOW + timedelta(days=101), gateway="localhost:8884")
    assert later.certificate
    assert set(later.names) == {"broker.example", "localhost", HOST}
    changed = {path for path, data in files(made).items() if before[path] != data}
    assert changed == {Path("server.pem"), Path("server.key"), Path("README.md")}


@pytest.mark.parametrize("days", [729, 731])
def test_a_certificate_is_renewed_in_its_last_year(made, days):
    again = folder.make(made, ["localhost"], 8883, NOW + timedelta(days=days))
    assert again.certificate == (days > 730)
    assert again.until > NOW + timedelta(days=1_000)


def test_a_crash_between_key_and_certificate_is_mended(made, tmp_path):
    other = tmp_path / "other"
    folder.make(other, ["localhost"], 8883, NOW)
    (made / "server.key").write_bytes((other / "server.key").read_bytes())
    assert folder.make(made, ["localhost"], 8883, NOW).certificate


def test_the_authority_signs_no_other_authority_and_no_certificate_outlives_it(made):
    authority = certificates.Identity((made / "ca.key").read_bytes(), (made / "ca.pem").read_bytes())
    assert authority.loaded().extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    late = authority.loaded().not_valid_after_utc - timedelta(days=10)
    assert certificates.make_server(authority, ["a"], late).loaded().not_valid_after_utc == (
        authority.loaded().not_valid_after_utc
    )


@pytest.mark.parametrize("name", ["", "GATEWAY", "ab" * 31, "zz" * 32, "../x", "a:b", "gateway\n"])
def test_who_is_no_user_gets_no_password(made, name):
    before = files(made)
    with pytest.raises(OperatorError, match="no user of the broker"):
        folder.add_user(made, name)
    assert files(made) == before


def test_users_come_stay_and_go(made):
    path = folder.add_user(made, BOARD.upper())
    first = path.read_text()
    assert path.name == BOARD
    assert folder.add_user(made, BOARD).read_text() == first
    assert folder.add_user(made, BOARD, replace=True).read_text() != first
    folder.add_user(made, "owner")
    assert folder.users(made) == [BOARD, "owner"]
    assert folder.remove_user(made, BOARD)
    assert not folder.remove_user(made, BOARD)
    assert not path.exists()
    assert folder.users(made) == ["owner"]


def test_boards_and_gateway_log_in_at_listeners_of_their_own(made):
    for name in (BOARD, "gateway", "owner", "homeassistant"):
        folder.add_user(made, name)
    lists = {name: set(passwords.parse((made / name).read_text())) for name in ("passwd", "passwd-gateway")}
    assert lists == {"passwd": {BOARD, "owner", "homeassistant"}, "passwd-gateway": {"gateway", "owner"}}
    folder.remove_user(made, "owner")
    assert folder.users(made) == [BOARD, "gateway", "homeassistant"]


def test_a_set_up_with_one_list_is_parted_and_no_password_changes(made):
    sealed = {name: passwords.seal(name) for name in (BOARD, "gateway", "owner")}
    (made / "passwd").write_text(passwords.render(sealed))
    (made / "passwd-gateway").unlink()
    folder.make(made, ["localhost"], 8883, NOW, renew=True)
    assert passwords.parse((made / "passwd").read_text()) == {name: sealed[name] for name in (BOARD, "owner")}
    assert passwords.parse((made / "passwd-gateway").read_text()) == {
        name: sealed[name] for name in ("gateway", "owner")
    }


@pytest.mark.parametrize(
    ("host", "port", "address", "listener"),
    [
        ("localhost", 8883, "localhost:8884", "listener 8884 127.0.0.1"),
        (f"{socket.gethostname()}.local", 1883, "localhost:1884", "listener 1884 127.0.0.1"),
        ("broker.example", 65_535, "broker.example:65534", "listener 65534"),
        ("fd00::1", 8883, "[fd00::1]:8884", "listener 8884"),
    ],
)
def test_only_this_machine_reaches_the_gateways_listener_of_a_broker_here(tmp_path, host, port, address, listener):
    assert folder.gateway_address(host, port) == address
    folder.make(tmp_path / "broker", [host], port, NOW)
    lines = (tmp_path / "broker" / "mosquitto.conf").read_text().splitlines()
    assert [line for line in lines if line.startswith("listener")] == [f"listener {port}", listener]


def test_a_folder_that_is_not_there_or_damaged_is_named(tmp_path, made):
    with pytest.raises(OperatorError, match=r"nothing.*No such file.*broker renew"):
        folder.add_user(tmp_path / "nothing", BOARD)
    with pytest.raises(OperatorError, match=r"nothing.*No such file.*broker renew"):
        folder.users(tmp_path / "nothing")
    (made / "passwd").write_text("a line\n")
    with pytest.raises(OperatorError, match="line 1 of the broker's password file"):
        folder.add_user(made, BOARD)
    (made / "ca.key").write_text("no key")
    with pytest.raises(OperatorError, match="authority's key"):
        folder.make(made, ["other"], 8883, NOW)
    with pytest.raises(OperatorError, match="no host name"):
        folder.make(tmp_path / "new", ["a" * 70], 8883, NOW)


@given(st.text(min_size=1, max_size=40))
def test_a_hash_fits_its_password_alone(password):
    sealed = passwords.seal(password)
    assert passwords.fits(password, sealed)
    assert not passwords.fits(password + "x", sealed)
    assert passwords.parse(passwords.render({"gateway": sealed})) == {"gateway": sealed}


@given(st.text(max_size=200))
def test_any_password_file_is_read_or_refused(text):
    try:
        users = passwords.parse(text)
    except OperatorError:
        return
    assert passwords.parse(passwords.render(users)) == users


# With a real Mosquitto


@dataclass
class Serving:
    """Mosquitto with this set-up, but for the paths of the field."""

    place: Path
    running: RunningBroker
    gateway_port: int

    @property
    def port(self):
        return self.running.port

    def password(self, name):
        return (self.place / "passwords" / name).read_text().strip()


@pytest.fixture
def serving(made, tmp_path):
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed (apt-get install mosquitto)")
    for name in ("gateway", "owner", BOARD, OTHER):
        folder.add_user(made, name)
    port, gateway_port = free_port(), free_port()
    folder.make(made, ["localhost"], port, NOW, gateway=f"localhost:{gateway_port}")
    text = (made / "mosquitto.conf").read_text()
    assert text.count("/etc/mosquitto/trigpoint/") == 8
    text = text.replace("/etc/mosquitto/trigpoint/", f"{made}/").replace(f"listener {port}", f"listener {port} {HOST}")
    sessions = tmp_path / "sessions"
    sessions.mkdir(mode=0o777)
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"{text}\npersistence_location {sessions}/\nuser {os.environ.get('USER', 'root')}\n")
    running = RunningBroker(
        "mosquitto", port, [MOSQUITTO, "-c", str(config)], tmp_path / "mosquitto.log", (gateway_port,)
    )
    running.start()
    yield Serving(made, running, gateway_port)
    running.stop()


def connect(port, ca, name, password, host="localhost"):
    """Log in, and return the broker's answer."""
    answer = []
    done = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, f"test-{name[:8]}")
    client.username_pw_set(name, password)
    client.tls_set_context(ssl.create_default_context(cafile=ca))
    client.on_connect = lambda _client, _user, _flags, reason, _properties: (answer.append(str(reason)), done.set())
    client.connect(host, port)
    client.loop_start()
    assert done.wait(10)
    client.disconnect()
    client.loop_stop()
    return answer[0]


class Client:
    """A connection that notes what it hears, and whether it was ever ended from the other side."""

    def __init__(self, serving, port, name, client_id, *, password=None, topics=(), clean=True):
        self.heard, self.answer, self.ended = [], [], threading.Event()
        self._done = threading.Event()
        self.client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, clean_session=clean, reconnect_on_failure=False
        )
        client.username_pw_set(name, serving.password(name) if password is None else password)
        client.tls_set_context(ssl.create_default_context(cafile=serving.place / "ca.pem"))
        client.on_connect = lambda _client, _user, _flags, reason, _properties: self._connected(str(reason), topics)
        client.on_subscribe = lambda *_: self._done.set()
        client.on_message = lambda _client, _user, message: self.heard.append((message.topic, message.payload))
        client.on_disconnect = lambda *_: self.ended.set()
        client.connect("localhost", port)
        client.loop_start()
        assert self._done.wait(10)

    def _connected(self, answer, topics):
        self.answer.append(answer)
        if answer == "Success" and topics:
            self.client.subscribe([(topic, 1) for topic in topics])
        else:
            self._done.set()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def test_a_board_cannot_throw_off_another_nor_the_gateway(serving):
    """Mosquitto ends a connection when another comes with its client id, and takes over its session."""
    acks, statements = f"trig/1/{OTHER}/a", f"trig/1/{OTHER}/s"
    victim = Client(serving, serving.port, OTHER, OTHER, topics=[acks], clean=False)
    gateway = Client(
        serving, serving.gateway_port, "gateway", "trigpoint-gateway-1", topics=["trig/1/+/s"], clean=False
    )
    helpers = [
        Client(serving, serving.gateway_port, name, client_id)
        for name, client_id in (("gateway", "trigpoint-gateway-1-homeassistant"), ("owner", "a"), ("owner", "b"))
    ]
    own = serving.password(BOARD)
    attacks = [
        (serving.port, BOARD, OTHER, own, "Success"),
        (serving.port, BOARD, "trigpoint-gateway-1", own, "Success"),
        (serving.port, BOARD, "", own, "Success"),
        (serving.port, OTHER, OTHER, own, "Not authorized"),
        (serving.port, "gateway", "trigpoint-gateway-1", serving.password("gateway"), "Not authorized"),
        (serving.gateway_port, BOARD, OTHER, own, "Not authorized"),
        (serving.gateway_port, BOARD, "trigpoint-gateway-1", own, "Not authorized"),
    ]
    for port, name, client_id, password, answer in attacks:
        attacker = Client(serving, port, name, client_id, password=password)
        assert attacker.answer == [answer], (name, client_id)
        attacker.close()
    victim.client.publish(statements, b"after all", qos=1).wait_for_publish(10)
    gateway.client.publish(acks, b"heard", qos=1).wait_for_publish(10)
    deadline = time.monotonic() + 10
    while not (victim.heard and gateway.heard) and time.monotonic() < deadline:
        time.sleep(0.02)
    everybody = [victim, gateway, *helpers]
    assert not any(client.ended.is_set() for client in everybody)
    assert (victim.heard, gateway.heard) == ([(acks, b"heard")], [(statements, b"after all")])
    for client in everybody:
        client.close()


def test_mosquitto_takes_certificate_and_passwords(made, serving):
    good = {name: (made / "passwords" / name).read_text().strip() for name in ("gateway", BOARD)}
    for name, password in good.items():
        port = serving.gateway_port if name == "gateway" else serving.port
        assert connect(port, made / "ca.pem", name, password) == "Success"
        assert connect(port, made / "ca.pem", name, password, HOST) == "Success"
    for name, password in [("gateway", good[BOARD]), ("gateway", ""), ("owner", good["gateway"]), ("", "")]:
        assert connect(serving.port, made / "ca.pem", name, password) == "Not authorized"
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(serving.port, None, "gateway", good["gateway"])


def test_a_board_added_later_is_let_in_after_a_reload(made, serving):
    path = folder.add_user(made, "ef" * 32)
    # Once it answers, it also knows what SIGHUP means; before, that would end it.
    assert connect(serving.port, made / "ca.pem", path.name, path.read_text().strip()) == "Not authorized"
    serving.running.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while connect(serving.port, made / "ca.pem", path.name, path.read_text().strip()) != "Success":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_mosquittos_own_tool_writes_the_same_file(made, tmp_path):
    if (tool := os.environ.get("MOSQUITTO_PASSWD", "/usr/bin/mosquitto_passwd")) and not Path(tool).exists():
        pytest.skip("mosquitto_passwd is not installed (apt-get install mosquitto)")
    theirs = tmp_path / "theirs"
    subprocess.run([tool, "-c", "-b", str(theirs), "gateway", "a password"], check=True, capture_output=True)
    users = passwords.parse(theirs.read_text())
    assert passwords.fits("a password", users["gateway"])
    ours = passwords.seal("a password")
    assert [len(part) for part in ours.split("$")] == [len(part) for part in users["gateway"].split("$")]
