"""Who dawdles loses the connection, and who has too many gets no more: the API stays there for everybody else."""

import contextlib
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from apiserver import Journal, api
from statements import TestBoard
from trigpoint.api import connections
from trigpoint.broker import certificates
from trigpoint.wire.statement import Reading

BOARD = TestBoard(1)
ASKS = b"GET /v1/log HTTP/1.1\r\nHost: a\r\n"
LIMIT_S = 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    with contextlib.closing(Journal.at(folder / "trigpoint.db").connection) as connection:
        journal = Journal(connection)
        journal.enrol(BOARD)
        readings = [Reading(f"name-of-some-length-{number}", "Cel", 1, 0, 0) for number in range(100)]
        for _ in range(500):
            journal.store(BOARD, readings)
    return folder


@pytest.fixture
def address(folder, monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_S", LIMIT_S)
    with api(folder, public=["log", "readings"]) as client:
        host, _, port = client.url.removeprefix("http://").rpartition(":")
        yield host, int(port)


def ended_after(peer, drip=b""):
    """Send a byte of `drip` now and then; return in how many seconds the other side ended the connection."""
    started = time.monotonic()
    peer.settimeout(0.05)
    for byte in (drip[at : at + 1] for at in range(10_000)):
        with contextlib.suppress(TimeoutError):
            try:
                if byte:
                    peer.sendall(byte)
                if not peer.recv(65_536):
                    break
            except ConnectionError:
                break
        if time.monotonic() - started > 6 * LIMIT_S:
            return None
    return time.monotonic() - started


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"", ASKS * 10),
        (ASKS, b"x" * 10_000),
        (ASKS + b"\r\n" + ASKS, b"X-More: yes\r\n" * 1_000),
        (b"GET /v1/log HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n", b"x" * 5_000),
    ],
    ids=["silent", "head", "long-head", "second-head", "body"],
)
def test_a_request_that_does_not_come_to_its_end(address, first, drip):
    with socket.create_connection(address) as peer:
        peer.sendall(first)
        ended = ended_after(peer, drip)
    assert ended is not None and ended > 0.8 * LIMIT_S


def test_nobody_keeps_the_others_out(address):
    """More connections than the API takes at all, from a neighbour who says nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            peer = stack.enter_context(socket.create_connection(address, source_address=("127.0.0.2", 0)))
            with contextlib.suppress(ConnectionError):
                peer.sendall(ASKS)
        assert requests.get(f"http://{address[0]}:{address[1]}/v1/log", timeout=30).status_code == 200


@pytest.mark.parametrize(("trusted", "kept"), [([], 64), (["127.0.0.2"], 80)])
def test_one_address_has_its_share_and_a_proxy_what_it_needs(folder, trusted, kept):
    with api(folder, trusted_proxies=trusted, live_clients=0) as client, contextlib.ExitStack() as stack:
        host, _, port = client.url.removeprefix("http://").rpartition(":")
        source = ("127.0.0.2", 0)
        peers = [
            stack.enter_context(socket.create_connection((host, int(port)), source_address=source)) for _ in range(80)
        ]
        deadline = time.monotonic() + 10
        while len(open_ones := [peer for peer in peers if is_open(peer)]) > kept and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        assert len([peer for peer in open_ones if is_open(peer)]) == kept


def is_open(peer):
    peer.setblocking(False)
    try:
        return bool(peer.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_what_takes_long_to_answer_is_let_be(address):
    with socket.create_connection(address) as peer:
        peer.sendall(b"GET /v1/live?after=498 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert ended_after(peer) is None
    with requests.Session() as session:  # one connection, with pauses and more than one request in it
        for pause_s in (0, 3 * LIMIT_S, 0):
            time.sleep(pause_s)
            assert session.get(f"http://{address[0]}:{address[1]}/v1/log", timeout=30).status_code == 200


def is_established(port, peers_port):
    """Whether the server's end of a connection is open (proc_net_tcp: state 01)."""
    wanted = f":{port:04X}", f":{peers_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if (local[-5:], remote[-5:]) == wanted:
            return state == "01"
    return False


def test_who_does_not_read_the_answer_does_not_hold_it_up(address, monkeypatch):
    monkeypatch.setattr(connections, "STALL_S", LIMIT_S)
    whole = requests.get(f"http://{address[0]}:{address[1]}/v1/export.csv?board={BOARD.kid.hex()}", timeout=60).content
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        peer.connect(address)
        peer.sendall(f"GET /v1/export.csv?board={BOARD.kid.hex()} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        deadline = time.monotonic() + 30
        while is_established(address[1], peer.getsockname()[1]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        peer.settimeout(10)
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := peer.recv(1 << 20):
                got += piece
    assert got and not got.endswith(b"0\r\n\r\n")
    assert len(got) < len(whole)


def test_a_tls_handshake_that_does_not_come(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(connections, "HANDSHAKE_S", LIMIT_S)
    now = datetime.now(UTC)
    server = certificates.make_server(certificates.make_authority("test", now), ["127.0.0.1"], now)
    (tmp_path / "certificate").write_bytes(server.certificate)
    (tmp_path / "key").write_bytes(server.key)
    with api(folder, certificate_file=tmp_path / "certificate", certificate_key_file=tmp_path / "key") as client:
        host, _, port = client.url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port))) as peer:
            assert ended_after(peer) is not None
