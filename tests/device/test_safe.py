"""Safe mode on an emulated board: a broken application keeps nobody from the prompt, and says why it ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from boardrunner import DEVICE
from brokers import RunningBroker, embedded_broker  # noqa: F401
from emulated import Make, make
from test_app import World
from trigpoint_tools import boardfiles
from trigpoint_tools.emulator.board import EmulatedBoard

__all__ = ["make"]

_LOADER = {"/" + name: (DEVICE / name).read_bytes() for name in ("boot.py", "main.py", "slots.py")}
_PAUSES = (
    (b"_PAUSE_MS = const(5000)", b"_PAUSE_MS = const(1)"),
    (b"_SAFE_MS = const(600000)", b"_SAFE_MS = const(2000)"),
)


def hurry(board: EmulatedBoard) -> None:
    """Give a board our loader, without its long pauses."""
    loader = dict(_LOADER)
    for long, short in _PAUSES:
        assert loader["/slots.py"].count(long) == 1
        loader["/slots.py"] = loader["/slots.py"].replace(long, short)
    for path, content in loader.items():
        board.write_file(path, content)


def board_with(make: Make, start: str) -> EmulatedBoard:
    """Return a board with our loader, without its long pauses, and an application of one file."""
    board = make()
    hurry(board)
    board.write_file("/a/trig/__init__.py", b"")
    board.write_file("/a/trig/start.py", start.encode())
    return board


def counted(board: EmulatedBoard, text: str) -> int:
    return sum(text in line for line in board.console)


@pytest.mark.parametrize(
    ("application", "cause"),
    [
        ("def start(): raise ValueError('sensor on fire')", "ValueError: sensor on fire"),
        ("syntax error", "SyntaxError: invalid syntax"),
        ("import nowhere", "ImportError: no module named 'nowhere'"),
        ("def start(): return bytearray(1 << 30)", "MemoryError: memory allocation failed"),
    ],
)
def test_an_application_that_always_fails(make: Make, application: str, cause: str) -> None:
    board = board_with(make, application)
    board.start()
    board.wait_for("safe mode: " + cause)
    assert counted(board, cause) == 6  # five ends, and the line that tells of them
    board.stop()
    assert board.exec("import trig; print(trig.__file__)").endswith("/a/trig/__init__.py\n")
    assert board.exec("import slots; print(slots.load().safe, slots.load().cause)").startswith("1 " + cause)


def test_the_watchdog_is_a_bad_end(make: Make) -> None:
    board = board_with(make, "import machine, time\ndef start():\n machine.WDT(timeout=50)\n while True: time.sleep(1)")
    board.start()
    board.wait_for("safe mode: watchdog")


def test_safe_mode_tries_again(make: Make) -> None:
    board = board_with(make, "def start(): 1 // 0")
    board.start()
    board.wait_for("safe mode: ZeroDivisionError")
    for _ in range(100):
        if counted(board, "safe mode") == 2:
            break
        board.wait(0.1)
    assert counted(board, "Traceback") == 6, board.console


def test_ctrl_c_in_safe_mode_gives_the_prompt(make: Make) -> None:
    board = board_with(make, "def start(): 1 // 0")
    board.start()
    board.wait_for("safe mode")
    board.stop()
    assert board.wait(5) == 0


def test_the_gateway_is_told(tmp_path: Path, embedded_broker: RunningBroker) -> None:  # noqa: F811
    world = World(tmp_path, embedded_broker.port)
    board = world.board
    hurry(board)
    board.write_file("/a/trig/start.py", b"def start(): raise ValueError('loose wire')")
    board.start()
    board.wait_for("safe mode: ")
    board.stop()
    board.exec("import os; os.remove('/a/trig/start.py')")
    board.start()
    world.gateway.wait_for(lambda g: any(report["online"] for report in g.health))
    report = next(report for report in world.gateway.health if report["online"])
    assert (report["safe_modes"], report["bad_end"]) == (1, "ValueError: loose wire")
    world.close()


def test_an_application_that_ends_well_is_good(make: Make) -> None:
    board = board_with(make, "import slots\ndef start(): print('bad', slots.load().bad)")
    board.exec("import slots\ns = slots.load()\ns.bad = 3\nslots.save(s)")
    board.start()
    assert board.wait(10) == 0
    assert board.console[-1] == "bad 3"
    assert board.exec("import slots; print(slots.load().bad)") == "0\n"


def test_a_board_without_any_application_reaches_its_prompt(make: Make) -> None:
    board = make()
    for path, content in _LOADER.items():
        board.write_file(path, content)
    assert board.exec("print('prompt')") == "prompt\n"


def test_what_lands_where() -> None:
    names = set(boardfiles.device_files(DEVICE))
    assert {"/boot.py", "/main.py", "/slots.py", "/a/trig/start.py", "/a/trig/enroll.py"} <= names
    assert not [name for name in names if name.startswith("/trig/")]
    assert json.dumps(sorted(name for name in names if name.count("/") == 1)) == '["/boot.py", "/main.py", "/slots.py"]'


def test_the_loader_is_small() -> None:
    assert len((DEVICE / "boot.py").read_bytes()) < 400


@pytest.mark.parametrize("name", ["boot.py", "main.py", "slots.py"])
def test_the_loader_needs_no_slot(name: str) -> None:
    text = Path(DEVICE / name).read_text()
    for allowed in ("from trig.start import start", "from trig.calling import begun", "/trig"):
        text = text.replace(allowed, "")
    assert "trig" not in text
