"""`python -m trigpoint_tools.bench.heap`: what each module of the application takes of a board's heap.

Each is loaded, compiled, after those that it needs, and what is free before and after a collection is compared. The
pool of names doubles when it is full, which is charged to whoever comes next; objects are twice as large as a board's.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from trigpoint_tools import boardfiles
from trigpoint_tools.emulator.interpreter import find_micropython

HEAP = "400k"

# In the order in which a board takes them in, and what each group is for.
GROUPS: dict[str, tuple[str, ...]] = {
    "always": (
        "hkdf", "p256_table", "p256", "modules", "keys", "journal", "quiet", "sensors", "mqtt_packets", "mqtt", "wifi",
        "crash", "cbor", "cose", "senml", "health", "statement", "signer", "batch", "clock", "guard", "uplink", "app",
        "start",
    ),
    "for a moment": (
        "prepare", "p256_points", "config", "sensors.entries", "change", "key_store", "chip_keys", "identity",
        "self_test", "command", "permit",
    ),
    "if configured": (
        "i2c", "sensors.bme280", "sensors.sht4x", "sensors.scd4x", "sensors.pms5003", "sensors.ds18b20",
        "sensors.analog", "sensors.pulse", "ntp", "listener", "battery", "atecc608", "secure_key",
    ),
    "during a trial or update": ("trial", "owner", "manifest", "update"),
}  # fmt: skip

_MEASURE = """
import gc, asyncio.core, asyncio.event, asyncio.funcs, asyncio.lock, asyncio.stream, slots, ssl
for name in {names}:
    gc.collect()
    before = gc.mem_free()
    __import__("trig." + name)
    gc.collect()
    print(name, before - gc.mem_free())
"""


def costs() -> dict[str, int]:
    """Return bytes of heap by module.

    Raises:
        EmulatorError: MicroPython is missing, or a module does not compile.
        subprocess.CalledProcessError: a module cannot be loaded.
    """
    names = [name for group in GROUPS.values() for name in group]
    with tempfile.TemporaryDirectory(prefix="trigpoint-heap-") as folder:
        for name, content in boardfiles.device_files(boardfiles.device_directory(), compiled=True).items():
            file = Path(folder, name.removeprefix("/a").removeprefix("/"))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        done = subprocess.run(
            [find_micropython(), "-X", f"heapsize={HEAP}", "-c", _MEASURE.format(names=names)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "MICROPYPATH": f"{folder}:.frozen"},
        )
    return {name: int(cost) for name, cost in (line.split() for line in done.stdout.splitlines())}


def main() -> None:
    """Print the table."""
    found = costs()
    for group, names in GROUPS.items():
        print(f"{group:26}{sum(found[name] for name in names):8,}")
        for name in names:
            print(f"  {name:24}{found[name]:8,}")


if __name__ == "__main__":
    main()
