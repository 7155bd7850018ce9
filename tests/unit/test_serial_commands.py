"""Which board a command means, and what boards say over the network."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.cli import app, one_line
from trigpoint.commands.board_enroll import chip_of
from trigpoint.commands.board_sensors import decimal
from trigpoint.commands.boardoptions import is_port
from trigpoint.commands.boardtarget import Known, pick
from trigpoint.commands.boardview import troubles
from trigpoint.errors import OperatorError
from trigpoint_tools.serial import ports
from trigpoint_tools.serial.remote import next_counter, parse, verdict
from trigpoint_tools.serial.session import BoardCodeError
from typer.testing import CliRunner


def summary(first: int, active: bool = True) -> Known:
    return Known(bytes([first]) + bytes(31), bytes(20), active, False, 0, 0, None)


def test_a_board_is_named_by_the_beginning_of_its_id() -> None:
    boards = [summary(0x3D), summary(0x4D), summary(0x5D, active=False)]
    assert pick(boards, "3D00") is boards[0]
    assert pick(boards[:1], None) is boards[0]
    for wanted, said in ((None, "one fits"), ("ffff", "no such board"), ("/nowhere", "neither"), ("3d", "neither")):
        with pytest.raises(OperatorError, match=said):
            pick(boards, wanted)
    assert pick(boards[1:], None) is boards[1]
    assert pick(boards, "5d00") is boards[2]
    with pytest.raises(OperatorError, match="knows no board yet"):
        pick([], None)


def test_ports_are_told_from_directories() -> None:
    assert is_port("/dev/ttyUSB0") and is_port("rfc2217://lab:4000") and is_port("COM3")
    assert not is_port("board1") and not is_port("3de4edb5")


@pytest.mark.parametrize(
    ("machine", "chip"),
    [
        ("Generic ESP32 module with ESP32", "esp32"),
        ("Generic ESP32 module with SPIRAM with ESP32", "esp32"),
        ("Generic ESP32S3 module with ESP32S3", "esp32s3"),
        ("ESP32C3 module with ESP32-C3", "esp32c3"),
        ("Generic ESP32C6 module with ESP32C6FH4", "esp32c6"),
        ("Emulated ESP32 module with ESP32", "esp32"),
    ],
)
def test_the_chip_is_in_what_micropython_calls_its_machine(machine: str, chip: str) -> None:
    class Session:
        def run(self, code: str) -> str:
            return machine + "\r\n"

    assert chip_of(Session()) == chip


@given(st.integers(-(2**31), 2**31), st.integers(-9, 0))
def test_every_measured_digit_is_shown(mantissa: int, exponent: int) -> None:
    text = decimal(mantissa, exponent)
    _, _, behind = text.partition(".")
    assert len(behind) == -exponent
    assert int(text.replace(".", "")) == mantissa


@given(st.binary(max_size=60))
def test_any_health_is_read_or_passed_over(data: bytes) -> None:
    health = parse(data)
    if health is not None:
        assert next_counter(health) >= 1
        assert verdict(health, 1) is None or "command" in health


JSON: Any = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: st.dictionaries(st.sampled_from(["command", "counter", "state", "reason"]), inner, max_size=4),
    max_leaves=8,
)


@given(JSON)
def test_any_command_record_is_read_or_passed_over(value: object) -> None:
    health = parse(json.dumps(value).encode())
    if health is not None:
        assert next_counter(health) >= 1
        verdict(health, 1)


def test_what_became_of_a_command() -> None:
    health = {"command": {"counter": 7, "state": "rolled back", "reason": "no ack in 600 s"}}
    assert next_counter(health) == 8
    assert verdict(health, 7) == ("rolled back", "no ack in 600 s")
    assert verdict(health, 8) is None
    assert verdict({"command": {"counter": 7, "state": "trying"}}, 7) is None
    assert parse(b"[1]") is None
    assert parse(b" " * 5000 + b"{}") is None


def test_no_word_of_a_board_steers_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = BoardCodeError("Traceback:\r\nValueError: \x1b]0;owned\x07\x9b2J\r\n")
    assert (raised.last, str(BoardCodeError(" "))) == ("ValueError: ?]0;owned??2J", "the board says: nothing")
    assert one_line(OperatorError("it said \x1b[2J\nand \u202etxt.exe")) == "it said ?[2J and ?txt.exe"
    evil = ports.Port("/dev/ttyUSB0", "CP210x", "\x1b[2J[/]7")
    monkeypatch.setattr(ports, "find", lambda: [evil])
    listed = CliRunner().invoke(app, ["board", "ls"])
    assert listed.exit_code == 0, listed.exception
    assert "?[2J[/]7" in listed.stdout


def test_what_was_before_the_first_connection_is_no_trouble() -> None:
    early = {"online": True, "connections": 1, "link_error": "the broker's name cannot be looked up"}
    assert troubles(early) == []
    for later in ({**early, "connections": 2}, {**early, "online": False}):
        (row,) = troubles(later)
        assert "looked up" in row.text
