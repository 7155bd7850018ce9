"""Finds boards by the USB id of their serial bridge, and says in one line why a port cannot be used.

what the system lists -> boards() -> choose()      pure
a device's path       -> check()                   looks at the file system
"""

from __future__ import annotations

import errno
import grp
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import serial
from serial.tools import list_ports
from trigpoint.errors import OperatorError

# USB vendor and product id to the name that is printed on the part. None stands for any product of that vendor.
_BRIDGES: dict[tuple[int, int | None], str] = {
    (0x10C4, 0xEA60): "CP210x",
    (0x10C4, 0xEA70): "CP2105",
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x7522): "CH340K",
    (0x1A86, 0x55D4): "CH9102",
    (0x1A86, 0x55D3): "CH343",
    (0x0403, None): "FTDI",
    (0x303A, 0x1001): "Espressif USB-Serial-JTAG",
    (0x303A, None): "Espressif USB",
}


class Listed(Protocol):
    """What pyserial's list_ports says of a port."""

    device: str
    vid: int | None
    pid: int | None
    serial_number: str | None


@dataclass(frozen=True)
class Port:
    """A way to a board.

    Attributes:
        device: a device's path, or a URL of pyserial such as rfc2217://HOST:PORT.
        bridge: what is between USB and the chip; empty if not known.
        serial_number: the bridge's, empty if it has none.
    """

    device: str
    bridge: str = ""
    serial_number: str = ""

    @property
    def is_url(self) -> bool:
        """Whether it is reached over the network, where no device file is to be checked."""
        return "://" in self.device


def boards(listed: Iterable[Listed]) -> list[Port]:
    """Return the ports behind which a board can be, by device."""
    found = []
    for port in listed:
        if port.vid is None:
            continue
        name = _BRIDGES.get((port.vid, port.pid)) or _BRIDGES.get((port.vid, None))
        if name:
            found.append(Port(port.device, name, port.serial_number or ""))
    return sorted(found, key=lambda port: port.device)


def find() -> list[Port]:
    """Return the boards on this machine's USB."""
    return boards(list_ports.comports())


def choose(wanted: str | None, found: Sequence[Port]) -> Port:
    """Return the port that `wanted` names, or the only one that was found.

    Raises:
        OperatorError: none is there, or it is not clear which.
    """
    if wanted:
        return next((port for port in found if port.device == wanted), Port(wanted))
    if not found:
        raise OperatorError(
            "no board on USB: plug it in, or try another cable, because many charge only and have no data lines; "
            "a port that is not USB must be named"
        )
    if len(found) > 1:
        names = ", ".join(f"{port.device} ({port.bridge})" for port in found)
        raise OperatorError(f"{len(found)} boards on USB: name one of {names}, or take all with --all")
    return found[0]


def has_mac(port: Port, mac: str) -> bool:
    """Return whether a port's serial number is the MAC address of its chip, as with Espressif's own USB."""
    return port.serial_number.lower().replace(":", "") == mac.lower().replace(":", "")


def moved(port: Port, mac: str, found: Sequence[Port]) -> Port:
    """Return the port under the name that it has now: native USB goes with a reset and may come back under another.

    Args:
        port: as it was.
        mac: of the chip behind it.
        found: what is on USB now.
    """
    if port.is_url or any(other.device == port.device for other in found):
        return port
    # Not by any other serial number: all bridges of a cheap make have the same.
    return next((other for other in found if has_mac(other, mac)), port)


def check(port: Port) -> None:
    """See whether a port can be opened and nobody else has it.

    Raises:
        OperatorError: it is not there, not ours to open, or busy; with the remedy.
    """
    if port.is_url:
        return
    path = Path(port.device)
    try:
        facts = path.stat()
    except FileNotFoundError as error:
        raise OperatorError(missing(port.device)) from error
    except OSError as error:
        raise OperatorError(f"cannot look at {port.device}: {error.strerror}; check the path") from error
    if not stat.S_ISCHR(facts.st_mode):
        raise OperatorError(f"{port.device} is not a serial port; `trigpoint board ls` shows those with a board")
    if not os.access(path, os.R_OK | os.W_OK):
        raise OperatorError(no_permission(port.device, facts.st_gid))
    try:
        serial.Serial(port.device, exclusive=True).close()
    except serial.SerialException as error:
        raise OperatorError(explain(port.device, error)) from error


def explain(device: str, error: OSError) -> str:
    """Return in one line why a port could not be opened, and what to do."""
    if error.errno == errno.ENOENT:
        return missing(device)
    if error.errno in (errno.EACCES, errno.EPERM):
        try:
            return no_permission(device, Path(device).stat().st_gid)
        except OSError:
            return missing(device)
    if error.errno in (errno.EBUSY, errno.EAGAIN) or "lock" in str(error):
        return busy(device)
    return f"cannot open {device}: {' '.join(str(error).split())}; pull the cable and plug it in again"


def missing(device: str) -> str:
    """Return what to say when no such port is there."""
    if "://" in device:
        return f"nobody answers at {device}: start what offers this port, and check the address"
    return (
        f"there is no port {device}: plug the board in, or try another cable, because many charge only and have no "
        "data lines"
    )


def busy(device: str) -> str:
    """Return what to say when another program has the port."""
    if "://" in device:
        return f"{device} hangs up: another program has it; end that, and run this again"
    return f"{device} is busy: close the program that has it open (a serial monitor, mpremote), or see `fuser {device}`"


def no_permission(device: str, group: int) -> str:
    """Return what to say when the port's owner does not let us open it. `group` is the device's."""
    try:
        name = grp.getgrgid(group).gr_name
    except KeyError:
        name = str(group)
    return (
        f"no permission to open {device}, which belongs to the group {name}: run `sudo usermod -aG {name} $USER`, "
        "then log out and in again"
    )
