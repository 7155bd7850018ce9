"""What esptool prints, and what becomes of it. The program here is a stand-in that prints what the real one did."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.errors import OperatorError
from trigpoint_tools.serial.esptool import Chip, Esptool, Reader, explain, pieces

PORT = "/dev/ttyUSB7"
HELLO = """\
esptool v5.6.0
Serial port /dev/ttyUSB7:
Connecting...NOTE: Failed to get VID/PID of a device on rfc2217://127.0.0.1:4301
Connected to ESP32-S3 on /dev/ttyUSB7:
Chip type:          ESP32-S3 (QFN56) (revision v0.2)
Features:           Wi-Fi, BT 5 (LE), Dual Core + LP Core, 240MHz
MAC:                24:0a:c4:e0:0f:84

Uploading stub flasher...
Stub flasher running.
"""
SIZE = "Flash Memory Information:\nManufacturer: ef\nDevice: 4016\nDetected flash size: 8MB\n"


def stand_in(tmp_path: Path, text: str, code: int) -> Esptool:
    program = tmp_path / "esptool.py"
    program.write_text(f"import sys\nsys.stdout.write({text!r})\nsys.exit({code})\n")
    return Esptool(PORT, (sys.executable, str(program)))


def test_chip_mac_and_size(tmp_path: Path) -> None:
    chip = stand_in(tmp_path, HELLO + SIZE, 0).identify()
    assert chip == Chip("esp32s3", "ESP32-S3 (QFN56) (revision v0.2)", "24:0a:c4:e0:0f:84", 8 << 20)


def test_a_c6_tells_its_mac_as_the_base_of_a_longer_one(tmp_path: Path) -> None:
    longer = (
        "MAC:                24:0a:c4:ff:fe:e0:0f:84\nBASE MAC:           24:0a:c4:e0:0f:84\nMAC_EXT:            ff:fe"
    )
    text = HELLO.replace("MAC:                24:0a:c4:e0:0f:84", longer).replace("ESP32-S3", "ESP32-C6")
    chip = stand_in(tmp_path, text, 0).identify()
    assert (chip.name, chip.mac, chip.flash) == ("esp32c6", "24:0a:c4:e0:0f:84", 0)


def test_progress_counts_all_files(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(100))
    large.write_bytes(bytes(300))
    text = HELLO + (
        "Compressed 100 bytes to 20...\n"
        "Writing at 0x00001000 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 100.0% 20/20 bytes... [0s] \r"
        "Wrote 100 bytes (20 compressed) at 0x00001000 in 0.1 seconds (827.9 kbit/s).\nHash of data verified.\n"
        "Compressed 300 bytes to 60...\n"
        "Writing at 0x00010000 ━━━━━━━━━━━━━━━                50.0% 30/60 bytes... [0s] \r"
        "Wrote 300 bytes (60 compressed) at 0x00010000 in 0.1 seconds (827.9 kbit/s).\nHash of data verified.\n"
    )
    seen: list[float] = []
    stand_in(tmp_path, text, 0).write("esp32s3", [(0x1000, small), (0x10000, large)], seen.append)
    assert seen == [0.25, 0.625, 1.0, 1.0]


# Each error of the real esptool, as it prints it, and the word that the remedy turns on.
ERRORS = {
    "wrong chip": (
        HELLO + "\nA fatal error occurred: This chip is ESP32, not ESP32-S3. Wrong chip argument?",
        "not ESP32-S3",
    ),
    "wrong image": (
        HELLO + "A fatal error occurred: 's3.bin' is not an ESP32 image. Use --force.",
        "--firmware VERSION",
    ),
    "not there": (
        "A fatal error occurred: Could not open /dev/ttyUSB7, the port is busy or doesn't exist.\n"
        "([Errno 2] could not open port /dev/ttyUSB7: [Errno 2] No such file or directory: '/dev/ttyUSB7')",
        "no data lines",
    ),
    "busy": (
        "A fatal error occurred: Could not open /dev/ttyUSB7, the port is busy or doesn't exist.\n"
        "([Errno 11] Could not exclusively lock port /dev/ttyUSB7: [Errno 11] Resource temporarily unavailable)",
        "is busy: close the program",
    ),
    "silent": (
        "A fatal error occurred: Failed to connect to Espressif device: No serial data received.",
        "check that the board has power",
    ),
    "boot button": (
        "A fatal error occurred: Failed to connect to ESP32: Wrong boot mode detected (0x13)! "
        "The chip needs to be in download mode.",
        "hold its BOOT button",
    ),
    "cut": (
        HELLO + "Writing at 0x00010000 ━━━ 10.0% 1/10 bytes... [0s]\nA fatal error occurred: "
        "The chip stopped responding.",
        "cut in the middle",
    ),
    "unplugged": (
        HELLO + "A serial exception error occurred: device reports readiness to read but returned no data",
        "cut in the middle",
    ),
    "port gone": (
        HELLO + "A fatal error occurred: Could not configure port: [Errno 2] No such file or directory: '/dev/ttyUSB7'",
        "cut in the middle",
    ),
    "old revision": (
        HELLO
        + "A fatal error occurred: 'f.bin' requires chip revision 3 or higher (this chip is revision 1). Use --force",
        "is of revision 1 and this firmware needs 3",
    ),
    "locked": (
        HELLO + "A fatal error occurred: Secure Boot V1 detected, writing to flash regions < 0x8000 is disabled",
        "locked by its fuses",
    ),
    "unknown chip": (
        "A fatal error occurred: Unexpected chip ID value 99. Failed to autodetect chip type.\nProbably unsupported",
        "none that esptool knows",
    ),
    "too large": (
        HELLO + "A fatal error occurred: File 'f' (length 4) at offset 4 will not fit in 4194304 bytes of flash. ",
        "larger than the flash",
    ),
    "slow bridge": (
        "A fatal error occurred: Failed to set baud rate 460800. The driver may not support this rate.",
        "cannot do 460800 bits a second",
    ),
    "nobody there": (
        "A fatal error occurred: Could not open rfc2217://x:1, the port is busy or doesn't exist.\n"
        "(Could not open port rfc2217://x:1: [Errno 111] Connection refused)",
        "no data lines",
    ),
    "damaged": (HELLO + "A fatal error occurred: MD5 of file does not match data in flash!", "shorter cable"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_line_with_the_remedy(name: str, tmp_path: Path) -> None:
    text, word = ERRORS[name]
    image = tmp_path / "image"
    image.write_bytes(bytes(8))
    with pytest.raises(OperatorError) as caught:
        stand_in(tmp_path, text, 2).write("esp32s3", [(0, image)])
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_permission_is_told_from_busy() -> None:
    reader = Reader()
    reader.line("A fatal error occurred: Could not open /dev/null, the port is busy or doesn't exist.")
    reader.line("([Errno 13] could not open port /dev/null: [Errno 13] Permission denied: '/dev/null')")
    assert "usermod -aG" in explain(reader, "/dev/null")


def test_it_must_end_well(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="gave up"):
        stand_in(tmp_path, "something new went wrong\n", 1).identify()
    with pytest.raises(OperatorError, match="pip install -U esptool"):
        stand_in(tmp_path, "", 0).identify()
    reader = Reader()
    reader.line("Serial port rfc2217://lab:4000:")
    assert "hangs up: another program has it" in explain(reader, "rfc2217://lab:4000")


@given(st.binary(max_size=400), st.integers(1, 9))
def test_whatever_comes_is_read(data: bytes, size: int) -> None:
    reader = Reader(total=10)
    for piece in pieces(data[at : at + size] for at in range(0, len(data), size)):
        reader.line(piece)
    assert 0 <= reader.part <= 1
    assert "\n" not in explain(reader, PORT)


@given(st.lists(st.text("ab%", max_size=5), max_size=8), st.integers(1, 5))
def test_lines_are_put_together_again(lines: list[str], size: int) -> None:
    data = "".join(line + "\n" for line in lines).encode()
    assert list(pieces(data[at : at + size] for at in range(0, len(data), size))) == lines
