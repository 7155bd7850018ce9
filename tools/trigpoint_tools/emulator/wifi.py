"""Wi-Fi as an emulated board sees it: an access point and the board's station. No I/O: moments are passed in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from trigpoint_tools.emulator.errors import HardwareError

CONNECT_S = 0.2
"""How long association and DHCP take, in real seconds."""

ATTEMPT_S = 0.5
"""How long one attempt takes that fails."""


class Status(IntEnum):
    """Values of WLAN.status() on the ESP32."""

    NO_AP_FOUND = 201
    WRONG_PASSWORD = 202
    IDLE = 1000
    CONNECTING = 1001
    GOT_IP = 1010


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
        access_point: the only network in reach.

    Attributes:
        active: whether the radio is on.
        reconnects: how often to try again after a failure, -1 for ever.
    """

    def __init__(self, access_point: AccessPoint) -> None:
        self.access_point = access_point
        self.active = False
        self.reconnects = -1
        self._wanted: tuple[str, str] | None = None
        self._since = 0.0

    def power_on(self) -> None:
        """Start as after a reset: the radio is off."""
        self.set_active(False)
        self.reconnects = -1

    def set_active(self, active: bool) -> None:
        """Switch the radio on or off."""
        self.active = active
        if not active:
            self._wanted = None

    def connect(self, ssid: str, password: str, now: float) -> None:
        """Begin to connect.

        Raises:
            HardwareError: the radio is off, or a connection is being made already.
        """
        if not self.active:
            raise HardwareError(0, "Wifi Not Started")
        if self.status(now) == Status.CONNECTING:
            raise HardwareError(0, "Wifi Internal Error")
        self._wanted = (ssid, password)
        self._since = now

    def disconnect(self) -> None:
        """Leave the network and stop trying."""
        self._wanted = None

    def access_point_switched(self, up: bool, now: float) -> None:
        """Switch the access point on or off."""
        if up != self.access_point.up:
            self.access_point.up = up
            self._since = now

    def status(self, now: float) -> Status:
        """Return what WLAN.status() says at a moment."""
        if self._wanted is None:
            return Status.IDLE
        ssid, password = self._wanted
        elapsed = now - self._since
        if not self.access_point.up or ssid != self.access_point.ssid:
            failure = Status.NO_AP_FOUND
        elif self.access_point.password and password != self.access_point.password:
            failure = Status.WRONG_PASSWORD
        else:
            return Status.GOT_IP if elapsed >= CONNECT_S else Status.CONNECTING
        if self.reconnects >= 0 and elapsed >= ATTEMPT_S * (1 + self.reconnects):
            return failure
        return Status.CONNECTING
