"""What systemd and a service tell each other: how it goes, and which sockets are open already.

See sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). Each is a few lines of documented protocol; the packages
that wrap the C library need its headers to build.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Self

FIRST_FD = 3
"""Sockets are handed over from this descriptor on (SD_LISTEN_FDS_START)."""

_PATIENCE_S = 0.5
"""How long to wait for a manager whose queue is full."""


class Notifier:
    """Tells the service manager how it goes; without one it does nothing.

    What it tells is never worth failing for: a manager that does not listen is passed over.

    Args:
        address: of the manager's datagram socket; a leading `@` stands for the abstract namespace. Empty for none.
        watchdog_s: the manager ends the service when it hears nothing for so long; None if it does not watch.
        clock: seconds that never go back.
    """

    def __init__(
        self, address: str = "", watchdog_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        self._clock = clock
        self._alive_at = float("-inf")
        self._status = ""

    @classmethod
    def of(cls, environment: MutableMapping[str, str], pid: int) -> Self:
        """Return the notifier that `environment` describes, and take it out there: children are not to speak for us."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period = environment.pop("WATCHDOG_USEC", "")
        owner = environment.pop("WATCHDOG_PID", "")
        watched = period.isdecimal() and int(period) > 0 and owner in ("", str(pid))
        return cls(address, int(period) / 1e6 if watched else None)

    def ready(self) -> None:
        """Say that all parts have started."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`; the same line again is not sent."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """Put off the watchdog by one period. It may be called often: four messages in a period are sent."""
        now = self._clock()
        if self.watchdog_s is not None and now - self._alive_at >= self.watchdog_s / 4:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the service is going down by itself."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_PATIENCE_S)
                sender.sendto(message.encode(), self._address)
        except OSError:
            pass


def listening_sockets(environment: Mapping[str, str], pid: int) -> dict[str, int]:
    """Return the descriptors of the listening sockets that were handed over, by the names they have in the unit.

    They stay open from one start of the service to the next, so no client is refused in between. The first of each
    name counts; without names they are called `unknown`, as sd_listen_fds_with_names(3) does.
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(pid) or not count.isdecimal():
        return {}
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, int] = {}
    for number in range(int(count)):
        name = names[number] if number < len(names) and names[number] else "unknown"
        found.setdefault(name, FIRST_FD + number)
    return found
