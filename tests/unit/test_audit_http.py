"""The auditor's HTTP client against servers that lie, dawdle and never end; all of it over real sockets."""

import asyncio
import gzip
import http.server
import socket
import socketserver
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from publishedlog import entries, published
from samples import TRUST
from trigpoint.audit.auditor import Auditor
from trigpoint.audit.follow import Amount, FetchedTiles, head
from trigpoint.audit.source import ATTEMPTS, FetchError, HttpSource
from trigpoint.audit.store import Mirror
from trigpoint.errors import OperatorError
from trigpoint.log import tree
from trigpoint.log.merkle import leaf_hash, root_from_inclusion
from trigpoint.log.verified import VerifiedTiles

BODY = b"b" * 96


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


class Server(socketserver.ThreadingTCPServer):
    """Answers each connection's one request as `answer` says, and counts."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[socket.socket, str, int], None]) -> None:
        self.answer = answer
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/log"

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is what half of these tests are about."""


class Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            chunk = self.request.recv(4096)
            if not chunk:
                return
            asked += chunk
        path = asked.split(b" ")[1].decode()
        self.server.requests.append(path)
        self.server.answer(self.request, path, len(self.server.requests))


@contextmanager
def serving(answer: Callable[[socket.socket, str, int], None]) -> Iterator[Server]:
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def whole(data: bytes = BODY, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data


def sends(data: bytes) -> Callable[[socket.socket, str, int], None]:
    return lambda connection, path, number: connection.sendall(data)


def ask(server: Server, **options: float) -> bytes | None:
    with HttpSource(server.url, sleep=no_pause, **options) as source:  # type: ignore[arg-type]
        return source.get("tile/0/000", 96)


def test_what_is_there_and_what_is_not() -> None:
    for answer, wanted in (
        (whole(), BODY),
        (whole(b""), b""),
        (whole(status="404 Not Found"), None),
        (whole(status="410 Gone"), None),
        (whole(gzip.compress(BODY, mtime=0), headers="Content-Encoding: gzip\r\n"), BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n60\r\n" + BODY + b"\r\n0\r\n\r\n", BODY),
        (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, BODY),
    ):
        with serving(sends(answer)) as server:
            assert ask(server) == wanted
            assert server.requests == ["/log/tile/0/000"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (whole(BODY + b"x"), "larger than 96"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * 9_999, "larger than 96"),
        (whole(gzip.compress(bytes(10_000_000), mtime=0), headers="Content-Encoding: gzip\r\n"), "larger than"),
        (whole(gzip.compress(bytes(90), mtime=0)[:-3], headers="Content-Encoding: gzip\r\n"), "cut off"),
        (whole(b"no gzip", headers="Content-Encoding: gzip\r\n"), "not"),
        (whole(status="301 Moved", headers="Location: http://127.0.0.1:1/\r\n"), "redirects"),
        (whole(status="302 Found", headers="Location: file:///etc/passwd\r\n"), "redirects"),
        (whole(status="307 Temporary", headers="Location: /log/tile/0/001\r\n"), "redirects"),
        (whole(b"", status="304 Not Modified"), "redirects"),
        (whole(status="401 Unauthorized"), "401"),
        (whole(status="206 Partial Content"), "206"),
    ],
    ids=lambda value: "answer" if isinstance(value, bytes) else None,
)
def test_what_no_other_attempt_would_mend(answer: bytes, message: str) -> None:
    with serving(sends(answer)) as server:
        with pytest.raises(FetchError, match=message):
            ask(server)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 96\r\n\r\n" + BODY[:50],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n60\r\n" + BODY[:50],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        whole(status="500 Oops"),
        whole(status="503 Busy"),
        whole(status="429 Slow", headers="Retry-After: 1\r\n"),
    ],
)
def test_what_may_pass_is_tried_again_and_then_given_up(answer: bytes) -> None:
    with serving(sends(answer)) as server:
        with pytest.raises(FetchError, match=f"{ATTEMPTS} times"):
            ask(server)
        assert len(server.requests) in (ATTEMPTS, 2 * ATTEMPTS)  # aiohttp tries a cut connection once more by itself

    def second(connection: socket.socket, path: str, number: int) -> None:
        connection.sendall(answer if number < 3 else whole())

    with serving(second) as server:
        assert ask(server) == BODY
        assert len(server.requests) == 3


def test_pauses_grow_and_a_server_may_ask_for_longer_ones() -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    for headers, least, most in (("", 0.25, 4.0), ("Retry-After: 7\r\n", 7, 7), ("Retry-After: 99999\r\n", 30, 30)):
        pauses.clear()
        with (
            serving(sends(whole(status="503 Busy", headers=headers))) as server,
            HttpSource(server.url, sleep=pause) as source,
            pytest.raises(FetchError),
        ):
            source.get("checkpoint", 96)
        assert len(pauses) == ATTEMPTS - 1 and all(least <= seconds <= most for seconds in pauses)
        assert headers or pauses[-1] > pauses[0]


def drip(before: bytes, drop: bytes) -> Callable[[socket.socket, str, int], None]:
    def answer(connection: socket.socket, path: str, number: int) -> None:
        connection.sendall(before)
        while True:  # until the client hangs up
            time.sleep(0.02)
            connection.sendall(drop)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        drip(b"", b""),
        drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 96\r\n\r\n", b"b"),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["nothing", "headers", "body", "interim answers"],
)
def test_a_slow_drip_ends_with_the_time_for_one_answer(answer: Callable[[socket.socket, str, int], None]) -> None:
    with serving(answer) as server:
        started = time.monotonic()
        with pytest.raises(FetchError, match="times"):
            ask(server, response_s=0.2)
        assert time.monotonic() - started < 10


def test_all_that_is_asked_ends_with_the_deadline() -> None:
    with serving(drip(b"", b"")) as server:
        started = time.monotonic()
        with pytest.raises(FetchError, match="time is up"):
            ask(server, deadline_s=0.5)
        assert 0.4 < time.monotonic() - started < 10


def test_an_endless_body_is_cut_off_early() -> None:
    sent = 0

    def endless(connection: socket.socket, path: str, number: int) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent += connection.send(b"x" * 65_536)

    with serving(endless) as server:
        with pytest.raises(FetchError, match="larger than 96"):
            ask(server)
        time.sleep(0.1)
        assert sent < 50_000_000  # what the two sockets take in before the client hangs up


def test_a_packed_bomb_is_not_unpacked() -> None:
    bomb = whole(gzip.compress(bytes(50_000_000), 1, mtime=0), headers="Content-Encoding: gzip\r\n")
    with serving(sends(bomb)) as server, HttpSource(server.url, sleep=no_pause) as source:
        tracemalloc.start()
        with pytest.raises(FetchError, match="larger than"):
            source.get("checkpoint", 400_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10_000_000


def test_closing_ends_what_is_under_way() -> None:
    with serving(drip(b"", b"")) as server:
        source = HttpSource(server.url)
        ended: list[BaseException] = []

        def wait() -> None:
            try:
                source.get("checkpoint", 96)
            except BaseException as error:
                ended.append(error)

        with source:
            thread = threading.Thread(target=wait)
            thread.start()
            while not server.requests:
                time.sleep(0.01)
        thread.join(5)
        assert ended and not thread.is_alive()
        with pytest.raises(FetchError):
            source.get("checkpoint", 96)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "log",
        "http://[",
        "http://x:99999/",
        "http://x:0/",
        "http://x/a b",
        "http://é/",
        "http://x/\n",
        "ftp://x/",
        "http://",
        "https:///x",
        "http://x/?a",
        "http://x/#a",
        "http://u:p@x/",
        "http://u@x/",
    ],
)
def test_other_addresses(url: str) -> None:
    with pytest.raises(OperatorError) as raised:
        HttpSource(url)
    assert "u:p" not in str(raised.value)


def test_nobody_at_home() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with HttpSource(f"http://127.0.0.1:{port}", sleep=no_pause) as source, pytest.raises(FetchError, match="cannot"):
        source.get("checkpoint", 96)


def test_a_whole_audit_over_http_with_a_server_that_fails_now_and_then() -> None:
    files = published(entries(3_000))

    def flaky(connection: socket.socket, path: str, number: int) -> None:
        data = files.get(path.removeprefix("/log/"))
        if number % 3 == 1:
            connection.sendall((whole(status="502 Bad"), b"", whole(BODY)[:60])[number // 3 % 3])
        else:
            connection.sendall(whole(status="404 No") if data is None else whole(data))

    with serving(flaky) as server, HttpSource(server.url + "/", sleep=no_pause) as source:
        report = Auditor(source, TRUST).run()
    assert report.passed and report.amount.leaves == 3_000


def test_a_lie_ends_an_audit_at_once_while_other_answers_drip(tmp_path) -> None:
    files = published(entries(9_000))
    files["tile/0/000"] = bytes(8192)
    dripping = drip(b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n", b"b")

    def answer(connection: socket.socket, path: str, number: int) -> None:
        data = files.get(path.removeprefix("/log/"), b"")
        if len(data) == 8192 and path > "/log/tile/0/003":
            dripping(connection, path, number)
        else:
            time.sleep(0.1 if path.endswith("000") else 0)
            connection.sendall(whole(data))

    started = time.monotonic()
    with serving(answer) as server, HttpSource(server.url) as source:
        report = Auditor(source, TRUST, Mirror(tmp_path)).run()
        held = sorted(tmp_path.rglob("*"))
        assert time.monotonic() - started < 10
    assert not report.passed and "Tile 0 of level 0" in report.checks[3].detail
    assert sorted(tmp_path.rglob("*")) == held


def test_a_proof_over_http_takes_few_requests() -> None:
    """Nothing but a URL and trust.json: the checkpoint, and the tiles that the proof needs, each verified."""
    logged = entries(70_000)
    files = published(logged)
    with serving(lambda to, path, _: to.sendall(whole(files.get(path.removeprefix("/log/"), b"")))) as server:
        with HttpSource(server.url) as source:
            newest = head(source, TRUST.log_id, TRUST.log_key)
            tiles = VerifiedTiles(FetchedTiles(source, newest.size, Amount()), newest.size, newest.root)
            path = tree.inclusion_proof(tiles, 12_345, newest.size)
        assert len(server.requests) == 1 + 3 + 2
    assert root_from_inclusion(leaf_hash(logged[12_345]), 12_345, newest.size, path) == newest.root


def test_keep_alive_saves_connections(tmp_path) -> None:
    """A server of Python's own, which keeps connections: an audit takes no more of them than it works in parallel."""
    files = published(entries(5_000))
    connections = set()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_) -> None:
            connections.add(self.client_address)

    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: Quiet(*arguments, directory=str(tmp_path))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with HttpSource(f"http://127.0.0.1:{server.server_address[1]}") as source:
            assert Auditor(source, TRUST).run().passed
        server.shutdown()
        thread.join()
    assert len(connections) <= 17
