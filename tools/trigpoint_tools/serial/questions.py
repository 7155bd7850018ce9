"""What a board at a cable says of itself. Its application is stopped for it, and started again by who asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trigpoint.errors import OperatorError

from trigpoint_tools.serial.session import Session

# These are public for the browser's page, which asks boards the same.

# What is secret stays on the board: of the configuration only what tells how it is set up.
STATUS = """\
import json, os, sys, gc
d = {"machine": sys.implementation._machine, "micropython": ".".join(str(n) for n in sys.implementation.version[:3])}
s = os.statvfs("/")
d["flash_free"] = s[0] * s[3]
gc.collect()
d["heap_free"] = gc.mem_free()
try:
    import slots
    l = slots.load()
    d["slot"] = slots.SLOTS[l.active][1:]
    d["release"] = l.version
    d["safe_modes"] = l.safe
    d["bad_end"] = l.cause
except ImportError:
    d["slot"] = None
try:
    with open("/config.json") as f:
        c = json.load(f)
    d["wifi"] = [n["ssid"] for n in c["wifi"]]
    d["broker"] = "{}:{}".format(c["broker"]["host"], c["broker"].get("port", 8883))
    d["sensors"] = [e["type"] for e in c["sensors"]]
    d["sample_s"] = c.get("sample_s", 3600)
except (OSError, ValueError, KeyError, TypeError) as e:
    d["config"] = "none" if isinstance(e, OSError) else "bad"
try:
    import esp32
    from trig.identity import NVS
    from trig.key_store import RECORD, NvsKeys, read_blob
    n = esp32.NVS(NVS)
    r = read_blob(n, RECORD, 64)
    k = None if r is not None else NvsKeys(n, None, None).load()
    d["board"] = r[-32:].hex() if r is not None else k.kid.hex() if k is not None else None
except ImportError:
    d["board"] = None
print(json.dumps(d))
"""

_IDENTITY = """\
import json, esp32
from trig.identity import NVS
from trig.key_store import RECORD, NvsKeys, read_blob
n = esp32.NVS(NVS)
r = read_blob(n, RECORD, 64)
k = None if r is not None else NvsKeys(n, None, None).load()
print(json.dumps(r[-32:].hex() if r is not None else k.kid.hex() if k is not None else None))
"""

SENSORS = """\
import json, asyncio, machine
from trig import config, sensors
c = config.load("/config.json")
a = []
for s in sensors.open_sensors(c["sensors"], machine):
    out = [None] * len(s.channels)
    e = ""
    try:
        asyncio.run(asyncio.wait_for_ms(s.measure(out), s.limit_ms))
    except Exception as x:
        e = "{}: {}".format(type(x).__name__, x)
    r = [] if e else [[n, u, v, x] for (n, u, x), v in zip(s.channels, out)]
    a.append({"part": s.part, "readings": r, "error": e})
print(json.dumps(a))
"""

# With the firmware's own Wi-Fi, which knows the driver's faults. TLS is left to the application: it needs the clock.
WAY = """\
import asyncio, json, network, socket
from trig import config
from trig.wifi import Wifi
c = config.load("/config.json")
w = Wifi(network.WLAN(network.STA_IF), c["wifi"])
async def join():
    task = asyncio.create_task(w.run(lambda: None))
    for _ in range(160 * len(c["wifi"])):
        if w.ssid is not None: break
        await asyncio.sleep_ms(100)
    task.cancel()
asyncio.run(join())
d = {"wifi": w.ssid, "wifi_error": w.error, "broker_error": ""}
if w.ssid is not None:
    try:
        a = socket.getaddrinfo(c["broker"]["host"], c["broker"]["port"])[0][-1]
        s = socket.socket()
        s.settimeout(10)
        s.connect(a)
        s.settimeout(1)
        try:
            n = s.recv(1)
        except OSError:
            n = None
        s.close()
        if n is not None: raise OSError("it hangs up at once")
    except OSError as e:
        d["broker_error"] = "{}: {}".format(type(e).__name__, e)
print(json.dumps(d))
"""

_SENSORS_S = 60
_WAY_S = 180


def status(session: Session) -> Mapping[str, Any]:
    """Return what the board is and how it is set up, without its secrets.

    Raises:
        OperatorError: it does not answer.
    """
    answer: Mapping[str, Any] = session.ask(STATUS, timeout=60)
    return answer


def identity(session: Session) -> bytes | None:
    """Return the board's id, 32 bytes, None if it has made no key yet. None is made.

    Raises:
        BoardCodeError: Trigpoint is not on it.
        OperatorError: it gives no id.
    """
    answer = session.ask(_IDENTITY)
    if answer is None:
        return None
    try:
        kid = bytes.fromhex(answer)
    except (TypeError, ValueError):
        kid = b""
    if len(kid) != 32:
        raise OperatorError("the board gave no id; is its firmware of this version?")
    return kid


def crashes(session: Session) -> str:
    """Return what the board's last crashes said.

    Raises:
        BoardCodeError: Trigpoint is not on it.
    """
    return session.run("import trig.crash\ntrig.crash.show()").strip()


def sensors(session: Session) -> list[dict[str, Any]]:
    """Measure each sensor of the board's configuration once.

    Returns:
        For each {"part", "readings": [[name, unit, mantissa, exponent], ...], "error"}.

    Raises:
        BoardCodeError: it has no valid configuration.
    """
    answer: list[dict[str, Any]] = session.ask(SENSORS, timeout=_SENSORS_S)
    return answer


def way(session: Session) -> Mapping[str, Any]:
    """Have the board join its Wi-Fi and reach for its broker.

    Returns:
        {"wifi", "wifi_error", "broker_error"}: the network it is on, None for none; why not; "" if the broker is there.

    Raises:
        BoardCodeError: it has no valid configuration.
    """
    answer: Mapping[str, Any] = session.ask(WAY, timeout=_WAY_S)
    return answer


def forget(session: Session, kid: bytes) -> None:
    """Have the board give up its key, journal and configuration for good.

    Raises:
        BoardCodeError: it has another key.
    """
    session.run(f"import trig.enroll\ntrig.enroll.forget({kid.hex()!r})", timeout=60)
    session.remove("/config.json")
