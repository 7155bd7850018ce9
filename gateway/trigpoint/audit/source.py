"""Where a log's public files are fetched from: a directory, or a server that may do anything."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
import zlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

import aiohttp
import yarl

from trigpoint.errors import OperatorError

RESPONSE_S: Final = 30.0
"""Seconds for one whole answer: name look-up, connection, TLS, headers and body together."""

ATTEMPTS: Final = 5
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE = frozenset({404, 410})
_OK = 200


class FetchError(OperatorError):
    """A file could not be had. What was fetched before stays good."""


class Source(Protocol):
    """Gives a log's public files, from whoever serves them. Safe to ask from several threads."""

    place: str
    """What it is called in reports."""

    def get(self, path: str, limit: int) -> bytes | None:
        """Return the file at `path` (`checkpoint`, `tile/0/000`, ...), or None if there is none.

        Raises:
            FetchError: it could not be had, or is larger than `limit` bytes.
        """
        ...

    def cancel(self) -> None:
        """Break off what other threads are asking for at this moment; it fails for them, in one way or another."""
        ...


class DirectorySource:
    """A directory with the log's files: a gateway's, an export, a mirror.

    Raises:
        OperatorError: there is no such directory.
    """

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise OperatorError(f"there is no directory {directory}: give a log's URL, or a directory with its files")
        self.place = str(directory)
        self._directory = directory

    def get(self, path: str, limit: int) -> bytes | None:
        """See `Source`."""
        try:
            with (self._directory / path).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise FetchError(f"cannot read {self._directory / path}: {error.strerror}") from error
        if len(data) > limit:
            raise FetchError(f"{self._directory / path} is larger than {limit} bytes; a log has no such file")
        return data

    def cancel(self) -> None:
        """See `Source`; nothing here takes long."""


class HttpSource:
    """A server, bounded in all that it can do to us: no redirection, so many bytes, so long for each answer and in all.

    What may pass (no connection, no answer in time, status 408, 425, 429 or 5xx) is tried again with a growing pause.
    A thread of its own does the talking. To be used in `with`.

    Args:
        url: prefix of the log's files, http or https. Certificates are verified; proxies of the environment are used.
        deadline_s: seconds for all that is asked, from now on.
        response_s: seconds for one answer; see `RESPONSE_S`.
        parallel: connections at once.
        sleep: waits before another attempt; tests pass one that does not.

    Raises:
        OperatorError: it is no URL of that kind.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float = math.inf,
        response_s: float = RESPONSE_S,
        parallel: int = 16,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        self.place = _checked(url)
        self._deadline = time.monotonic() + deadline_s
        self._response_s = response_s
        self._parallel = parallel
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._closing = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Return the source itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Break off whatever is under way."""
        with self._closing:
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def get(self, path: str, limit: int) -> bytes | None:
        """See `Source`."""
        with self._closing:  # what is asked before it closes is cancelled then, and nothing is asked after
            if self._closed:
                raise FetchError(f"no longer asking {self.place}")
            asked = asyncio.run_coroutine_threadsafe(self._get(path, limit), self._loop)
        return asked.result()

    def cancel(self) -> None:
        """See `Source`."""
        with self._closing:
            if not self._closed:
                asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result()

    async def _get(self, path: str, limit: int) -> bytes | None:
        url = f"{self.place}/{path}"
        pause = _FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise FetchError("time is up; run the command again: with a mirror it goes on where it stopped")
            try:
                async with asyncio.timeout(min(left, self._response_s)):
                    return await self._once(url, limit)
            except _PassingError as error:
                reason, wanted = str(error), error.pause_s
            except TimeoutError:
                reason, wanted = f"no whole answer in {min(left, self._response_s):.0f} s", 0.0
            except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
                raise FetchError(f"cannot fetch {url}: {_one_line(error)}") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                reason, wanted = _one_line(error), 0.0
            if attempt < ATTEMPTS:
                # Not all at the same moment: the others that failed wait as well.
                wait = max(wanted, pause * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
                await self._sleep(max(0.0, min(wait, self._deadline - time.monotonic())))
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        raise FetchError(f"cannot fetch {url}: {reason}, {ATTEMPTS} times")

    async def _once(self, url: str, limit: int) -> bytes | None:
        session = self._opened()
        async with session.get(yarl.URL(url, encoded=True), allow_redirects=False) as response:
            if response.status in _GONE:
                return None
            if response.status in _TRY_AGAIN:
                raise _PassingError(f"the server answered {response.status}", response.headers.get("Retry-After"))
            if 300 <= response.status < 400:
                raise FetchError(f"cannot fetch {url}: it redirects elsewhere; give the log's final address")
            if response.status != _OK:
                raise FetchError(f"cannot fetch {url}: the server answered {response.status}")
            data = bytearray()
            while chunk := await response.content.readany():
                data += chunk
                if len(data) > limit:
                    raise FetchError(f"{url} is larger than {limit} bytes; a log has no such file")
            if response.headers.get("Content-Encoding", "identity").lower() == "gzip":
                return _unpacked(url, bytes(data), limit)
            return bytes(data)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._parallel),
                cookie_jar=aiohttp.DummyCookieJar(),
                # C2SP tlog-tiles asks for gzip, which bundles of hashes gain nothing by; some servers send it unasked.
                headers={"User-Agent": "trigpoint", "Accept-Encoding": "gzip, identity"},
                auto_decompress=False,
                trust_env=True,
                timeout=aiohttp.ClientTimeout(total=None),
                read_bufsize=16_384,
            )
        return self._session

    async def _cancel(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self) -> None:
        await self._cancel()
        if self._session is not None:
            await self._session.close()


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not url.isascii() or not url.isprintable() or set(url) & set(" ?#"):
        raise OperatorError("that is not the address of a log; write it as https://HOST/PATH")
    if "@" in parts.netloc:
        raise OperatorError("a log's address holds no password: what is in it can be seen by all users of a machine")
    return url.rstrip("/")


class _PassingError(Exception):
    """A status that may be another one soon.

    Attributes:
        pause_s: how long the server asks to wait, within reason.
    """

    def __init__(self, reason: str, retry_after: str | None) -> None:
        super().__init__(reason)
        asked = retry_after is not None and retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6
        self.pause_s = min(float(retry_after), _LONGEST_PAUSE_S) if asked and retry_after is not None else 0.0


def _unpacked(url: str, data: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(data, limit + 1)
    except zlib.error:
        raise FetchError(f"{url} is said to be gzip and is not") from None
    if len(unpacked) > limit or not unpacker.eof:
        raise FetchError(f"{url} is larger than {limit} bytes, or cut off; a log has no such file")
    return unpacked


def _one_line(error: BaseException) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)[:200]).split())
    return text or type(error).__name__
