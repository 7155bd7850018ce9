"""Health: what the board says of itself, one JSON object of bounded size, at each connect and every few minutes.

Its fields are listed in device/README.md.
"""

import asyncio
import gc
import json
import time

from micropython import const

from trig import __version__
from trig.mqtt_packets import MqttError

MAX_SIZE = const(2560)
_PERIOD_MS = const(300000)
_PUBLISH_MS = const(30000)
_MAX_TEXT = const(120)
_MAX_CRASH = const(480)
_MAX_NAME = const(48)
_MAX_PARTS = const(8)

# By the numbers of machine.reset_cause() on the ESP32.
_CAUSES = const(("unknown", "power_on", "hard", "watchdog", "deep_sleep", "soft"))

# What gives way, in this order, should all fields together be too long.
_OPTIONAL = const(
    ("crash", "sensor_errors", "bad_command", "bad_end", "last_error", "link_error", "wifi_error", "ntp_error")
)


def plain(text, limit=_MAX_TEXT):
    """``text`` as printable ASCII, at most ``limit`` characters, none of which JSON has to escape."""
    text = text[:limit]
    # In one piece of the right size: to join what a generator gives takes lists of up to 4 KB on the way.
    out = bytearray(len(text))
    for i, c in enumerate(text):
        out[i] = ord("'") if c == '"' else ord(c) if " " <= c <= "~" and c != "\\" else ord("?")
    return out.decode()


def gather(app):
    """The fields of one report, from the parts of a running trig.app.App. To be called after a collection."""
    free = app.heap()
    clock, journal, client = app.clock, app.journal, app.client
    cause = app.reset_cause
    errors = {}
    for name in sorted(app.sensor_errors)[:_MAX_PARTS]:
        errors[plain(name, _MAX_NAME)] = app.sensor_errors[name]
    fields = {
        "online": True,
        "version": __version__,
        "uptime_s": clock.seconds(),
        "reset_cause": _CAUSES[cause] if 0 <= cause < len(_CAUSES) else _CAUSES[0],
        "clock_set": clock.is_set,
        "clock_source": clock.source,
        "clock_error_s": clock.error_s,
        "clock_corrections": clock.corrections,
        "clock_refused": clock.refused,
        "heap_free": free,
        "heap_low": app.heap_low,
        "next_seq": journal.next_seq,
        "unacked": journal.depth,
        "dropped": journal.dropped,
        "damaged": journal.damaged,
        "faults": app.faults,
        "lost": app.lost,
        "bad_acks": app.uplink.bad_acks,
        "refused": client.refused,
        "sensor_errors": errors,
        "last_error": plain(app.last_error),
        "ssid": app.wifi.ssid and plain(app.wifi.ssid),
        "rssi": app.wifi.signal(),
        "wifi_error": plain(app.wifi.error),
        "ntp_error": plain(app.ntp.error) if app.ntp else "",
        "connections": client.session,
        "link_error": plain(client.error),
        "crashes": app.crashes.count,
    }
    fields.update(app.owner.report())
    crash = app.crashes.news()
    if crash:
        text = plain(str(crash["text"]).replace("\n", " | ")[-_MAX_CRASH:], _MAX_CRASH)
        fields["crash"] = {"uptime_s": crash["uptime_s"], "time": crash["time"], "text": text}
    return fields


def encode(fields):
    """``fields`` as JSON, at most 2,560 bytes; what has to give way for that leaves ``"cut": true``."""
    data = json.dumps(fields, separators=(",", ":")).encode()
    for name in _OPTIONAL:
        if len(data) <= MAX_SIZE:
            break
        fields.pop(name, None)
        fields["cut"] = True
        data = json.dumps(fields, separators=(",", ":")).encode()
    return data


async def report(client, topic, gather, crashes, news):
    """Publish for ever: at each connect, at news, every five minutes. A crash is told until the broker has taken it.

    Args:
        client: trig.mqtt.Client.
        topic: where to.
        gather: called for the fields.
        crashes: trig.crash.Crashes.
        news: ``news()`` says whether there is something to tell at once.
    """
    while True:
        await client.up.wait()
        session = client.session
        began = time.ticks_ms()
        fields = None  # of a report that did not get through: 3 KB, when memory is least
        gc.collect()
        fields = gather()
        try:
            await asyncio.wait_for_ms(client.publish(topic, encode(fields), retain=True), _PUBLISH_MS)
        except (asyncio.TimeoutError, MqttError):
            continue
        if "crash" in fields:
            crashes.reported()
        fields = None
        while client.session == session and time.ticks_diff(time.ticks_ms(), began) < _PERIOD_MS and not news():
            await asyncio.sleep_ms(1000)
