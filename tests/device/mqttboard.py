"""The board's MQTT client in a MicroPython process, driven line by line; and a broker made of raw sockets."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from boardrunner import _command, _environment

# Reads its settings and then commands, one JSON line each; prints what happens, one JSON line each.
_SCRIPT = """
import asyncio, gc, json, sys
from trig.mqtt import Client, tcp, tls_context

settings = json.loads(sys.stdin.readline())
context = None
if settings["ca"]:
    with open(settings["ca"], "rb") as file:
        context = tls_context(file.read())
client = Client(
    tcp(settings["host"], settings["port"], context),
    settings["client_id"],
    will_topic="will/" + settings["client_id"],
    will="gone",
    topics=settings["topics"],
    user=settings["user"],
    password=settings["password"],
    keepalive_s=settings["keepalive_s"],
    first_id=settings["first_id"],
    response_ms=settings["response_ms"],
)

def say(**event):
    print(json.dumps(event))

async def watch():
    while True:
        await client.up.wait()
        session = client.session
        say(up=session)
        while client.session == session and client.up.is_set():
            await asyncio.sleep_ms(10)
        say(down=client.error)

async def messages():
    async for topic, payload in client:
        say(message=[topic, bytes(payload).hex()])

async def publish(topic, payload, count, retain):
    for n in range(count):
        await client.publish(topic, bytes.fromhex(payload), retain)
    say(published=topic)

async def commands():
    reader = asyncio.StreamReader(sys.stdin)
    while True:
        line = await reader.readline()
        if not line:
            return
        command = json.loads(line)
        if "publish" in command:
            asyncio.create_task(publish(*command["publish"]))
        if "hurry" in command:
            client.hurry()
        if "status" in command:
            gc.collect()
            say(status=[client.error, client.refused, client.session, gc.mem_free()])

async def main():
    for part in (client.run, watch, messages):
        asyncio.create_task(part())
    await commands()

asyncio.run(main())
"""


class MqttBoard:
    """One client. Use as a context manager; leaving it kills the process, as a power cut would."""

    def __init__(self, port: int, **settings: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            _command("160k", _SCRIPT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(()),
        )
        defaults = {
            "host": "127.0.0.1",
            "port": port,
            "ca": "",
            "client_id": "board",
            "topics": ["to/board"],
            "user": "",
            "password": "",
            "keepalive_s": 60,
            "first_id": 1,
            "response_ms": 5000,
        }
        self.tell(**{**defaults, **settings})
        threading.Thread(target=self._read, daemon=True).start()

    def tell(self, **command: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def publish(self, topic: str, payload: bytes, count: int = 1, retain: bool = False, timeout: float = 15) -> None:
        """Publish, and return when the board says that all were acknowledged."""
        self.start_publish(topic, payload, count, retain)
        self.expect("published", topic, timeout)

    def start_publish(self, topic: str, payload: bytes, count: int = 1, retain: bool = False) -> None:
        self.tell(publish=[topic, payload.hex(), count, retain])

    def status(self) -> list[Any]:
        """Return [error, refused, session, free heap]."""
        self.tell(status=1)
        return self.expect("status")  # type: ignore[no-any-return]

    def expect(self, kind: str, value: Any = None, timeout: float = 15) -> Any:
        """Take the next event of a kind (with a value, if one is given) out of the list; fail if none comes in time."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                for i, event in enumerate(self.events):
                    if kind in event and value in (None, event[kind]):
                        del self.events[i]
                        return event[kind]
                left = deadline - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    raise AssertionError(f"no {kind} {value or ''} within {timeout} s; had {self.events}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"text": line.decode(errors="replace")}
            with self._news:
                self.events.append(event)
                self._news.notify_all()


class RawBroker:
    """Accepts connections one after the other and hands each to the next of `scripts`; the last one serves the rest."""

    def __init__(self, *scripts: Callable[[Link], None]) -> None:
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.failures: list[BaseException] = []
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            try:
                with connection:
                    connection.settimeout(10)
                    script(Link(connection))
            except (OSError, EOFError):
                pass
            except AssertionError as failure:
                self.failures.append(failure)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        assert self.failures == []


class Link:
    """The broker's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.connection.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def packet(self) -> tuple[int, bytes]:
        """Return the next packet: first byte and body."""
        first = self._exactly(1)[0]
        length = shift = 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first, self._exactly(length)

    def accept(self, session_present: bool = False) -> None:
        """Answer CONNECT and SUBSCRIBE as a good broker does."""
        assert self.packet()[0] == 0x10
        self.send(bytes((0x20, 2, session_present, 0)))
        first, body = self.packet()
        assert first == 0x82
        self.send(b"\x90\x03" + body[:2] + b"\x01")

    def published(self) -> tuple[bool, int]:
        """Wait for a PUBLISH; return (dup, packet id)."""
        while True:
            first, body = self.packet()
            if first >> 4 == 3:
                at = 2 + struct.unpack_from(">H", body)[0]
                return bool(first & 8), struct.unpack_from(">H", body, at)[0]
            if first == 0xC0:
                self.send(b"\xd0\x00")

    def puback(self, packet_id: int) -> None:
        self.send(b"\x40\x02" + packet_id.to_bytes(2, "big"))


def message(topic: bytes, payload: bytes, packet_id: int = 7) -> bytes:
    """Return a PUBLISH of QoS 1."""
    body = len(topic).to_bytes(2, "big") + topic + packet_id.to_bytes(2, "big") + payload
    return b"\x32" + remaining_length(len(body)) + body


def remaining_length(length: int) -> bytes:
    """Return the encoding of MQTT 3.1.1 section 2.2.3."""
    out = bytearray()
    while True:
        out.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            return bytes(out)
