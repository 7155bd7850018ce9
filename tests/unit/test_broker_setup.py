"""The broker's set-up: made once, added to, renewed; and what a real Mosquitto with TLS makes of it."""

import os
import signal
import ssl
import stat
import subprocess
import threading
import time
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
BOARD = "ab" * 32


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
    for name in ("ca.key", "server.key", "passwd", f"passwords/{BOARD}"):
        assert mode(made / name) == 0o600, name
    assert mode(made) == mode(made / "passwords") == 0o700


def test_made_again_only_what_has_to_change_changes(made):
    folder.add_user(made, "gateway")
    before = files(made)
    again = folder.make(made, ["localhost"], 8883, NOW + timedelta(days=100))
    assert not again.authority
    assert not again.certificate
    assert files(made) == before
    later = folder.make(made, ["broker.example"], 8883, NOW + timedelta(days=101))
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


@pytest.fixture
def serving(made, tmp_path):
    """Mosquitto with this set-up, but for the paths of the field."""
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed (apt-get install mosquitto)")
    for name in ("gateway", BOARD):
        folder.add_user(made, name)
    port = free_port()
    text = (made / "mosquitto.conf").read_text()
    assert text.count("/etc/mosquitto/trigpoint/") == 4
    text = text.replace("/etc/mosquitto/trigpoint/", f"{made}/").replace("listener 8883", f"listener {port} {HOST}")
    sessions = tmp_path / "sessions"
    sessions.mkdir(mode=0o777)
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"{text}\npersistence_location {sessions}/\nuser {os.environ.get('USER', 'root')}\n")
    running = RunningBroker("mosquitto", port, [MOSQUITTO, "-c", str(config)], tmp_path / "mosquitto.log")
    running.start()
    yield running
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


def test_mosquitto_takes_certificate_and_passwords(made, serving):
    good = {name: (made / "passwords" / name).read_text().strip() for name in ("gateway", BOARD)}
    for name, password in good.items():
        assert connect(serving.port, made / "ca.pem", name, password) == "Success"
        assert connect(serving.port, made / "ca.pem", name, password, HOST) == "Success"
    for name, password in [("gateway", good[BOARD]), ("gateway", ""), ("owner", good["gateway"]), ("", "")]:
        assert connect(serving.port, made / "ca.pem", name, password) == "Not authorized"
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(serving.port, None, "gateway", good["gateway"])


def test_a_board_added_later_is_let_in_after_a_reload(made, serving):
    path = folder.add_user(made, "cd" * 32)
    # Once it answers, it also knows what SIGHUP means; before, that would end it.
    assert connect(serving.port, made / "ca.pem", path.name, path.read_text().strip()) == "Not authorized"
    serving.process.send_signal(signal.SIGHUP)
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
