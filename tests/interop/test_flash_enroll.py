"""One command from blank boards on cables to statements that a gateway has verified."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from enrolsite import AROUND, WEATHER, WIFI, WIFI_PASSWORD, Site, site, trigpoint
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo
from trigpoint.clock import WorldClock
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.image import build
from trigpoint_tools.emulator.serialcable import SerialCable, make_directory


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as running:
        yield running


def test_blank_boards_to_their_first_verified_statements(
    here: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIGPOINT_WIFI_PASSWORD", WIFI_PASSWORD)
    image, more = tmp_path / "firmware.bin", tmp_path / "more.json"
    image.write_bytes(build(CHIPS["esp32"], romfs=False))
    more.write_text(json.dumps({"batch": {"samples": 1, "age_s": 60}, "resend_s": 1}))
    words = ["board", "flash", "--all", "--firmware", image, "--gateway", here.gateway, "--wifi", WIFI]
    words += ["--sensor", "bme280", "--sample-every", 1, "--config", more, "--wait", 60, "--json"]
    with ExitStack() as cables:
        listed = []
        for name in ("one", "two"):
            make_directory(tmp_path / name, "esp32", AROUND, blank=True)
            cable = SerialCable(tmp_path / name, WorldClock(int(time.time()), time.time(), 1), WEATHER)
            listed.append(ListPortInfo(str(cable.plug_in().pty)))
            listed[-1].vid, listed[-1].pid = 0x1A86, 0x7523
            cables.callback(cable.unplug)
        monkeypatch.setattr(list_ports, "comports", lambda: listed)
        result = trigpoint(*words)
        first = json.loads(result.stdout)
        assert [(answer["application"], answer["error"]) for answer in first] == [("/a", None)] * 2
        assert all(answer["statements"] >= 1 and answer["transaction"] for answer in first)
        assert len({answer["board"] for answer in first}) == here.paid == 2
        assert WIFI_PASSWORD not in result.stdout + result.stderr
        again = json.loads(trigpoint(*words).stdout)
        assert [answer["board"] for answer in again] == [answer["board"] for answer in first]
        assert [(answer["files_written"], answer["transaction"], answer["error"]) for answer in again] == [
            (0, None, None)
        ] * 2
    assert here.paid == 2
