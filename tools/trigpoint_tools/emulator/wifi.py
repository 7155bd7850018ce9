"""Wi-Fi as an emulated board sees it: access points and the board's station. No I/O: moments are passed in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, IntEnum

from trigpoint_tools.emulator.errors import HardwareError

CONNECT_S = 0.2
"""How long association and DHCP take, in real seconds."""

ATTEMPT_S = 0.5
"""How long one attempt takes that fails."""

LIE_S = 0.15
"""How long, into a new attempt, a lying status() goes on telling of the last one."""


class Status(IntEnum):
    """Values of WLAN.status() on the ESP32."""

    NO_AP_FOUND = 201
    WRONG_PASSWORD = 202
    IDLE = 1000
    CONNECTING = 1001
    GOT_IP = 1010


class Fault(Flag):
    """Known faults of the ESP32's Wi-Fi driver, to be switched on.

    STALE_STATUS: after an attempt that failed, status() tells of that failure until the next one is well under way.
    SECOND_CONNECT: connect() works once after the radio was switched on; then it raises "Wifi Internal Error".
    """

    NONE = 0
    STALE_STATUS = 1
    SECOND_CONNECT = 2


@dataclass
class AccessPoint:
    """A Wi-Fi network in reach of a board.

    Attributes:
        ssid: its name.
        password: its key, empty for an open network.
        rssi: the signal at the board, in dBm.
        up: whether it is on the air.
    """

    ssid: str
    password: str
    rssi: int = -61
    up: bool = True


class Station:
    """The board's side.

    Like the ESP32's driver it tries again, for ever unless told otherwise, and says CONNECTING as long as it tries,
    whatever is wrong (ports/esp32/network_wlan.c, network_wlan_status).

    Args:
        access_points: the networks in reach; more may be added, and come on the air, at any time.

    Attributes:
        access_points: these networks.
        faults: the driver's faults that it shows.
        active: whether the radio is on.
        attempts: how often the board has asked to connect, since this object was made.
        reconnects: how often to try again after a failure, -1 for ever.
    """

    def __init__(self, *access_points: AccessPoint) -> None:
        self.access_points = list(access_points)
        self.faults = Fault.NONE
        self.attempts = 0
        self._connects = 0
        self._failure: Status | None = None
        self.active = False
        self.reconnects = -1
        self._wanted: tuple[str, str] | None = None
        self._since = 0.0

    def power_on(self) -> None:
        """Start as after a reset: the radio is off."""
        self.set_active(False)
        self.reconnects = -1
        self._failure = None

    def set_active(self, active: bool) -> None:
        """Switch the radio on or off."""
        self.active = active
        if not active:
            self._wanted = None
            self._connects = 0

    def connect(self, ssid: str, password: str, now: float) -> None:
        """Begin to connect.

        Raises:
            HardwareError: the radio is off, or a connection is being made already.
        """
        if not self.active:
            raise HardwareError(0, "Wifi Not Started")
        if self.status(now) == Status.CONNECTING:
            raise HardwareError(0, "Wifi Internal Error")
        if Fault.SECOND_CONNECT in self.faults and self._connects:
            raise HardwareError(0, "Wifi Internal Error")
        self._connects += 1
        self.attempts += 1
        self._wanted = (ssid, password)
        self._since = now

    def disconnect(self) -> None:
        """Leave the network and stop trying."""
        self._wanted = None

    def scan(self, now: float) -> list[AccessPoint]:
        """Return the networks on the air, the strongest first.

        Raises:
            HardwareError: the radio is off, or a connection is being made.
        """
        if not self.active:
            raise HardwareError(0, "STA must be active")
        if self.status(now) == Status.CONNECTING:
            raise HardwareError(0, "Wifi Internal State Error")
        return sorted((one for one in self.access_points if one.up), key=lambda one: -one.rssi)

    def access_point_switched(self, up: bool, now: float, number: int = 0) -> None:
        """Switch an access point on or off."""
        access_point = self.access_points[number]
        if up != access_point.up:
            access_point.up = up
            if self._wanted and self._wanted[0] == access_point.ssid:
                self._since = now

    @property
    def rssi(self) -> int:
        """The signal of the network that is wanted, of the first one while none is, in dBm."""
        return (self._in_reach() or self.access_points[0]).rssi

    def status(self, now: float) -> Status:
        """Return what WLAN.status() says at a moment."""
        stale = self._failure if Fault.STALE_STATUS in self.faults else None
        if self._wanted is None:
            return stale or Status.IDLE
        elapsed = now - self._since
        access_point = self._in_reach()
        if access_point is None:
            failure = Status.NO_AP_FOUND
        elif access_point.password and self._wanted[1] != access_point.password:
            failure = Status.WRONG_PASSWORD
        elif elapsed >= CONNECT_S:
            self._failure = None
            return Status.GOT_IP
        else:
            return stale if stale and elapsed < LIE_S else Status.CONNECTING
        if self.reconnects >= 0 and elapsed >= ATTEMPT_S * (1 + self.reconnects):
            self._failure = failure
            return failure
        return stale if stale and elapsed < LIE_S else Status.CONNECTING

    def _in_reach(self) -> AccessPoint | None:
        wanted = self._wanted
        on_air = (one for one in self.access_points if one.up and wanted and one.ssid == wanted[0])
        return next(on_air, None)
