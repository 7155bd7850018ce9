"""Wi-Fi: several networks in order, with a driver that has the ESP32's known faults; and on the emulated board."""

from __future__ import annotations

import time

import pytest
from boardrunner import DEVICE, run
from emulated import Make, make
from trigpoint_tools.emulator.wifi import AccessPoint, Fault

__all__ = ["make"]

_DRIVER = """
import asyncio
from trig.wifi import Wifi

class Station:
    # As the ESP32's driver: a second connect() while it tries raises, and status() tells of the last failure for ever.
    def __init__(self, reachable):
        self.reachable = reachable
        self.on = False
        self.trying = 0
        self.ssid = None
        self.lie = 201
        self.calls = []
        self.retries = True
    def active(self, on):
        self.on = on
        self.trying = 0
    def config(self, **settings):
        assert self.on
        self.retries = settings["reconnects"] != 0
    def disconnect(self):
        self.trying = 0
        self.ssid = None
        raise OSError("Wifi Not Started")
    def connect(self, ssid, password):
        assert self.on
        if self.trying:
            raise OSError("Wifi Internal Error")
        self.calls.append(ssid)
        self.wanted = (ssid, password)
        self.trying = 5
    def _step(self):
        if self.trying:
            self.trying -= 1
            if not self.trying:
                if self.reachable.get(self.wanted[0]) == self.wanted[1]:
                    self.ssid = self.wanted[0]
                else:
                    self.lie = 202
                    self.trying = 3 if self.retries else 0
    def isconnected(self):
        self._step()
        return self.ssid is not None
    def status(self, what=None):
        if what == "rssi":
            raise OSError
        return 1001 if 0 < self.trying < 4 else 1010 if self.ssid else self.lie

async def main(wifi, ms):
    joined = []
    task = asyncio.create_task(wifi.run(lambda: joined.append(wifi.ssid)))
    await asyncio.sleep_ms(ms)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    return joined

NETWORKS = [{"ssid": "first", "password": "password1"}, {"ssid": "second", "password": "password2"}]
"""


def test_networks_are_tried_in_order_and_the_link_is_watched() -> None:
    run(
        _DRIVER
        + """
station = Station({"second": "password2"})
wifi = Wifi(station, NETWORKS)
async def drop():
    while station.ssid is None:
        await asyncio.sleep_ms(20)
    station.reachable["first"] = "password1"
    station.ssid = None
async def both():
    asyncio.create_task(drop())
    return await main(wifi, 2500)
assert asyncio.run(both()) == ["second", "first"]
assert station.calls == ["first", "second", "first"], station.calls
assert wifi.joins == 2 and wifi.signal() is None and wifi.error == "first: wrong password", wifi.error
"""
    )


def test_stale_failure_is_not_believed() -> None:
    run(
        _DRIVER
        + """
station = Station({"first": "password1"})
assert asyncio.run(main(Wifi(station, NETWORKS), 800)) == ["first"]
assert station.calls == ["first"]
"""
    )


# The board's own wifi.py on the emulated board, which is where its main.py comes from.
MAIN = """
import asyncio, network
{wifi}
NETWORKS = [{{"ssid": "gone", "password": "password0"}},
            {{"ssid": "moved", "password": "an old one"}},
            {{"ssid": "home", "password": "secret"}}]
wifi = Wifi(network.WLAN(network.STA_IF), NETWORKS)
asyncio.run(wifi.run(lambda: print("joined", wifi.ssid, wifi.signal(), "after", wifi.error)))
"""
FAULTS = [Fault.NONE, Fault.STALE_STATUS, Fault.SECOND_CONNECT, Fault.STALE_STATUS | Fault.SECOND_CONNECT]


@pytest.mark.parametrize("faults", FAULTS)
def test_third_network_is_joined_whatever_the_driver_does(make: Make, faults: Fault) -> None:
    board = make(main=MAIN.format(wifi=(DEVICE / "trig" / "wifi.py").read_text()), speed=1)
    board.station.access_points.append(AccessPoint("moved", "a new one", rssi=-40))
    board.station.faults = faults
    board.start()
    board.wait_for("joined home -61 after moved: wrong password", timeout=10)
    board.wifi(False)
    time.sleep(1.5)
    board.wifi(True)
    board.wait_for("joined home -61 after", timeout=20)
