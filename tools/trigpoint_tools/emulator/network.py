"""The way of a board's TCP connections: through its access point, which can fall silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

_CHUNK = 16384


class Network:
    """Carries each connection of one board on to where it wants to go.

    Every name that a board looks up becomes a port of this machine's loopback; what connects there is carried to the
    real address. While the Wi-Fi is down the bytes stand still, on connections that stay open, as in the air. All
    methods run in the emulator's event loop.

    Args:
        connected: whether the board's station has an address now.
    """

    def __init__(self, connected: Callable[[], bool]) -> None:
        self._connected = connected
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def route(self, host: str, port: int) -> int:
        """Return the loopback port that leads to host:port; OSError if the name is unknown."""
        key = (host, port)
        if key not in self._servers:
            await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)

            async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._carry(reader, writer, host, port)

            self._servers[key] = await asyncio.start_server(carry, "127.0.0.1", 0)
        return int(self._servers[key].sockets[0].getsockname()[1])

    def wake(self) -> None:
        """Look again whether the board is connected."""
        self._changed.set()
        self._changed = asyncio.Event()

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

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._on_the_air()
            far_reader, far_writer = await asyncio.open_connection(host, port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, far_writer))
                    group.create_task(self._pump(far_reader, writer))
            finally:
                far_writer.close()
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._on_the_air()
            writer.write(data)
            await writer.drain()
        await self._on_the_air()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _on_the_air(self) -> None:
        while not self._connected():
            changed = self._changed
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), 0.2)
