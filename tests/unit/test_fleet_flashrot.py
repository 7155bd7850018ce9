"""A rotten journal, made by the board's own code: bits flip where they should, and the file system stays whole."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from emulated import Make, make
from test_fleet_accounting import HISTORY
from trigpoint_tools.boardfiles import device_directory
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.flash import list_files
from trigpoint_tools.fleet.flashrot import rot, standing_still, statements
from trigpoint_tools.fleet.schedule import Draw

__all__ = ["make"]


@pytest.fixture
def board(make: Make) -> EmulatedBoard:
    """A board whose journal holds the statements of HISTORY."""
    made = make()
    for name in ("journal", "__init__"):
        made.write_file(f"/lib/trig/{name}.py", (device_directory() / "trig" / f"{name}.py").read_bytes())
    raws = [statement.raw for statement in HISTORY]
    printed = made.exec(f"""
from trig.journal import Journal
journal = Journal('/journal', bytes(range(32)))
journal.create()
for raw in {raws!r}:
    journal.make_room()
    journal.append(raw)
print('kept', journal.next_seq)
""")
    assert "kept 5" in printed
    return made


READ = """
from trig.journal import Journal, JournalError
journal = Journal('/journal', bytes(range(32)))
print('whole', journal.recover(), journal.next_seq)
for seq in range(5):
    try:
        stored = journal.stored(seq)
        print('good', seq)
    except JournalError:
        print('bad', seq)
"""


def test_the_journal_is_read_from_outside(board: EmulatedBoard) -> None:
    image = board.directory / "flash.img"
    assert [statement.raw for statement in statements(image)] == [statement.raw for statement in HISTORY]


@pytest.mark.parametrize("seed", range(6))
def test_the_board_sees_exactly_what_was_destroyed(board: EmulatedBoard, seed: int) -> None:
    image = board.directory / "flash.img"
    files = list_files(image)
    rotten = rot(image, 2, range(2, 4), Draw("rot", seed))
    assert rotten.bits == 2
    assert len(rotten.before) == 5
    assert rotten.destroyed and set(rotten.destroyed) <= {2, 3}
    assert list_files(image) == files
    said = board.exec(READ).split("\n")
    assert "whole True 5" in said
    assert [int(line.split()[1]) for line in said if line.startswith("bad")] == list(rotten.destroyed)


def test_the_same_seed_rots_the_same(board: EmulatedBoard) -> None:
    image = board.directory / "flash.img"
    before = image.read_bytes()
    first = rot(image, 3, range(9), Draw("same"))
    after = image.read_bytes()
    image.write_bytes(before)
    assert rot(image, 3, range(9), Draw("same")) == first
    assert image.read_bytes() == after
    assert sum(bin(a ^ b).count("1") for a, b in zip(before, after, strict=True)) >= first.bits


def test_without_anything_worth_hitting_it_hits_anything_in_the_journal(board: EmulatedBoard) -> None:
    image = board.directory / "flash.img"
    before = image.read_bytes()
    assert rot(image, 1, (), Draw("any")).bits == 1
    assert image.read_bytes() != before
    assert "whole True 5" in board.exec(READ)  # one flip never costs the seq


def test_a_process_stands_still_and_goes_on() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            with standing_still(child.pid):
                deadline = time.monotonic() + 5
                while _state(child.pid) != "T" and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert _state(child.pid) == "T"
            assert _state(child.pid) != "T"
            with pytest.raises(ZeroDivisionError), standing_still(child.pid):
                raise ZeroDivisionError
            assert _state(child.pid) != "T"
        finally:
            os.kill(child.pid, signal.SIGKILL)
    with standing_still(child.pid), standing_still(None):
        pass


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
