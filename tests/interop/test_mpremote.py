"""Unmodified mpremote against an emulated board's prompt."""

from __future__ import annotations

import hashlib
import os
import select
import time
from pathlib import Path

import pytest
from emulated import Make, make
from serialdevice import Device, Plug, plug

__all__ = ["make", "plug"]


@pytest.fixture
def device(plug: Plug) -> Device:
    made = plug()
    made.wait_until("micropython")
    return made


class Terminal:
    """A person at the friendly prompt."""

    def __init__(self, device: Device) -> None:
        self._file = os.open(device.ports.pty, os.O_RDWR | os.O_NOCTTY)
        self.seen = b""

    def keys(self, data: bytes) -> None:
        os.write(self._file, data)

    def wait_for(self, text: bytes) -> bytes:
        """Return what was printed up to this text, and forget it."""
        end = time.monotonic() + 20
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self._file], [], [], 0.1)[0]:
                self.seen += os.read(self._file, 4096)
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def close(self) -> None:
        os.close(self._file)


def test_the_friendly_prompt_as_a_person_uses_it(device: Device) -> None:
    terminal = Terminal(device)
    terminal.keys(b"\r\x02")
    banner = terminal.wait_for(b"more information.\r\n>>> ")
    assert b"MicroPython " in banner
    assert b"Emulated ESP32 module with ESP32\r\n" in banner
    terminal.keys(b"import time\r")
    terminal.wait_for(b">>> ")
    terminal.keys(b"print('before'); time.sleep(1000)\r")
    terminal.wait_for(b"\nbefore\r\n")
    terminal.keys(b"\x03")
    terminal.wait_for(b"KeyboardInterrupt: \r\n>>> ")
    terminal.keys(b"while True: pass\r\r")
    time.sleep(0.3)
    terminal.keys(b"\x03")
    terminal.wait_for(b"KeyboardInterrupt: \r\n>>> ")
    terminal.keys(b"\x04")
    terminal.wait_for(b"MPY: soft reboot\r\n")
    terminal.wait_for(b"more information.\r\n>>> ")
    terminal.keys(b"time\r")
    terminal.wait_for(b"NameError: name 'time' isn't defined")
    terminal.close()


def test_main_runs_in_friendly_mode_only_and_boot_always(device: Device, tmp_path: Path) -> None:
    for name in ("boot", "main"):
        (tmp_path / f"{name}.py").write_text(f"print('this is', '{name}')\n")
    device.mpremote("cp", tmp_path / "boot.py", tmp_path / "main.py", ":")
    terminal = Terminal(device)
    terminal.keys(b"\r\x03\x02\x04")
    terminal.wait_for(b"soft reboot\r\n")
    said = terminal.wait_for(b"more information.\r\n>>> ")
    assert said.startswith(b"this is boot\r\nthis is main\r\n")
    terminal.keys(b"\r\x01")
    terminal.wait_for(b"raw REPL; CTRL-B to exit\r\n>")
    terminal.keys(b"\x04")
    assert terminal.wait_for(b">") == b"OK\r\nMPY: soft reboot\r\nthis is boot\r\nraw REPL; CTRL-B to exit\r\n>"
    terminal.close()


def test_reset_and_watchdog_give_the_roms_message_and_a_friendly_prompt(device: Device) -> None:
    terminal = Terminal(device)
    for code, word in (
        (b"import machine; machine.reset()\r", b"rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"),
        (b"import machine; machine.WDT(timeout=50)\r", b"Task watchdog got triggered"),
    ):
        terminal.keys(b"\r\x03" + code)
        terminal.wait_for(word)
        terminal.wait_for(b"more information.\r\n>>> ")
    terminal.keys(b"import machine; machine.reset_cause() == machine.WDT_RESET\r")
    terminal.wait_for(b"\nTrue\r\n>>> ")
    terminal.close()
    device.mpremote("reset")
    device.mpremote("exec", "import machine; assert machine.reset_cause() == machine.SOFT_RESET")


def test_files_and_folders(device: Device, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.txt").write_text("one\n")
    (folder / "deep" / "two.bin").write_bytes(bytes(range(256)) * 20)
    printed = device.mpremote(
        *("fs", "mkdir", ":made", "+", "fs", "touch", ":made/empty", "+", "fs", "cp", "-r", folder, ":", "+"),
        *("fs", "sha256sum", ":folder/deep/two.bin", "+", "fs", "tree", "+", "fs", "ls", "+", "df"),
    )
    assert hashlib.sha256((folder / "deep" / "two.bin").read_bytes()).hexdigest() in printed
    assert "made/" in printed
    assert "two.bin" in printed
    assert "2097152" in printed
    back = tmp_path / "back"
    back.mkdir()
    device.mpremote("fs", "cp", "-r", ":folder", back)
    assert (back / "folder" / "deep" / "two.bin").read_bytes() == (folder / "deep" / "two.bin").read_bytes()
    device.mpremote("fs", "rm", "-r", ":folder")
    assert "folder" not in device.mpremote("fs", "ls")


def test_resume_mount_mip_rtc_and_edit(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device.mpremote("exec", "kept = 6 * 7")
    assert "42" in device.mpremote("resume", "eval", "kept")
    assert "NameError" in device.mpremote("eval", "kept", fails=True)
    (tmp_path / "here.py").write_text("print('from the host')\n")
    assert "from the host" in device.mpremote("mount", tmp_path, "exec", "import here")
    package = tmp_path / "package.json"
    package.write_text('{"urls": [["there.py", "here.py"]], "version": "1"}')
    device.mpremote("mip", "install", package)
    assert "from the host" in device.mpremote("exec", "import there")
    device.mpremote("rtc", "--set")
    assert str(time.gmtime().tm_year) in device.mpremote("resume", "rtc")
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\necho "edited = 1" >> "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    device.mpremote("edit", ":/lib/there.py")
    assert "edited = 1" in device.mpremote("cat", ":/lib/there.py")


def test_romfs_lies_in_flash_and_costs_no_heap(device: Device, tmp_path: Path) -> None:
    free = "import gc; gc.collect(); print(gc.mem_free())"
    before = int(device.mpremote("exec", free))
    assert "Not a valid ROMFS" in device.mpremote("romfs", "query")
    folder = tmp_path / "rom"
    (folder / "lib").mkdir(parents=True)
    (folder / "burnt.py").write_text("print('from the ROM')\n")
    (folder / "large.bin").write_bytes(bytes(60_000))
    device.mpremote("romfs", "--no-mpy", "-o", tmp_path / "it.romfs", "build", folder)
    device.mpremote("romfs", "deploy", tmp_path / "it.romfs")
    assert "ROMFS image size" in device.mpremote("romfs", "query")
    assert "from the ROM" in device.mpremote("exec", "import burnt")
    assert "['', '.frozen', '/rom', '/rom/lib', '/lib']" in device.mpremote("exec", "import sys; print(sys.path)")
    assert "60000" in device.mpremote("exec", "print(len(open('/rom/large.bin', 'rb').read(70000)))")
    after = int(device.mpremote("exec", free))
    assert before - after < 1000
    assert (tmp_path / "it.romfs").read_bytes() in device.flash
    device.esptool("erase-region", "0x1e0000", "0x1000")
    device.wait_until("micropython")
    assert "Not a valid ROMFS" in device.mpremote("romfs", "query")


def test_code_has_the_heap_that_it_has_on_a_board_without_a_port(device: Device, make: Make, tmp_path: Path) -> None:
    code = "import gc\ngc.collect()\nprint('free', gc.mem_free())\n"
    without = make(main=code)
    without.start()
    assert without.wait(20) == 0
    expected = int(without.console[-1].split()[1])
    (tmp_path / "main.py").write_text(code)
    device.mpremote("cp", tmp_path / "main.py", ":")
    terminal = Terminal(device)
    terminal.keys(b"\r\x02import machine; machine.reset()\r")
    terminal.wait_for(b"\r\nfree ")
    assert abs(int(terminal.wait_for(b"\r\n")) - expected) < 500
    terminal.close()


def test_over_rfc2217_and_after_a_restart(device: Device, plug: Plug) -> None:
    printed = device.mpremote("exec", "with open('/note', 'w') as file: file.write('x' * 3000)", rfc2217=True)
    assert not printed.strip()
    device.unplug()
    again = plug()
    again.wait_until("micropython")
    assert "3000" in again.mpremote("exec", "import os; print(os.stat('/note')[6])")
