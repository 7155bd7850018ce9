"""The API as a process: killed it comes back, with the gateway it ends; its socket, its tokens and its TLS."""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
import requests
from apiserver import Client, Journal, free_port
from statements import TestBoard
from trigpoint import keyfiles
from trigpoint.api.process import ApiProcess, check, listen
from trigpoint.api.served import Served
from trigpoint.broker import certificates
from trigpoint.cli import app
from trigpoint.config import Api, Logging
from trigpoint.errors import OperatorError
from trigpoint.init import Answers, create, create_keys
from trigpoint.wire.statement import Reading
from typer.testing import CliRunner


@pytest.fixture
def served(tmp_path):
    journal = Journal.at(tmp_path / "trigpoint.db")
    journal.enrol(TestBoard(1))
    journal.store(TestBoard(1), [Reading("a", "Cel", 1, 0, 0)])
    journal.connection.close()
    keyfiles.create_log_key(tmp_path / "log.key")
    return Served(
        Api(listen=f"127.0.0.1:{free_port()}"),
        Logging(),
        tmp_path / "trigpoint.db",
        tmp_path / "public",
        tmp_path / "tokens.json",
        tmp_path / "log.key",
    )


def children_that_serve(pid):
    """The processes that this one started to serve."""
    listed = subprocess.check_output(["ps", "-ww", "--ppid", str(pid), "-o", "pid=", "-o", "args="], text=True)
    return [int(line.split()[0]) for line in listed.splitlines() if "spawn_main" in line]


def gone(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.05)
    assert found
    return found


def test_killed_it_comes_back_and_nobody_is_refused(served):
    process = ApiProcess(served, listen(served.settings.listen))
    process.start()
    client = Client(process.url)
    try:
        assert client.get("/v1/log").json()["statements"] == 1
        (child,) = multiprocessing.active_children()
        assert os.getpriority(os.PRIO_PROCESS, child.pid) > os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.kill(child.pid, signal.SIGKILL)
        assert client.get("/v1/log").status_code == 200  # it waits in the socket's queue
        (other,) = multiprocessing.active_children()
        assert other.pid != child.pid
    finally:
        process.stop()
    assert not multiprocessing.active_children()
    with pytest.raises(requests.ConnectionError):
        client.get("/v1/log")


_GATEWAY = """
import sys, time
from pathlib import Path
from trigpoint.api.process import ApiProcess, listen
from trigpoint.api.served import Served
from trigpoint.config import Api, Logging
folder = Path(sys.argv[1])
served = Served(Api(listen=sys.argv[2]), Logging(), *(folder / name for name in sys.argv[3:]))
ApiProcess(served, listen(sys.argv[2])).start()
time.sleep(60)
"""


def test_it_ends_with_a_gateway_that_was_killed(served, tmp_path):
    names = ("trigpoint.db", "public", "tokens.json", "log.key")
    gateway = subprocess.Popen([sys.executable, "-c", _GATEWAY, tmp_path, served.settings.listen, *names])
    try:
        wait_for(lambda: _answers(served))
        (child,) = children_that_serve(gateway.pid)
        gateway.kill()
        gateway.wait()
        wait_for(lambda: gone(child))
        with listen(served.settings.listen):
            pass  # the address is free again
    finally:
        gateway.kill()
        gateway.wait()


def _answers(served):
    with contextlib.suppress(requests.ConnectionError):
        return Client(f"http://{served.settings.listen}").get("/v1/log").status_code == 200


def test_tls_and_what_is_no_certificate(served, tmp_path):
    now = datetime.now(UTC)
    authority = certificates.make_authority("test", now)
    server = certificates.make_server(authority, ["127.0.0.1"], now)
    for name, content in (("ca.pem", authority.certificate), ("cert.pem", server.certificate), ("key.pem", server.key)):
        (tmp_path / name).write_bytes(content)
    files = {"certificate_file": tmp_path / "cert.pem", "certificate_key_file": tmp_path / "key.pem"}
    secured = Served(served.settings.model_copy(update=files), *list(vars(served).values())[1:])
    check(secured)
    process = ApiProcess(secured, listen(secured.settings.listen))
    process.start()
    try:
        assert process.url.startswith("https://")
        assert requests.get(process.url + "/v1/log", verify=str(tmp_path / "ca.pem"), timeout=60).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(process.url + "/v1/log", timeout=60)
    finally:
        process.stop()
    (tmp_path / "key.pem").write_bytes(authority.key)
    with pytest.raises(OperatorError, match="certificate_key_file"):
        check(secured)


def test_an_address_that_is_taken_is_named(served):
    with listen(served.settings.listen), pytest.raises(OperatorError, match=r"api\.listen"):
        listen(served.settings.listen)


@pytest.fixture
def gateway(tmp_path, served):
    """A gateway's directory, whose database is there already."""
    directory = tmp_path / "gw"
    create_keys(directory)
    config = create(directory, Answers(broker_host="127.0.0.1", broker_port=1883, broker_tls=False))
    config.data.mkdir(exist_ok=True)
    served.database.rename(config.database)
    text = (directory / "gateway.toml").read_text()
    head, _, tail = text.partition("[api]\n")
    tail = tail.replace('\nlisten = ""', f'\nlisten = "{served.settings.listen}"', 1)
    (directory / "gateway.toml").write_text(f"{head}[api]\n{tail}")
    return directory


def test_serve_takes_the_socket_of_the_service_manager_and_tokens_of_the_command(gateway, served):
    run = CliRunner().invoke
    made = run(app, ["gateway", "token", "new", str(gateway), "grafana", "--scope", "readings", "--json"])
    token = json.loads(made.stdout)["token"]
    listed = json.loads(run(app, ["gateway", "token", "ls", str(gateway), "--json"]).stdout)["tokens"]
    assert [(one["name"], one["scopes"]) for one in listed] == [("grafana", ["readings"])]
    assert token not in run(app, ["gateway", "token", "ls", str(gateway)]).stdout
    assert stat.S_IMODE((gateway / "data" / "tokens.json").stat().st_mode) == 0o600
    refused = run(app, ["gateway", "token", "new", str(gateway), "x", "--scope", "everything"])
    assert isinstance(refused.exception, OperatorError) and "readings" in str(refused.exception)

    # As systemd does it: the socket is open before the service is, at an address that only the manager knows.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script = f'LISTEN_PID=$$ exec "$@" 3<&{listener.fileno()}'
        environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "api"}
        api = subprocess.Popen(
            ["bash", "-c", script, "sh", sys.executable, "-m", "trigpoint", "gateway", "serve", gateway],
            pass_fds=[listener.fileno()],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", token)
            assert client.get("/v1/statements/0").json()["seq"] == 0
            assert api.stdout.readline().startswith("ready: api: http://")
            assert run(app, ["gateway", "token", "rm", str(gateway), "grafana"]).exit_code == 0
            assert client.get("/v1/statements/0").status_code == 401
            api.send_signal(signal.SIGTERM)
            assert api.wait(10) in (0, -signal.SIGTERM)
        finally:
            api.kill()
            api.wait()


def test_serve_says_what_is_missing(gateway):
    text = (gateway / "gateway.toml").read_text()
    head, _, tail = text.partition("[api]\n")
    start = tail.index("\nlisten = ")
    off = tail[:start] + '\nlisten = ""' + tail[tail.index("\n", start + 1) :]
    (gateway / "gateway.toml").write_text(f"{head}[api]\n{off}")
    refused = CliRunner().invoke(app, ["gateway", "serve", str(gateway)])
    assert isinstance(refused.exception, OperatorError) and "api.listen" in str(refused.exception)
