# network as on the ESP32: the station side of Wi-Fi. The access point is the emulator's.

from struct import pack, unpack

import _host
import _wait
import machine
from micropython import const

STA_IF = const(0)
AP_IF = const(1)
STAT_IDLE = const(1000)
STAT_CONNECTING = const(1001)
STAT_GOT_IP = const(1010)
STAT_NO_AP_FOUND = const(201)
STAT_WRONG_PASSWORD = const(202)
STAT_BEACON_TIMEOUT = const(200)
STAT_ASSOC_FAIL = const(203)
STAT_HANDSHAKE_TIMEOUT = const(204)


class WLAN:
    IF_STA = const(0)
    IF_AP = const(1)
    PM_NONE = const(0)
    PM_PERFORMANCE = const(1)
    PM_POWERSAVE = const(2)

    def __init__(self, interface=STA_IF):
        if interface != STA_IF:
            raise ValueError("only the station interface is emulated")
        self._settings = {}

    def active(self, on=None):
        if on is None:
            return self._status()[2] != 0
        _host.call(_host.WLAN_ACTIVE, pack("<BQ", bool(on), _wait.cpu_us()))
        return bool(on)

    def connect(self, ssid="", key=""):
        _host.call(_host.WLAN_CONNECT, ("%s\0%s" % (ssid, key)).encode())

    def disconnect(self):
        _host.call(_host.WLAN_DISCONNECT)

    def isconnected(self):
        return self._status()[0] == STAT_GOT_IP

    def status(self, what=None):
        status, rssi, _ = self._status()
        if what is None:
            return status
        if what != "rssi":
            raise ValueError("unknown status param")
        if status != STAT_GOT_IP:
            raise OSError("Wifi Not Connected")
        return rssi

    def _status(self):
        return unpack("<HbB", _host.call(_host.WLAN_STATUS))

    def ifconfig(self):
        if self.isconnected():
            return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")
        return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")

    def config(self, what=None, **settings):
        if what is None:
            for name, value in settings.items():
                if name == "reconnects":
                    _host.call(_host.WLAN_RECONNECTS, pack("<h", value))
                elif name not in ("pm", "txpower", "channel"):
                    raise ValueError("unknown config param")
                self._settings[name] = value
        elif what == "mac":
            return machine.unique_id()
        elif what == "rssi":
            return self.status("rssi")
        elif what in self._settings:
            return self._settings[what]
        else:
            raise ValueError("unknown config param")


def hostname(name=None):
    return "mpy-esp32"


def country(code=None):
    return "XX"
