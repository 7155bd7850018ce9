"""Wi-Fi settings from a browser on the same cable as the prompt: Improv Serial (docs/protocol.md, section 16).

A board whose configuration cannot be used listens until it is reset or somebody presses Ctrl-C. One that runs does not
listen: the command's byte 3 stops it as Ctrl-C does, ``called`` finds the rest of the frame waiting, and then it
listens until nothing has come for a minute. So listening costs a running board nothing, and Ctrl-C is always Ctrl-C.
"""

import asyncio
import json
import os
import select
import sys
import time

from micropython import const

from trig import __version__, improv
from trig.change import CONFIG
from trig.wifi import Wifi

_DRAFT = const("/config.new")
_MAX_CONFIG = const(8192)
_MAX_WIFI = const(8)
_MAX_NETWORKS = const(40)
_POLL_MS = const(10)
_AT_ONCE = const(64)
_SILENCE_MS = const(500)
_IDLE_MS = const(60000)

# Types of frames, numbers of commands, states and errors: protocol, section 16.
_STATE = const(1)
_ERROR = const(2)

_SETTINGS = const(1)
_CURRENT_STATE = const(2)
_INFORMATION = const(3)
_NETWORKS = const(4)
_HOSTNAME = const(5)
_DEVICE_NAME = const(6)
_NETWORK_STATE = const(7)

_READY = const(2)
_PROVISIONING = const(3)
_PROVISIONED = const(4)

_NO_ERROR = const(0)
_INVALID = const(1)
_UNKNOWN = const(2)
_UNABLE = const(3)
_BAD_HOSTNAME = const(5)
_FAILED = const(255)


class Service:
    """Answers commands.

    Attributes:
        state: what it has told the browser last.
    """

    def __init__(self, wifi, station, send, keep, names):
        """Take the parts.

        Args:
            wifi: trig.wifi.Wifi.
            station: its ``network.WLAN``.
            send: takes the bytes of a frame.
            keep: ``keep(ssid, password)`` writes what has been found to work; raises OSError.
            names: the board's chip, its name, its name on the network.
        """
        self._wifi = wifi
        self._station = station
        self._send = send
        self._keep = keep
        self._names = names
        self._task = None
        self.state = _PROVISIONED if station.isconnected() else _READY

    def begin(self, networks):
        """Join one of the networks that are known already, if none is joined."""
        if self.state == _READY and networks:
            self._task = asyncio.create_task(self._rejoin(networks))

    def invalid(self):
        """A frame was bad."""
        self._error(_INVALID)

    def take(self, data):
        """Carry out a command: its number, the length of the rest, the rest."""
        number = data[0]
        self._error(_NO_ERROR)
        if self.state == _PROVISIONING and number != _CURRENT_STATE:
            self._error(_FAILED)
        elif number == _SETTINGS:
            found = improv.settings(data[2:])
            if found is None:
                self._error(_INVALID)
            else:
                self._stop()
                self._tell(_PROVISIONING)
                self._task = asyncio.create_task(self._try(*found))
        elif number == _HOSTNAME:
            # It is known by its key; a name would be one more thing to keep, and to keep apart.
            if len(data) > 2:
                self._error(_BAD_HOSTNAME)
            else:
                self._send(improv.result(number, self._names[2:]))
        elif len(data) > 2:
            self._error(_UNKNOWN if number >= _DEVICE_NAME else _INVALID)
        elif number == _CURRENT_STATE:
            if self.state != _PROVISIONING:
                self.state = _PROVISIONED if self._station.isconnected() else _READY
            self._tell(self.state)
            if self.state == _PROVISIONED:
                self._send(improv.result(number))
        elif number == _INFORMATION:
            self._send(improv.result(number, ("Trigpoint", __version__) + self._names[:2]))
        elif number == _NETWORKS:
            self._networks()
        elif number == _DEVICE_NAME:
            self._send(improv.result(number, self._names[1:2]))
        elif number == _NETWORK_STATE:
            # Bit 0: on a network; bit 1: has Wi-Fi.
            self._send(improv.result(number, ("3" if self._station.isconnected() else "2",)))
        else:
            self._error(_UNKNOWN)

    async def _try(self, ssid, password):
        joined = await self._wifi.join(ssid, password)
        error = _NO_ERROR if joined else _UNABLE
        if joined:
            try:
                self._keep(ssid, password)
            except Exception:  # what is not kept is not provisioned
                self._station.disconnect()
                error = _FAILED
        if error:
            self._tell(_READY)
            self._error(error)
        else:
            self._tell(_PROVISIONED)
            self._send(improv.result(_SETTINGS))

    async def _rejoin(self, networks):
        for one in networks:
            if await self._wifi.join(*one):
                self._tell(_PROVISIONED)
                return

    def _networks(self):
        # The driver does not look around while it tries to join.
        self._stop()
        station = self._station
        station.active(True)
        try:
            if not station.isconnected():
                station.disconnect()
        except OSError:
            pass
        try:
            found = station.scan()
        except OSError:
            self._error(_FAILED)
            return
        seen = set()
        for ssid, _, _, rssi, security, _ in sorted(found, key=lambda one: -one[3]):
            try:
                name = str(ssid, "utf-8")
            except ValueError:
                continue  # nobody could send it back
            if name and name not in seen and len(seen) < _MAX_NETWORKS:
                seen.add(name)
                self._send(improv.result(_NETWORKS, (name, str(rssi), "YES" if security else "NO")))
        self._send(improv.result(_NETWORKS))

    def _stop(self):
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _tell(self, state):
        self.state = state
        self._send(improv.frame(_STATE, bytes((state,))))

    def _error(self, error):
        self._send(improv.frame(_ERROR, bytes((error,))))


def serve(called=False):
    """Listen; return at Ctrl-C and where the console has an end. The console's own Ctrl-C must be off.

    Args:
        called: the board was running, and the beginning of a frame has stopped it: go on with that frame, and return
            when nothing has come for a minute.

    Returns:
        Whether it is time for the board to run again.
    """
    import network

    station = network.WLAN(network.STA_IF)
    mac = station.config("mac").hex()[6:]
    # The end of "Generic ESP32C3 module with ESP32C3", written as ESP Web Tools does.
    chip = sys.implementation._machine.split()[-1].replace("-", "").replace("ESP32", "ESP32-").rstrip("-")
    names = (chip, "Trigpoint " + mac, network.hostname())
    service = Service(Wifi(station, ()), station, sys.stdout.buffer.write, _keep, names)
    return asyncio.run(_listen(service, _known(_config()), called))


async def _listen(service, networks, called):
    parser = improv.Parser()
    if called:
        for byte in improv.HEADER:
            parser.feed(byte)
    else:
        service.begin(networks)
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    one = bytearray(1)
    first = called
    last = heard = time.ticks_ms()
    while not called or time.ticks_diff(time.ticks_ms(), heard) < _IDLE_MS:
        for _ in range(_AT_ONCE):
            if not poll.poll(0):
                break
            if not sys.stdin.buffer.readinto(one):
                return False  # the console is no console
            now = time.ticks_ms()
            if time.ticks_diff(now, last) > _SILENCE_MS:
                parser.reset()
            last = now
            if first and one[0] != improv.RPC:
                parser.feed(improv.RPC)  # it was taken for Ctrl-C
            first = False
            event = parser.feed(one[0])
            if event == improv.CTRL_C:
                return False
            if event == improv.INVALID:
                service.invalid()
            elif event == improv.COMMAND:
                heard = now
                service.take(memoryview(parser.data)[: parser.length])
        await asyncio.sleep_ms(_POLL_MS)
    return True


def _config():
    """What /config.json holds, an empty dict if that is no use."""
    try:
        if os.stat(CONFIG)[6] <= _MAX_CONFIG:
            with open(CONFIG) as file:
                config = json.load(file)
            if isinstance(config, dict):
                return config
    except (OSError, ValueError):
        pass
    return {}


def _known(config):
    """Networks and passwords of a configuration that nobody has checked."""
    known = []
    entries = config.get("wifi")
    for entry in entries[:_MAX_WIFI] if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            ssid, password = entry.get("ssid"), entry.get("password", "")
            if isinstance(ssid, str) and isinstance(password, str) and ssid:
                known.append((ssid, password))
    return known


def _keep(ssid, password):
    """Put a network in front of those in /config.json, with all else as it was; the file is replaced in one step."""
    config = _config()
    networks = [(ssid, password)] + [one for one in _known(config) if one[0] != ssid]
    config.setdefault("version", 1)
    config["wifi"] = [{"ssid": one[0], "password": one[1]} for one in networks[:_MAX_WIFI]]
    with open(_DRAFT, "w") as file:
        json.dump(config, file)
    os.rename(_DRAFT, CONFIG)
