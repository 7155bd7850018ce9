"""The wire between board and emulator, NVS, flash images, Wi-Fi and facts: all without a board."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.clock import WorldClock
from trigpoint_tools import boardfiles
from trigpoint_tools.emulator import flash
from trigpoint_tools.emulator.errors import EmulatorError, HardwareError
from trigpoint_tools.emulator.facts import Facts, Wiring, access_point_of, heap_bytes, wiring_of
from trigpoint_tools.emulator.nvs import Nvs, StorageFile
from trigpoint_tools.emulator.pads import Pads
from trigpoint_tools.emulator.soc import ResetCause, Soc
from trigpoint_tools.emulator.wifi import ATTEMPT_S, CONNECT_S, AccessPoint, Station, Status
from trigpoint_tools.emulator.wire import Kind, RequestReader, WireFormatError, error, reply

requests = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=300)), max_size=8)


@given(requests, st.data())
def test_requests_survive_any_cutting(sent: list[tuple[Kind, bytes]], data: st.DataObject) -> None:
    stream = b"".join(struct.pack("<BH", kind, len(payload)) + payload for kind, payload in sent)
    reader, received, at = RequestReader(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        received += reader.feed(stream[at : at + size])
        at += size
    assert received == sent


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_random_bytes_give_requests_or_the_readers_error(chunks: list[bytes]) -> None:
    reader = RequestReader()
    try:
        for chunk in chunks:
            reader.feed(chunk)
    except WireFormatError:
        pass


def test_replies_have_status_and_length() -> None:
    assert reply(b"abc") == b"\3\0\0abc"
    assert error(-202) == b"\4\0\1" + struct.pack("<i", -202)
    assert error(0, "no") == b"\6\0\1\0\0\0\0no"
    with pytest.raises(WireFormatError):
        reply(bytes(65536))


def soc(directory: Path, now: list[float]) -> Soc:
    return Soc(
        mac=b"\x24\x0a\xc4\1\2\3",
        clock=WorldClock(1_370_000_000, 1000.0, 60.0),
        real_ns=lambda: int(now[0] * 1e9),
        monotonic=lambda: now[0],
        nvs=Nvs(StorageFile(directory / "nvs.json")),
        station=Station(AccessPoint("home", "secret")),
        pads=Pads(),
    )


@given(
    st.sampled_from(sorted(set(Kind) - {Kind.RESET, Kind.RESOLVE, Kind.RESOLVE_DATAGRAM, Kind.DEEP_SLEEP})),
    st.binary(max_size=60),
)
def test_any_payload_gives_an_answer_or_an_error(kind: Kind, payload: bytes) -> None:
    chip = soc(Path("/nonexistent"), [1000.0])
    try:
        assert isinstance(chip.answer(kind, payload), bytes)
    except (HardwareError, ValueError, struct.error):
        pass
    except OSError:
        assert kind == Kind.NVS_COMMIT


def test_rtc_runs_at_world_speed_over_resets_and_starts_anew_with_power(tmp_path: Path) -> None:
    now = [1000.0]
    chip = soc(tmp_path, now)

    def rtc_s() -> float:
        return struct.unpack_from("<q", chip.answer(Kind.BOOT, bytes(8)))[0] / 1e6

    assert rtc_s() == 0
    now[0] += 10
    assert rtc_s() == 600
    chip.answer(Kind.RTC_SET, struct.pack("<q", 5_000_000_000))
    chip.answer(Kind.RTC_MEMORY_SET, b"kept")
    now[0] += 1
    chip.reset(ResetCause.WATCHDOG)
    assert rtc_s() == 5060
    assert chip.answer(Kind.RTC_MEMORY_GET, b"") == b"kept"
    chip.reset(ResetCause.POWER_ON)
    assert rtc_s() == 0
    assert chip.answer(Kind.RTC_MEMORY_GET, b"") == b""


def test_nvs_keeps_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "nvs.json"
    nvs = Nvs(StorageFile(path))
    nvs.set("trig/key", b"\1\2")
    nvs.set("trig/n", -5)
    assert nvs.get_blob("trig/key") == b"\1\2"
    nvs.power_on()
    with pytest.raises(HardwareError) as missing:
        nvs.get_blob("trig/key")
    assert missing.value.args == (-0x1102, "ESP_ERR_NVS_NOT_FOUND")
    nvs.set("trig/key", b"\1\2")
    nvs.set("trig/n", -5)
    nvs.commit()
    nvs.set("trig/n", 6)
    nvs.erase_key("trig/key")
    again = Nvs(StorageFile(path))
    assert again.get_blob("trig/key") == b"\1\2"
    assert again.get_i32("trig/n") == -5
    assert path.stat().st_mode & 0o777 == 0o600
    for wrong in (again.get_blob, again.erase_key, again.get_i32):
        with pytest.raises(HardwareError):
            wrong("trig/other")
    with pytest.raises(HardwareError):
        again.get_i32("trig/key")  # another type is not found, as on the ESP32
    with pytest.raises(HardwareError):
        again.set("trig/big", bytes(1985))
    path.write_text("[1]")
    with pytest.raises(EmulatorError, match="NVS is damaged"):
        Nvs(StorageFile(path))


def test_flash_image_files(tmp_path: Path) -> None:
    device = tmp_path / "device"
    (device / "trig" / "__pycache__").mkdir(parents=True)
    (device / "boot.py").write_bytes(b"pass\n")
    (device / "trig" / "a.py").write_bytes(b"x = 1\n" * 2000)
    (device / "trig" / "__pycache__" / "a.py").write_bytes(b"no")
    (device / "README.md").write_bytes(b"no")
    image = tmp_path / "flash.img"
    flash.create_image(image, boardfiles.device_files(device) | {"/config.json": b"{}"})
    assert image.stat().st_size == 4096 * 512
    assert flash.list_files(image) == ["/a/trig/a.py", "/boot.py", "/config.json"]
    assert flash.read_file(image, "/a/trig/a.py") == b"x = 1\n" * 2000
    flash.write_file(image, "/new/dir/file", b"abc")
    assert flash.read_file(image, "/new/dir/file") == b"abc"
    with pytest.raises(FileNotFoundError, match="/none"):
        flash.read_file(image, "/none")
    image.write_bytes(bytes(4096 * 512))
    with pytest.raises(EmulatorError, match="no file system"):
        flash.read_file(image, "/boot.py")
    image.write_bytes(b"short")
    with pytest.raises(EmulatorError, match="5 bytes"):
        flash.read_file(image, "/boot.py")


def test_wifi_connects_after_a_while_and_comes_back() -> None:
    station = Station(AccessPoint("home", "secret"))
    with pytest.raises(HardwareError):
        station.connect("home", "secret", 0)
    station.set_active(True)
    assert station.status(0) == Status.IDLE
    station.connect("home", "secret", 0)
    assert station.status(CONNECT_S - 0.01) == Status.CONNECTING
    with pytest.raises(HardwareError):
        station.connect("home", "secret", 0.01)
    assert station.status(CONNECT_S) == Status.GOT_IP
    station.access_point_switched(False, 5)
    assert station.status(5) == Status.CONNECTING
    station.access_point_switched(True, 9)
    assert station.status(9) == Status.CONNECTING
    assert station.status(9.01 + CONNECT_S) == Status.GOT_IP
    station.disconnect()
    assert station.status(20) == Status.IDLE
    station.power_on()
    assert not station.active


@pytest.mark.parametrize(
    ("ssid", "password", "failure"),
    [("home", "wrong", Status.WRONG_PASSWORD), ("other", "secret", Status.NO_AP_FOUND)],
)
def test_wifi_says_what_is_wrong_only_once_it_gives_up(ssid: str, password: str, failure: Status) -> None:
    station = Station(AccessPoint("home", "secret"))
    station.set_active(True)
    station.connect(ssid, password, 0)
    assert station.status(1000) == Status.CONNECTING
    station.reconnects = 1
    assert station.status(2 * ATTEMPT_S - 0.01) == Status.CONNECTING
    assert station.status(2 * ATTEMPT_S) == failure


def test_what_is_soldered_on_follows_the_configuration() -> None:
    config = {
        "wifi": [{"ssid": "home", "password": "secret"}],
        "sensors": [
            {"type": "bme280", "scl": 22, "sda": 21, "address": 118},
            {"type": "bme280", "address": 119},
            {"type": "sht41"},
            {"type": "bme280", "address": 3},
            "nonsense",
        ],
    }
    assert wiring_of(config) == (Wiring(22, 21, 118), Wiring(22, 21, 119))
    assert access_point_of(config) == ("home", "secret")


anything = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=4)
sensor = st.fixed_dictionaries({"type": st.just("bme280")}, optional=dict.fromkeys(("scl", "sda", "address"), anything))


@given(st.dictionaries(st.sampled_from(["wifi", "sensors"]), anything | st.lists(anything | sensor)))
def test_any_configuration_leaves_a_board(config: dict[str, object]) -> None:
    wiring_of(config)
    access_point_of(config)


def test_facts_and_heap_sizes(tmp_path: Path) -> None:
    facts = Facts("240ac4010203", heap_bytes("160k"), "home", "secret", (Wiring(),))
    facts.save(tmp_path / "board.json")
    assert Facts.load(tmp_path / "board.json") == facts
    assert (heap_bytes("1M"), heap_bytes("4096")) == (1 << 20, 4096)
    for wrong in ("", "k", "12q", "-1", "0"):
        with pytest.raises(EmulatorError, match="size"):
            heap_bytes(wrong)
    for damaged in ("", "[]", "{}", json.dumps({"mac": "xy"})):
        (tmp_path / "board.json").write_text(damaged)
        with pytest.raises(EmulatorError, match="damaged"):
            Facts.load(tmp_path / "board.json")
    with pytest.raises(EmulatorError, match="no board"):
        Facts.load(tmp_path / "none" / "board.json")
