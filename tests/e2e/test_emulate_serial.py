"""`trigpoint board emulate --serial` as a program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TRIGPOINT = str(Path(sys.executable).with_name("trigpoint"))


def refused(*words: object) -> str:
    done = subprocess.run(
        [_TRIGPOINT, "board", "emulate", *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    return done.stderr


@contextmanager
def running(*words: object) -> Iterator[dict[str, Any]]:
    """Run it and give what it says of its ports; press Ctrl-C at the end."""
    command = [_TRIGPOINT, "board", "emulate", *map(str, words), "--serial", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()


def mpremote(port: str, code: str) -> str:
    command = [sys.executable, "-m", "mpremote", "connect", port, "exec", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_board_on_a_port_outlives_the_program(tmp_path: Path) -> None:
    directory, link = tmp_path / "board", tmp_path / "tty"
    with running(directory, "--chip", "esp32c6", "--link", link) as board:
        assert board["chip"] == "esp32c6"
        assert board["firmware_offset"] == 0
        assert board["rfc2217"].startswith("rfc2217://127.0.0.1:")
        assert Path(board["pty"]) == link.readlink()
        mac = mpremote(board["pty"], "import machine; print(machine.unique_id().hex()); open('/it', 'w').close()")
        assert mac.strip() == board["mac"]
        assert "in use by another program" in refused(directory, "--serial")
    assert not link.is_symlink()
    with running(directory) as board:
        assert "it" in mpremote(board["pty"], "import os; print(os.listdir('/'))")
    assert (directory / "flash.bin").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_is_refused_with_a_remedy(tmp_path: Path) -> None:
    directory = tmp_path / "board"
    assert "--gateway" in refused(directory)
    assert "add --serial" in refused(directory, "--blank")
    assert "choose one of esp32" in refused(directory, "--serial", "--chip", "esp8266")
    assert not directory.exists()
    (tmp_path / "file").touch()
    assert "is a file" in refused(tmp_path / "file", "--serial")
    assert "cannot make the link" in refused(directory, "--serial", "--link", tmp_path / "file")
    assert "leave --chip away" in refused(directory, "--serial", "--chip", "esp32s3")
    assert "erase-flash" in refused(directory, "--serial", "--blank")
    (directory / "flash.bin").unlink()
    assert "without a serial port" in refused(directory, "--serial")
