"""The way of a board's TCP connections and UDP datagrams: through its access point, which can fall silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Mapping

from trigpoint_tools.emulator.link import Link

_CHUNK = 16384
_AHEAD = 64  # chunks under way at once
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close() sends RST


class Network:
    """Carries each connection of one board on to where it wants to go.

    Every name that a board looks up becomes a port of this machine's loopback; what connects there is carried to the
    address that the name had at that moment, and to no other: a board that does not look again is not led to a server
    that has moved. While the Wi-Fi is down the bytes stand still, on connections that stay open, as in the air;
    datagrams are lost. All methods run in the emulator's event loop.

    Args:
        connected: whether the board's station has an address now.
        hosts: name to IPv4 address, asked before this machine's own names.
        link: what is wrong with the way of TCP connections.
    """

    def __init__(self, connected: Callable[[], bool], hosts: Mapping[str, str], link: Link | None = None) -> None:
        self._connected = connected
        self._hosts = hosts
        self._link = link or Link()
        self._open: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._relays: dict[tuple[str, int], _Relay] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def route(self, host: str, port: int) -> int:
        """Return the loopback port that leads to host:port; OSError if the name is unknown."""
        address = await self._look_up(host, port)
        if address not in self._servers:

            async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._carry(reader, writer, *address)

            self._servers[address] = await asyncio.start_server(carry, "127.0.0.1", 0)
        return int(self._servers[address].sockets[0].getsockname()[1])

    async def route_datagrams(self, host: str, port: int) -> int:
        """Return the loopback port whose datagrams go to host:port and back; OSError if the name is unknown."""
        address = await self._look_up(host, port)
        if address not in self._relays:
            self._relays[address] = relay = _Relay(self._connected)
            await relay.open(address)
        return self._relays[address].port

    async def _look_up(self, host: str, port: int) -> tuple[str, int]:
        host = self._hosts.get(host, host)
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=socket.AF_INET)
        return str(found[0][4][0]), port

    def wake(self) -> None:
        """Look again whether the board is connected."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def reset(self) -> None:
        """Reset every connection: both ends see it broken at once, and what was under way is gone."""
        for pair in tuple(self._open):
            self._link.resets += 1
            for writer in pair:
                end = writer.get_extra_info("socket")
                if end is not None and end.fileno() >= 0:  # one end may be closed, and the other not yet
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    def drop(self) -> None:
        """End every connection, as when the board has lost its power."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """End everything."""
        self.drop()
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._on_the_air()
            far_reader, far_writer = await asyncio.open_connection(host, port)
            self._open.add(ends := (writer, far_writer))
            self._link.connects += 1
            number = self._link.connects
            try:
                async with asyncio.TaskGroup() as group:
                    for source, sink, from_board in ((reader, far_writer, True), (far_reader, writer, False)):
                        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_AHEAD)
                        group.create_task(self._take(source, under_way, number if from_board else None))
                        group.create_task(self._deliver(under_way, sink, None if from_board else number))
            finally:
                self._open.discard(ends)
                far_writer.close()
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _take(
        self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]], sent: int | None
    ) -> None:
        """Put what comes on its way, with the moment at which it is there: none overtakes another."""
        now = asyncio.get_running_loop().time
        due = 0.0
        while data := await reader.read(_CHUNK):
            if sent is not None and self._link.tap is not None:
                self._link.tap(sent, True, data)
            due = max(due, now() + self._link.hold())
            await under_way.put((due, data))
        await under_way.put((due, b""))

    async def _deliver(
        self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, got: int | None
    ) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due, data = await under_way.get()
            if (left := due - now()) > 0:
                await asyncio.sleep(left)
            await self._on_the_air()
            if not data:
                break
            if got is not None and self._link.tap is not None:
                self._link.tap(got, False, data)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _on_the_air(self) -> None:
        while not self._connected():
            changed = self._changed
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), 0.2)


class _Relay:
    """Datagrams of one board's socket to one server, and the answers. The newest sender gets the answers."""

    def __init__(self, connected: Callable[[], bool]) -> None:
        self._connected = connected
        self._board: tuple[str, int] | None = None
        self.port = 0

    async def open(self, server: tuple[str, int]) -> None:
        """Begin to carry."""
        loop = asyncio.get_running_loop()
        self._near, _ = await loop.create_datagram_endpoint(
            lambda: _Receiver(self._from_board), local_addr=("127.0.0.1", 0)
        )
        self._far, _ = await loop.create_datagram_endpoint(lambda: _Receiver(self._from_server), remote_addr=server)
        self.port = self._near.get_extra_info("sockname")[1]

    def close(self) -> None:
        """End it."""
        self._near.close()
        self._far.close()

    def _from_board(self, data: bytes, sender: tuple[str, int]) -> None:
        self._board = sender
        if self._connected():
            self._far.sendto(data)

    def _from_server(self, data: bytes, _: tuple[str, int]) -> None:
        if self._board and self._connected():
            self._near.sendto(data, self._board)


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, addr)
