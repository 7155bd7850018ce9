"""A TCP proxy between board and broker that can fall silent, swallow the broker's answers, and cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Proxy:
    """Carries connections from `address` to `target`, a port of this machine.

    Attributes:
        port: where it listens.
        target: where the next connection goes.
        silent: while set, it takes everything and passes on nothing, and ends no connection.
        swallow: packet types (such as 4, PUBACK) of the broker that are kept back.
        packets: what the boards sent: first byte and body of each whole packet.
        connections: how many there have been.
    """

    def __init__(self, target: int, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.target = target
        self.silent = threading.Event()
        self.swallow: set[int] = set()
        self.packets: list[tuple[int, bytes]] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(address)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """End all connections."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def sent(self, kind: int) -> list[tuple[int, bytes]]:
        """Return what boards sent of one packet type."""
        return [packet for packet in self.packets if packet[0] >> 4 == kind]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                near.close()
                continue
            self.connections += 1
            self._open += [near, far]
            for source, sink, to_board in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._carry, args=(source, sink, to_board), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, to_board: bool) -> None:
        buffer = bytearray()
        try:
            while data := source.recv(65536):
                buffer += data
                while (size := _whole(buffer)) is not None:
                    packet = bytes(buffer[:size])
                    del buffer[:size]
                    if not to_board:
                        self.packets.append((packet[0], packet[_head(packet) :]))
                    if not self.silent.is_set() and not (to_board and packet[0] >> 4 in self.swallow):
                        sink.sendall(packet)
        except OSError:
            pass
        if not self.silent.is_set():
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


def _head(data: bytes | bytearray) -> int:
    return next(i for i in range(1, 5) if data[i] < 0x80) + 1


def _whole(data: bytearray) -> int | None:
    """Return the size of the first packet if all of it is there (MQTT 3.1.1 section 2.2.3)."""
    length = 0
    for i in range(1, min(5, len(data))):
        length |= (data[i] & 0x7F) << 7 * (i - 1)
        if data[i] < 0x80:
            return i + 1 + length if len(data) >= i + 1 + length else None
    return None
