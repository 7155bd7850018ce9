"""SNTP: the bytes, a server that lies, and the order of NTP and TLS on the whole board."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from boardrunner import BoardError, BoardProcess, run
from hypothesis import given
from hypothesis import strategies as st

NONCE = bytes(range(8))
TO_1970 = 2_208_988_800


def answer(
    nonce: bytes,
    unix_ms: int,
    *,
    leap: int = 0,
    version: int = 4,
    mode: int = 4,
    stratum: int = 2,
    code: bytes = b"GPS\0",
) -> bytes:
    seconds, ms = divmod(unix_ms + TO_1970 * 1000, 1000)
    # Rounded up: the fraction's 233 ps are cut off on the way back.
    fraction = -(-(ms << 32) // 1000)
    head = bytes((leap << 6 | version << 3 | mode, stratum, 6, 0xE9))
    return head + bytes(8) + code + bytes(8) + nonce + bytes(8) + struct.pack(">II", seconds % 2**32, fraction)


class Server:
    """Answers each request with what `make` returns: any number of datagrams."""

    def __init__(self, make: Callable[[bytes], list[bytes]]) -> None:
        self.make = make
        self.requests: list[bytes] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                data, sender = self.socket.recvfrom(200)
            except OSError:
                return
            self.requests.append(data)
            for datagram in self.make(data[40:48]):
                self.socket.sendto(datagram, sender)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(lambda nonce: [answer(nonce, time.time_ns() // 1_000_000)])
    yield made
    made.socket.close()


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess("from trig.ntp import parse, request", heap="600k") as process:
        yield process


# -- the bytes


@given(st.integers(0, 2_085_978_495_999 + 2**31 * 1000 - 1))
def test_time_is_read_in_both_eras(board: BoardProcess, unix_ms: int) -> None:
    """From 1970 to 2104; the count of seconds wraps in February 2036."""
    if unix_ms < (2**31 - TO_1970) * 1000:
        return
    assert board.call("parse", answer(NONCE, unix_ms), NONCE) == unix_ms


def test_request_says_nothing_but_its_nonce(board: BoardProcess) -> None:
    assert board.call("request", NONCE) == b"\x23" + bytes(39) + NONCE


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (answer(NONCE, 10**12)[:47], "answer of 47 bytes"),
        (answer(bytes(8), 10**12), "answer to another request"),
        (answer(NONCE, 10**12, mode=3), "not an answer of a server"),
        (answer(NONCE, 10**12, mode=5), "not an answer of a server"),
        (answer(NONCE, 10**12, version=0), "not an answer of a server"),
        (answer(NONCE, 10**12, leap=3), "server does not know the time"),
        (answer(NONCE, 10**12, stratum=16), "server does not know the time"),
        (answer(NONCE, 10**12, stratum=0, code=b"RATE"), "server refuses: RATE"),
        (answer(NONCE, 10**12, stratum=0, code=b"\0\xff\n "), "server refuses: ????"),
        (answer(NONCE, -TO_1970 * 1000), "answer without a time"),
    ],
)
def test_what_is_no_time_is_refused(board: BoardProcess, data: bytes, why: str) -> None:
    with pytest.raises(BoardError) as caught:
        board.call("parse", data, NONCE)
    assert (caught.value.kind, caught.value.text) == ("NtpError", why)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_time_or_an_ntp_error(board: BoardProcess, data: bytes) -> None:
    try:
        board.call("parse", data, NONCE)
    except BoardError as error:
        assert error.kind == "NtpError", error


# -- the exchange

_ASK = """
import asyncio, os
from trig.ntp import Ntp

class Clock:
    taken = []
    def take_ntp(self, time_ms):
        self.taken.append(time_ms)
        return True

ntp = Ntp("127.0.0.1", %d, Clock(), os.urandom)
moved = asyncio.run(ntp.ask())
print(moved, ntp.error, Clock.taken)
"""


def test_forged_answers_do_not_keep_the_true_one_out(server: Server) -> None:
    true = 1_700_000_000_000
    server.make = lambda nonce: [answer(bytes(8), 1), b"", answer(nonce, true, stratum=0), answer(nonce, true)]
    moved, taken = run(_ASK % server.port).split(" ", 1)
    assert moved == "True" and 0 <= json.loads(taken)[0] - true < 100


def test_silent_server_is_named_in_time(server: Server) -> None:
    server.make = lambda nonce: []
    began = time.monotonic()
    assert run(_ASK % server.port) == "False no answer in time []\n"
    assert time.monotonic() - began < 5
    server.make = lambda nonce: [answer(nonce, 10**12, leap=3)]
    assert run(_ASK % server.port) == "False server does not know the time []\n"


def test_server_is_asked_once_joined_and_again_after_a_failure(server: Server) -> None:
    server.make = lambda nonce: [answer(nonce, 10**12, leap=3 if len(server.requests) == 1 else 0)]
    code = """
import asyncio, os
from trig.ntp import Ntp
class Clock:
    taken = 0
    def take_ntp(self, time_ms):
        Clock.taken += 1
        return True
async def main():
    ntp = Ntp("127.0.0.1", %d, Clock(), os.urandom)
    moves = []
    task = asyncio.create_task(ntp.run(lambda: moves.append(1)))
    await asyncio.sleep_ms(100)
    assert not ntp.tried.is_set()
    ntp.joined()
    await asyncio.wait_for(ntp.tried.wait(), 5)
    assert ntp.error and not moves
    await asyncio.sleep_ms(500)
    ntp.joined()
    await asyncio.sleep_ms(300)
    assert not ntp.error and moves == [1]
    ntp.joined()
    await asyncio.sleep_ms(300)
    assert moves == [1], "a new network is no reason to ask again"
asyncio.run(main())
"""
    run(code % server.port)
    assert len(server.requests) == 2 and len({data[40:] for data in server.requests}) == 2
