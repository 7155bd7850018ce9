"""Time over the network: SNTP version 4 (RFC 4330, RFC 5905), one datagram out and one back.

Nobody vouches for the answer but whoever is on the way; what the clock makes of it is trig.clock's rule.
"""

import asyncio
import random
import socket
import struct
import time

from micropython import const

_SIZE = const(48)
_ANSWER_MS = const(2500)
_POLL_MS = const(10)
_PERIOD_MS = const(21600000)
_RETRY_MS = const(15000)
_MAX_RETRY_MS = const(960000)
_EAGAIN = const(11)
_TO_1970 = const(2208988800)  # seconds from 1900


class NtpError(Exception):
    """No time came from the server; the message says why."""


def request(nonce):
    """A client's request. ``nonce``: 8 random bytes in place of our time, which the answer must repeat."""
    return b"\x23" + bytes(39) + nonce


def parse(data, nonce):
    """The server's time when it answered, in ms since 1970. Raises NtpError (RFC 4330, section 5)."""
    if len(data) < _SIZE:
        raise NtpError("answer of {} bytes".format(len(data)))
    leap, version, mode = data[0] >> 6, data[0] >> 3 & 7, data[0] & 7
    if mode != 4 or not 1 <= version <= 4:
        raise NtpError("not an answer of a server")
    if data[24:32] != nonce:
        raise NtpError("answer to another request")
    stratum = data[1]
    if stratum == 0:
        raise NtpError("server refuses: " + "".join(chr(b) if 32 < b < 127 else "?" for b in data[12:16]))
    if leap == 3 or stratum > 15:
        raise NtpError("server does not know the time")
    seconds, fraction = struct.unpack(">II", data[40:48])
    if not seconds:
        raise NtpError("answer without a time")
    # The count wraps in February 2036: with the first bit clear it is the next era (RFC 4330, section 3).
    if not seconds >> 31:
        seconds += 1 << 32
    return (seconds - _TO_1970) * 1000 + (fraction * 1000 >> 32)


class Ntp:
    """Keeps a clock by one server: at each start, every six hours, and sooner again after a failure.

    Attributes:
        tried: asyncio.Event, set once the first attempt since the network was joined has ended, well or not.
        error: why the last attempt failed; "" if it did not.
    """

    def __init__(self, host, port, clock, urandom):
        """Take the server's name and port, a trig.clock.Clock, and ``os.urandom``."""
        self._host = host
        self._port = port
        self._clock = clock
        self._urandom = urandom
        self._online = asyncio.Event()
        self.tried = asyncio.Event()
        self.error = ""

    def joined(self):
        """There is a network: ask now."""
        self._online.set()

    async def run(self, moved):
        """Ask for ever, from the first call of ``joined`` on; ``moved()`` is called when an answer moved the clock."""
        retry_ms = _RETRY_MS
        await self._online.wait()
        while True:
            self._online.clear()
            if await self.ask():
                moved()
            self.tried.set()
            pause_ms = _PERIOD_MS
            if self.error:
                pause_ms = retry_ms
                retry_ms = min(2 * retry_ms, _MAX_RETRY_MS)
            else:
                retry_ms = _RETRY_MS
            # Boards that lost their power together must not come back together.
            pause_ms -= random.getrandbits(16) * (pause_ms // 4) // 65535
            if not self.error:
                await asyncio.sleep_ms(pause_ms)
                continue
            try:
                await asyncio.wait_for_ms(self._online.wait(), pause_ms)
            except asyncio.TimeoutError:
                pass

    def before(self, open_stream):
        """Wrap an ``open_stream`` of trig.mqtt: while the time is not known, it waits for the first attempt here.

        TLS compares the dates of a certificate with the clock. Without an answer it is tried all the same.
        """

        async def open_later():
            if not self._clock.is_set:
                try:
                    await asyncio.wait_for_ms(self.tried.wait(), 2 * _ANSWER_MS)
                except asyncio.TimeoutError:
                    pass
            return await open_stream()

        return open_later

    async def ask(self):
        """Ask once; return whether the answer moved the clock."""
        try:
            time_ms = await self._exchange()
        except NtpError as error:
            self.error = str(error)
            return False
        except OSError as error:
            self.error = "OSError: {}".format(error)
            return False
        self.error = ""
        return self._clock.take_ntp(time_ms)

    async def _exchange(self):
        address = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_DGRAM)[0][-1]
        nonce = self._urandom(8)
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            link.setblocking(False)
            link.connect(address)  # and take datagrams from nobody else
            link.send(request(nonce))
            sent = time.ticks_ms()
            error = NtpError("no answer in time")
            while True:
                await asyncio.sleep_ms(_POLL_MS)
                way_ms = time.ticks_diff(time.ticks_ms(), sent)
                if way_ms > _ANSWER_MS:
                    raise error
                try:
                    data = link.recv(_SIZE)
                except OSError as refused:
                    if refused.errno == _EAGAIN:
                        continue
                    raise
                try:
                    return parse(data, nonce) + way_ms // 2
                except NtpError as wrong:
                    # Anyone can send a datagram: the server's own may still come.
                    error = wrong
        finally:
            link.close()
