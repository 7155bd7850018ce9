"""Keeps the board on a Wi-Fi network, the first of several that lets it in.

Faults of the ESP32 driver that this steps round:
- ``status()`` goes on telling of an earlier failure: a failure is believed only after this attempt was seen under way.
- ``connect()`` while the driver still tries, also on its own account, raises "Wifi Internal Error", and a second one
  may at any time: the driver's own retries are switched off, every attempt starts with ``disconnect()``, and
  after an error the radio is switched off and on and the same network tried once more.
"""

import asyncio

from micropython import const

_JOIN_MS = const(15000)
_POLL_MS = const(100)
_WATCH_MS = const(1000)
_RADIO_MS = const(200)
_PAUSE_MS = const(3000)
_CONNECTING = const(1001)

# What status() says of an attempt that failed (ports/esp32/modnetwork.h; the rest are ESP-IDF's reason codes).
_FAILURES = {
    15: "handshake timed out, wrong password?",
    200: "no beacons",
    201: "not found",
    202: "wrong password",
    203: "refused",
    204: "handshake timed out, wrong password?",
    205: "connection failed",
}


class Wifi:
    """The station interface.

    Attributes:
        ssid: the network it is on, None while it is on none.
        joins: how often it has joined one.
        error: why the last attempt that failed did, with the network's name; "" if none has.
    """

    def __init__(self, station, networks):
        """Take ``network.WLAN(network.STA_IF)`` and the ``wifi`` list of config.json, in order of preference."""
        self._station = station
        self._networks = networks
        self.ssid = None
        self.joins = 0
        self.error = ""

    def signal(self):
        """Received signal strength in dBm, None while there is none."""
        try:
            return self._station.status("rssi")
        except OSError:
            return None

    async def run(self, joined):
        """Join, stay, and join again, for ever; call ``joined()`` each time it is on a network."""
        while True:
            for settings in self._networks:
                if await self.join(settings["ssid"], settings["password"]):
                    self.ssid = settings["ssid"]
                    self.joins += 1
                    joined()
                    while self._station.isconnected():
                        await asyncio.sleep_ms(_WATCH_MS)
                    self.ssid = None
                    break
            else:
                await asyncio.sleep_ms(_PAUSE_MS)

    async def join(self, ssid, password):
        """Try to join one network; return whether it is joined. ``error`` says why not."""
        station = self._station
        try:
            self._connect(ssid, password)
        except OSError:
            station.active(False)
            await asyncio.sleep_ms(_RADIO_MS)
            try:
                self._connect(ssid, password)
            except OSError as error:
                station.active(False)
                self.error = "{}: {}".format(ssid, error)
                return False
        status = 0
        under_way = False
        for _ in range(_JOIN_MS // _POLL_MS):
            if station.isconnected():
                return True
            status = station.status()
            connecting = status == _CONNECTING
            if under_way and not connecting and not station.isconnected():
                break  # and it has not joined between the two questions
            under_way = under_way or connecting
            await asyncio.sleep_ms(_POLL_MS)
        self.error = "{}: {}".format(ssid, _FAILURES.get(status) or "status {}".format(status))
        self._leave()
        return False

    def _connect(self, ssid, password):
        station = self._station
        station.active(True)
        self._leave()
        station.config(reconnects=0)
        station.connect(ssid, password)

    def _leave(self):
        try:
            self._station.disconnect()
        except OSError:
            pass
