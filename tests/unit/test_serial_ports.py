"""Which ports have a board, and what is said of one that cannot be used."""

import errno
import grp
import os
import pty
from dataclasses import dataclass
from pathlib import Path

import pytest
import serial
from trigpoint.errors import OperatorError
from trigpoint_tools.serial import ports
from trigpoint_tools.serial.ports import Port


@dataclass
class Listed:
    device: str
    vid: int | None = None
    pid: int | None = None
    serial_number: str | None = None


def test_bridges_are_known_by_their_usb_id() -> None:
    listed = [
        Listed("/dev/ttyUSB1", 0x1A86, 0x7523),
        Listed("/dev/ttyUSB0", 0x10C4, 0xEA60, "0001"),
        Listed("/dev/ttyACM0", 0x303A, 0x1001, "24:0A:C4:00:00:01"),
        Listed("/dev/ttyACM1", 0x1A86, 0x55D4),
        Listed("/dev/ttyUSB2", 0x0403, 0x6010),
        Listed("/dev/ttyUSB3", 0x2341, 0x0043),  # an Arduino Uno
        Listed("/dev/ttyS0"),
    ]
    found = ports.boards(listed)
    assert [(port.device, port.bridge) for port in found] == [
        ("/dev/ttyACM0", "Espressif USB-Serial-JTAG"),
        ("/dev/ttyACM1", "CH9102"),
        ("/dev/ttyUSB0", "CP210x"),
        ("/dev/ttyUSB1", "CH340"),
        ("/dev/ttyUSB2", "FTDI"),
    ]
    assert ports.has_mac(found[0], "24:0a:c4:00:00:01")
    assert not ports.has_mac(found[2], "24:0a:c4:00:00:01")


def test_choosing() -> None:
    one, two = Port("/dev/ttyUSB0", "CH340"), Port("/dev/ttyUSB1", "FTDI")
    assert ports.choose(None, [one]) is one
    assert ports.choose("/dev/ttyUSB1", [one, two]) is two
    assert ports.choose("rfc2217://lab:4000", [one]).is_url
    with pytest.raises(OperatorError, match=r"2 boards on USB.*ttyUSB0 \(CH340\).*--all"):
        ports.choose(None, [one, two])


def test_native_usb_that_comes_back_under_another_name() -> None:
    old = Port("/dev/ttyACM0", "Espressif USB-Serial-JTAG", "24:0A:C4:00:00:01")
    new = Port("/dev/ttyACM1", "Espressif USB", "240ac4000001")
    other = Port("/dev/ttyACM2", "Espressif USB", "24:0A:C4:00:00:02")
    assert ports.moved(old, "24:0a:c4:00:00:01", [other, new]) is new
    assert ports.moved(old, "24:0a:c4:00:00:01", [other, old]) is old
    assert ports.moved(old, "24:0a:c4:00:00:01", [other]) is old
    gone, alike = Port("/dev/ttyUSB0", "CP210x", "0001"), Port("/dev/ttyUSB1", "CP210x", "0001")
    assert ports.moved(gone, "24:0a:c4:00:00:03", [alike, other]) is gone


def test_a_cable_without_data_lines_shows_no_port() -> None:
    with pytest.raises(OperatorError, match="charge only and have no data lines"):
        ports.choose(None, [])
    with pytest.raises(OperatorError, match=r"no port /dev/ttyUSB9.*no data lines"):
        ports.check(Port("/dev/ttyUSB9"))


def test_a_busy_port() -> None:
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    try:
        ports.check(Port(name))
        with (
            serial.Serial(name, exclusive=True),
            pytest.raises(OperatorError, match=f"{name} is busy: close the program"),
        ):
            ports.check(Port(name))
    finally:
        os.close(master)
        os.close(slave)


def test_no_permission_names_the_group(tmp_path: Path) -> None:
    device = tmp_path / "tty"
    device.touch()
    group = grp.getgrgid(device.stat().st_gid).gr_name
    said = ports.explain(str(device), PermissionError(errno.EACCES, "Permission denied"))
    assert f"the group {group}" in said
    assert f"sudo usermod -aG {group} $USER" in said
    assert "the group 4000000" in ports.no_permission("/dev/ttyUSB0", 4_000_000)


def test_a_port_that_is_not_ours_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    group = grp.getgrgid(os.fstat(slave).st_gid).gr_name
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may open everything
    try:
        with pytest.raises(
            OperatorError, match=rf"no permission to open {name}.* the group {group}: run `sudo usermod"
        ):
            ports.check(Port(name))
    finally:
        os.close(master)
        os.close(slave)


def test_what_is_no_serial_port(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError, match="is not a serial port"):
        ports.check(Port(str(tmp_path / "file")))
    ports.check(Port("rfc2217://nobody:1"))  # whoever opens it will see
