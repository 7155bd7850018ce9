# network as on the ESP32: the station side of Wi-Fi. The access point is the emulator's.

from struct import pack, unpack

import _host
import _wait
import machine
from micropython import const

# Requests that nobody else makes: here, and not in _host, where each name would lie in the board's heap.
_WLAN_ACTIVE = const(15)
_WLAN_CONNECT = const(16)
_WLAN_DISCONNECT = const(17)
_WLAN_STATUS = const(18)
_WLAN_RECONNECTS = const(20)
_WLAN_SCAN = const(47)
_SCAN_MS = const(300)

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
        _host.call(_WLAN_ACTIVE, pack("<BQ", bool(on), _wait.cpu_us()))
        return bool(on)

    def connect(self, ssid="", key=""):
        _host.call(_WLAN_CONNECT, ("%s\0%s" % (ssid, key)).encode())

    def disconnect(self):
        _host.call(_WLAN_DISCONNECT)

    def isconnected(self):
        return self._status()[0] == STAT_GOT_IP

    def scan(self):
        found = []
        reply = _host.call(_WLAN_SCAN)
        at = 0
        while at < len(reply):
            size, rssi, security = unpack("<BbB", reply[at : at + 3])
            at += 3 + size
            found.append((reply[at - size : at], bytes(6), 1, rssi, security, False))
        _wait.wait(_SCAN_MS)
        return found

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
        return unpack("<HbB", _host.call(_WLAN_STATUS))

    def ifconfig(self):
        if self.isconnected():
            return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")
        return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")

    def config(self, what=None, **settings):
        if what is None:
            for name, value in settings.items():
                if name == "reconnects":
                    _host.call(_WLAN_RECONNECTS, pack("<h", value))
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
