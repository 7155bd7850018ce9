"""The check of the board's sources finds what it is there to find."""

from pathlib import Path

import pytest
from trigpoint_tools.bench import signing
from trigpoint_tools.checks import device


def board_code(folder: Path, text: str) -> Path:
    source = folder / "device" / "trig" / "senml.py"
    source.parent.mkdir(parents=True)
    source.write_text(text)
    return folder / "device"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("x = 1.5", "floating-point number"),
        ("def f(a):\n    return a / 2", "true division"),
        ("def f(a):\n    a /= 2", "true division"),
        ("x = float('1')", "float"),
        ("import math", "import of math"),
        ("from math import floor", "import of math"),
    ],
)
def test_floats_are_found(tmp_path: Path, text: str, finding: str) -> None:
    (found,) = device.float_findings(board_code(tmp_path, text))
    assert finding in found


def test_integers_are_not(tmp_path: Path) -> None:
    assert device.float_findings(board_code(tmp_path, "def f(a):\n    return a // 2 * 10 ** -3\nx = '1.5'")) == []


def test_types_are_the_boards(tmp_path: Path) -> None:
    text = """
import time
import network
import esp32
from machine import I2C, Pin

def right():
    bus = I2C(0, scl=Pin(22), sda=Pin(21))
    nvs = esp32.NVS("trig")
    return bus.scan(), time.ticks_diff(time.ticks_ms(), 0), nvs.get_blob("key", bytearray(32)), network.WLAN

def wrong():
    bus = I2C(0, scl=Pin(22), sda=Pin(21))
    bus.read_all()
    time.monotonic()
    time.ticks_ms() - time.ticks_ms()
"""
    findings = device.type_findings(board_code(tmp_path, text), tmp_path)
    lines = [text.splitlines()[int(finding.split(":")[1]) - 1].strip() for finding in findings]
    assert lines == ["bus.read_all()", "time.monotonic()", "time.ticks_ms() - time.ticks_ms()"]


def test_what_does_not_compile_is_named(tmp_path: Path) -> None:
    folder = board_code(tmp_path, "def f(:\n")
    findings, _ = device.compile_findings([folder / "trig" / "senml.py"], "xtensawin")
    assert len(findings) == 1
    assert "senml.py: does not compile for xtensawin" in findings[0]
    assert "SyntaxError" in findings[0]


def test_signing_figure_holds() -> None:
    said: list[str] = []
    figures = signing.figures(said.append)
    assert said
    assert figures["sign_vs_naive"] <= 0.30
    assert figures["sign_ms"] > 0
