"""An emulated board's way to the network, and what waiting for it costs."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from emulated import Make, make
from trigpoint_tools.emulator.board import EmulatedBoard

__all__ = ["make"]

CONNECT = """
import asyncio, network, socket, ssl, time
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect('home', 'secret')
while not wlan.isconnected(): time.sleep_ms(10)
"""


@contextmanager
def echo_server(wrap: Callable[[socket.socket], socket.socket] = lambda s: s) -> Iterator[tuple[int, threading.Event]]:
    """Serve one connection; the event says that it has ended."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            connection, _ = server.accept()
            with wrap(connection) as stream:
                while data := stream.recv(100):
                    stream.sendall(data)
            ended.set()

        threading.Thread(target=echo, daemon=True).start()
        yield server.getsockname()[1], ended


def wake_ups(board: EmulatedBoard) -> int:
    assert board._process is not None
    status = Path(f"/proc/{board._process.pid}/status")
    if not status.exists():
        pytest.skip("no /proc on this system")
    return int(status.read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def wake_ups_in_a_second(board: EmulatedBoard) -> int:
    before = wake_ups(board)
    time.sleep(1)
    return wake_ups(board) - before


def test_an_idle_board_costs_nothing(make: Make) -> None:
    board = make(main="import asyncio\nprint('idle')\nasyncio.run(asyncio.ThreadSafeFlag().wait())\n")
    board.start()
    board.wait_for("idle")
    assert wake_ups_in_a_second(board) <= 5


def test_connections_stand_still_without_wifi_and_end_with_the_power(make: Make) -> None:
    with echo_server() as (port, ended):
        board = make(
            main=f"""
import socket
try:
    socket.getaddrinfo('127.0.0.1', 80)
except OSError as e:
    print('no way', e)
import time
start = time.ticks_ms()
{CONNECT}
print('took', time.ticks_diff(time.ticks_ms(), start), wlan.config('mac').hex(), wlan.status('rssi'))
async def main():
    reader, writer = await asyncio.open_connection('127.0.0.1', {port})
    n = 0
    while True:
        writer.write(b'%d\\n' % n)
        await writer.drain()
        print('echo', int(await reader.readline()))
        n += 1
        await asyncio.sleep_ms(20)
asyncio.run(main())
"""
        )
        board.start()
        board.wait_for("echo 3")
        assert board.console[0] == "no way -202"
        took, mac, rssi = board.console[1].split()[1:]
        assert int(took) >= 200
        assert (mac, rssi) == (board.mac.hex(), "-61")
        board.wifi(False)
        time.sleep(0.3)
        stood_at = len(board.console)
        time.sleep(0.3)
        assert len(board.console) == stood_at
        board.wifi(True)
        board.wait_for(f"echo {stood_at + 5}")
        echoes = [int(line.split()[1]) for line in board.console if line.startswith("echo")]
        assert echoes == list(range(len(echoes)))  # nothing was lost or doubled on the way
        assert not ended.is_set()
        board.cut()
        assert ended.wait(5)


def test_nobody_there_and_no_such_name(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    printed = make().exec(
        CONNECT
        + f"""
async def main():
    try:
        await asyncio.open_connection('no.such.name.invalid', 1883)
    except OSError as e:
        print(e.errno)
    reader, writer = await asyncio.open_connection('127.0.0.1', {port})
    try:
        print(await reader.read(1))
    except OSError as e:
        print(b'')
asyncio.run(main())
"""
    )
    assert printed == "-202\nb''\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + datetime.timedelta(days=9000))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, certificate.public_bytes(serialization.Encoding.DER)


def test_tls_works_and_costs_nothing_when_idle(make: Make, certificate: tuple[ssl.SSLContext, bytes]) -> None:
    context, root = certificate
    with echo_server(lambda s: context.wrap_socket(s, server_side=True)) as (port, _):
        board = make(
            main=CONNECT
            + f"""
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.verify_mode = ssl.CERT_REQUIRED
with open('/ca.der', 'rb') as f: context.load_verify_locations(cadata=f.read())
async def main():
    reader, writer = await asyncio.open_connection('127.0.0.1', {port}, ssl=context, server_hostname='localhost')
    for size in (1, 10, 5000):
        writer.write(b'x' * size)
        await writer.drain()
        assert await reader.readexactly(size) == b'x' * size
    print('idle')
    await reader.read(1)
asyncio.run(main())
"""
        )
        board.write_file("/ca.der", root)
        board.start()
        board.wait_for("idle")
        assert wake_ups_in_a_second(board) <= 5


def test_a_name_leads_to_the_address_that_it_had_when_it_was_looked_up(make: Make) -> None:
    with echo_server() as (port, _):
        board = make(
            main=CONNECT
            + f"""
async def main():
    old = socket.getaddrinfo('broker.example', {port})[0][-1]
    print('looked up')
    while True:
        await asyncio.sleep_ms(50)
        new = socket.getaddrinfo('broker.example', {port})[0][-1]
        if new != old:
            break
    s = socket.socket()
    s.connect(old)
    print('old', s.recv(1))
    s.close()
    reader, writer = await asyncio.open_connection('broker.example', {port})
    writer.write(b'hello')
    await writer.drain()
    print('new', await reader.readexactly(5))
asyncio.run(main())
"""
        )
        board.hosts["broker.example"] = "127.0.0.2"  # where nobody listens
        board.start()
        board.wait_for("looked up")
        board.hosts["broker.example"] = "127.0.0.1"
        board.wait_for("old b''")
        board.wait_for("new b'hello'")


def test_datagrams_go_and_come_while_there_is_wifi(make: Make) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        board = make(
            main=CONNECT
            + f"""
address = socket.getaddrinfo('time.example', {server.getsockname()[1]}, 0, socket.SOCK_DGRAM)[0][-1]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
n = 0
while True:
    n += 1
    s.sendto(b'%d' % n, address)
    time.sleep_ms(20)
    s.setblocking(False)
    try:
        print('answer', s.recvfrom(10)[0])
    except OSError:
        pass
"""
        )
        board.hosts["time.example"] = "127.0.0.1"
        board.start()
        data, sender = server.recvfrom(100)
        server.sendto(b"to " + data, sender)
        board.wait_for("answer b'to 1'")
        board.wifi(False)
        time.sleep(0.2)
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            while True:
                server.recvfrom(100)
