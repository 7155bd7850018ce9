"""A JSON-RPC proxy of our own between a gateway and Anvil, that breaks what passes through it on demand."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest
from anvil import Contracts
from trigpoint.chain.http import HttpNode

Answer = dict[str, Any]


class FaultyNode(ThreadingHTTPServer):
    """Passes each question on to a real node, and its answer back, over real HTTP.

    Attributes:
        lie: may change an answer: (method, parameters, answer) -> answer.
        down: whether to close each connection without a word.
        drip_s: seconds between two bytes of an answer; None sends it at once.
        drip_head: whether the status line and headers drip too.
        pad: bytes of white space put before each answer, which JSON allows.
        asked: the methods asked for.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = HttpNode(upstream)
        self.asked: list[str] = []
        self.heal()

    def heal(self) -> None:
        """Break nothing from now on."""
        self.lie: Callable[[str, Any, Answer], Answer] = lambda method, parameters, answer: answer
        self.down = False
        self.drip_s: float | None = None
        self.drip_head = False
        self.pad = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/secret-token"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Whoever was cut off in the middle of an answer is gone."""

    def answer(self, question: Answer) -> Answer:
        """Ask the real node."""
        self.asked.append(question["method"])
        answer: Answer = dict(self.upstream.make_request(question["method"], question["params"]))
        return self.lie(question["method"], question["params"], {**answer, "id": question["id"]})


class _Handler(BaseHTTPRequestHandler):
    server: FaultyNode
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.down:
            self.close_connection = True
            return
        body = b" " * self.server.pad + json.dumps(self.server.answer(question)).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        if self.server.drip_s is None:
            self.wfile.write(head + body)  # in one piece, or the other side's delayed ACK would cost 40 ms each time
            return
        if not self.server.drip_head:
            self.wfile.write(head)
        for byte in body if not self.server.drip_head else head + body:
            if self.server.drip_s is None:
                return
            self.wfile.write(bytes([byte]))
            time.sleep(self.server.drip_s)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def faulty(contracts: Contracts) -> Iterator[FaultyNode]:
    """A faulty node before the session's Anvil."""
    with FaultyNode(contracts.chain.url) as node:
        yield node
