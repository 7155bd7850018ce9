"""Wi-Fi as an emulated board sees it: an access point and the board's station. No I/O: moments are passed in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from trigpoint_tools.emulator.errors import HardwareError

CONNECT_S = 0.2
"""How long association and DHCP take, in real seconds."""

SCAN_S = 0.5
"""How long a station searches before it says that no access point was found."""


class Status(IntEnum):
    """Values of WLAN.status() on the ESP32."""

    BEACON_TIMEOUT = 200
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
    """The board's side: keeps trying to connect until told to disconnect, as the ESP32's driver does.

    Args:
        access_point: the only network in reach.
    """

    def __init__(self, access_point: AccessPoint) -> None:
        self.access_point = access_point
        self.active = False
        self._wanted: tuple[str, str] | None = None
        self._connected_at = 0.0

    def power_on(self) -> None:
        """Start as after a reset: the radio is off."""
        self.active = False
        self._wanted = None

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
        if self._wanted is not None and self.status(now) == Status.CONNECTING:
            raise HardwareError(0, "Wifi Internal State Error")
        self._wanted = (ssid, password)
        self._connected_at = now + CONNECT_S

    def disconnect(self) -> None:
        """Leave the network and stop trying."""
        self._wanted = None

    def access_point_switched(self, now: float) -> None:
        """Take note that the access point went off the air or came back."""
        self._connected_at = now + CONNECT_S

    def status(self, now: float) -> Status:
        """Return what WLAN.status() says at a moment."""
        if self._wanted is None:
            return Status.IDLE
        ssid, password = self._wanted
        if not self.access_point.up or ssid != self.access_point.ssid:
            return Status.NO_AP_FOUND if now >= self._connected_at + SCAN_S else Status.CONNECTING
        if now < self._connected_at:
            return Status.CONNECTING
        if self.access_point.password and password != self.access_point.password:
            return Status.WRONG_PASSWORD
        return Status.GOT_IP
