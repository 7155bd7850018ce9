"""How the gateway speaks to its service manager and to whoever reads its log; and how it knows that it still works."""

import io
import json
import logging
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint import logs
from trigpoint.config import Logging
from trigpoint.systemd import Notifier, listening_sockets
from trigpoint.watchdog import Watchdog


@pytest.fixture(autouse=True)
def logging_as_before():
    """Leave the root logger as pytest needs it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's socket and its address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        if request.param == "path":
            address = str(tmp_path / "notify")
            receiver.bind(address)
        else:
            receiver.bind("")  # the system chooses a name in the abstract namespace
            address = "@" + receiver.getsockname()[1:].decode()
        receiver.settimeout(5)
        yield receiver, address


def test_the_manager_hears_what_is_told(manager):
    receiver, address = manager
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7", "HOME": "/"}
    notifier = Notifier.of(environment, 7)
    assert environment == {"HOME": "/"}
    assert notifier.watchdog_s == 30
    for tell in (notifier.ready, lambda: notifier.status("two\nlines"), notifier.alive, notifier.stopping):
        tell()
    heard = [receiver.recv(100) for _ in range(4)]
    assert heard == [b"READY=1", b"STATUS=two lines", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "1000000"}, 1.0),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
    ],
)
def test_without_a_manager_nothing_is_told(environment, watchdog_s):
    notifier = Notifier.of(environment, 7)
    notifier.ready()
    assert notifier.watchdog_s == watchdog_s


def test_a_manager_that_does_not_listen_is_passed_over(tmp_path, monkeypatch):
    Notifier(str(tmp_path / "nobody")).alive()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(tmp_path / "full"))
        monkeypatch.setattr("trigpoint.systemd._PATIENCE_S", 0.001)
        for _ in range(600):  # more than its queue holds: a sender that waits would never come back
            Notifier(str(tmp_path / "full")).ready()


def test_the_manager_is_not_told_more_than_it_needs(manager):
    receiver, address = manager
    now = [0.0]
    notifier = Notifier(address, 60, lambda: now[0])
    heard = []
    for second in range(100):
        now[0] = second
        notifier.alive()
        notifier.status("all is well")
        if second % 10 == 0:
            notifier.ready()
            while not heard or heard[-1] != b"READY=1":
                heard.append(receiver.recv(100))
            heard.pop()
    assert heard.count(b"STATUS=all is well") == 1
    assert heard.count(b"WATCHDOG=1") == 7


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, {}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "api:metrics"}, {"api": 3, "metrics": 4}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "api:api"}, {"api": 3}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "1"}, {"unknown": 3}),
        ({"LISTEN_PID": "8", "LISTEN_FDS": "1"}, {}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "-1"}, {}),
        ({"LISTEN_FDS": "1"}, {}),
    ],
)
def test_sockets_that_were_handed_over(environment, found):
    assert listening_sockets(environment, 7) == found


def test_only_a_part_that_hangs_is_stalled():
    now = [0.0]
    watchdog = Watchdog(lambda: now[0])
    quick, slow = watchdog.watch("quick", 10), watchdog.watch("slow", 100)
    now[0] = 10
    assert watchdog.stalled() == {}
    now[0] = 11
    assert watchdog.stalled() == {"quick": 11}
    assert [watchdog.newly_stalled(), watchdog.newly_stalled()] == [{"quick"}, set()]
    quick()
    assert watchdog.stalled() == {}
    assert watchdog.newly_stalled() == set()
    now[0] = 22
    assert watchdog.newly_stalled() == {"quick"}
    now[0] = 150
    slow()
    assert watchdog.stalled() == {"quick": 139}


@given(st.text(), st.sampled_from(["debug", "info", "warning", "error"]))
def test_each_line_of_json_is_one_event(text, level):
    stream = io.StringIO()
    logs.start(Logging(format="json", level=level), stream)
    logging.getLogger("trigpoint.test").error("said %s", text)
    logging.getLogger("urllib3").warning("http://node/secret-token")
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("trigpoint.test").exception("failed")
    said, failed = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (said["level"], said["logger"], said["message"]) == ("error", "trigpoint.test", f"said {text}")
    assert said["time"].endswith("Z")
    assert "ValueError" in failed["trace"]


@given(st.text())
def test_each_event_is_one_line_of_text_that_no_stranger_can_forge(text):
    stream = io.StringIO()
    logs.start(Logging(format="text"), stream)
    logging.getLogger("trigpoint.test").warning("topic=%s", f"a\n2026-01-01 INFO trigpoint: forged\x1b[2J{text}")
    said = stream.getvalue()
    assert said.endswith("\n") and said[:-1].isprintable()
    assert "topic=a\\n2026-01-01 INFO trigpoint: forged\\x1b[2J" in said


def test_a_level_leaves_out_what_is_below_it():
    stream = io.StringIO()
    logs.start(Logging(level="warning"), stream)
    logging.getLogger("trigpoint.test").info("little")
    logging.getLogger("trigpoint.test").warning("much")
    assert stream.getvalue().endswith("WARNING trigpoint.test: much\n")
    assert stream.getvalue().count("\n") == 1
