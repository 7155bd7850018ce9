"""The gateway as systemd's service: what the units say, and what the gateway and its manager tell each other."""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from brokers import free_port
from test_service import make
from trigpoint import config, service
from trigpoint.ingest.tally import Statistics

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "packaging/systemd"
WORST_EXPOSURE = 2.0  # systemd calls up to 2.0 "OK", its best word but one for a service with a network
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
RUN = [sys.executable, "-m", "trigpoint", "gateway", "run"]


@pytest.fixture
def analyze(tmp_path):
    """Runs systemd-analyze on copies of the units whose program and user exist on any machine."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (apt-get install systemd)")
    for unit in UNITS.iterdir():
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text())
        text = re.sub(r"(?m)^(User|Group)=.*$", r"\1=root", text)
        (tmp_path / unit.name).write_text(text)

    def run(*arguments):
        units = [str(tmp_path / unit.name) for unit in UNITS.iterdir() if unit.suffix in arguments]
        options = [argument for argument in arguments if not argument.startswith(".")]
        return subprocess.run([program, *options, *units], capture_output=True, text=True, check=False)

    return run


def test_systemd_takes_the_units(analyze):
    result = analyze("verify", "--man=no", ".service", ".socket")
    assert result.returncode == 0, result.stderr
    assert "trigpoint" not in result.stderr, result.stderr


def test_the_service_can_do_little_else(analyze):
    result = analyze("security", "--offline=true", "--no-pager", ".service")
    if "Unknown" in result.stderr or "unrecognized" in result.stderr:
        pytest.skip("this systemd cannot judge units offline")
    (exposure,) = re.findall(r"exposure level for \S+: ([0-9.]+)", result.stdout)
    assert float(exposure) <= WORST_EXPOSURE, result.stdout


class Manager:
    """Plays the service manager: hears at once what the service tells."""

    def __init__(self, directory):
        self.address = str(directory / "notify")
        self.heard = []
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        with self._socket:
            while message := self._socket.recv(4096).decode():
                with self._changed:
                    self.heard.append(message)
                    self._changed.notify_all()

    def wait(self, wanted, timeout_s=60):
        """Wait until `wanted` has been said, and return what was said up to there, which is forgotten."""
        with self._changed:
            assert self._changed.wait_for(lambda: wanted in self.heard, timeout_s), self.heard
            position = self.heard.index(wanted) + 1
            said, self.heard = self.heard[:position], self.heard[position:]
        return said

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"", self.address)


@pytest.fixture
def manager(tmp_path):
    playing = Manager(tmp_path)
    yield playing
    playing.close()


def refuse_new_code():
    """Do to the process and its children what MemoryDenyWriteExecute=yes does, as far as the kernel can by itself."""
    ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)


@pytest.fixture
def with_api(tmp_path, embedded_broker, contracts):
    """A gateway's directory with the API at a free port."""
    make(tmp_path / "gw", contracts, embedded_broker.port)
    file = tmp_path / "gw" / "gateway.toml"
    port = free_port()
    text, count = re.subn(r'(\[api\]\n(?:#.*\n)*)listen = ""', rf'\1listen = "127.0.0.1:{port}"', file.read_text())
    assert count == 1
    file.write_text(text)
    return tmp_path / "gw", port


def start(directory, manager, *, listener=None, watchdog_s=4):
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(watchdog_s * 1_000_000)}
    command = [*RUN, str(directory)]
    if listener is not None:
        # systemd knows the process's id before the program starts; here a shell does, which becomes the program.
        script = f'exec 3<&{listener.fileno()}; LISTEN_FDS=1 LISTEN_FDNAMES=api LISTEN_PID=$$ exec "$@"'
        command = ["bash", "-c", script, "bash", *command]
    log = (directory / "log").open("ab")
    return subprocess.Popen(
        command,
        env=environment,
        stdout=log,
        stderr=log,
        pass_fds=[listener.fileno()] if listener else (),
        preexec_fn=refuse_new_code,
    )


def test_the_manager_is_told_and_no_client_is_refused_while_it_is_started_again(with_api, manager):
    directory, port = with_api
    answers, failures, stop = [], [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/checkpoint", timeout=120) as answer:
                    answers.append(answer.status)
            except OSError as error:
                failures.append(error)
            time.sleep(0.05)

    def wait_answers(number):
        deadline = time.monotonic() + 120
        while len(answers) < number and not failures and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not failures, (failures, (directory / "log").read_text())
        assert len(answers) >= number

    with socket.create_server(("127.0.0.1", port), backlog=512) as listener:
        process = start(directory, manager, listener=listener)
        client = threading.Thread(target=ask)
        try:
            assert manager.wait("READY=1", 120) == ["READY=1"]
            client.start()
            heard = manager.wait("WATCHDOG=1", 30)
            assert any(re.fullmatch(r"STATUS=0\.0 statements/s, 0 of \d+ queued", message) for message in heard)
            wait_answers(3)
            process.terminate()
            assert process.wait(60) == 0, (directory / "log").read_text()
            manager.wait("STOPPING=1", 5)
            before = len(answers)
            process = start(directory, manager, listener=listener)
            manager.wait("READY=1", 120)
            wait_answers(before + 3)
        finally:
            stop.set()
            client.join(120)
            process.terminate()
            process.wait(60)
    assert not failures


class TestIngestMoves:
    def statistics(self, **changes):
        fields = dict.fromkeys(Statistics.__dataclass_fields__, 0)
        return Statistics(**{**fields, "by_reason": {"accepted": 3}, "refusing_since": None, **changes})

    def test_idle_is_well(self):
        assert service.moves(self.statistics(), self.statistics())

    def test_work_that_is_done_is_well(self):
        assert service.moves(self.statistics(queued=9), self.statistics(queued=9, by_reason={"accepted": 3, "gap": 1}))

    def test_work_that_only_waits_is_not(self):
        assert not service.moves(self.statistics(queued=9), self.statistics(queued=9))
        assert not service.moves(self.statistics(checking=9), self.statistics(checking=9))

    def test_a_disk_that_refuses_is_no_reason_to_start_again(self):
        assert service.moves(self.statistics(queued=9), self.statistics(queued=9, refusing_since=1.0))


@pytest.mark.soak
def test_the_system_calls_of_a_gateway_are_those_that_the_unit_allows(with_api, manager, tmp_path):
    strace, analyzer = shutil.which("strace"), shutil.which("systemd-analyze")
    if strace is None or analyzer is None:
        pytest.skip("strace or systemd-analyze is not installed")
    directory, port = with_api
    trace = tmp_path / "trace"
    process = subprocess.Popen(
        [strace, "-f", "-qq", "-o", str(trace), *RUN, str(directory)],
        env={**os.environ, "NOTIFY_SOCKET": manager.address},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        manager.wait("READY=1", 240)
        time.sleep(20)
        urllib.request.urlopen(f"http://127.0.0.1:{port}/checkpoint", timeout=60).close()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(120)
    used = set(re.findall(r"(?m)^\d+ +([a-z_0-9]+)\(", trace.read_text(errors="replace")))
    allowed = allowed_calls(analyzer, "@system-service") - allowed_calls(analyzer, "@privileged")
    assert len(used) > 30
    if os.geteuid() == 0:
        used.discard("fchown")  # SQLite gives its files' owner to those beside them, but only where it runs as root
    # systemd itself allows execve and what it needs to start a program.
    assert used <= allowed | {"execve", "arch_prctl", "set_tid_address", "rseq"}, used - allowed


def allowed_calls(analyzer, name):
    """Return the calls of a set of systemd's, with those of the sets in it."""
    listed = subprocess.run([analyzer, "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    found = set()
    for line in listed.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= allowed_calls(analyzer, word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def test_the_socket_and_the_configuration_agree():
    address = re.search(r"(?m)^ListenStream=(.*)$", (UNITS / "trigpoint-gateway.socket").read_text())[1]
    assert config.Api(listen=address).listen in (ROOT / "docs/operating.md").read_text()
