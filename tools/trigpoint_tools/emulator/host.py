"""One thread with one event loop that serves every emulated board of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Host:
    """Runs coroutines in a thread of its own, which lives as long as the program."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="emulator", daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine there and wait here for its result; TimeoutError after `timeout` seconds."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise


_shared: list[Host] = []
_lock = threading.Lock()


def shared_host() -> Host:
    """Return this program's host, made when first asked for."""
    with _lock:
        if not _shared:
            _shared.append(Host())
        return _shared[0]
