"""Cutting the power of a configuration change and of an update at every write, erase and NVS commit.

Each run goes through as many lives of the board as it takes, each with the loader's decision first. In every life the
application that is started and the configuration that is read must be the old or the new, each whole; in the end it is
the new, or the old where the trial fails. This is code for MicroPython, run by test_change.py and test_update.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trigpoint_tools.powercut import FLASH, WHOLE, micropython

BOARD = '''
import asyncio, io, sys
from hashlib import sha256

STORE = {}  # what NVS has committed
flash = None

class NVS:
    """As esp32.NVS; a commit is an operation at which power may go: torn, it has not happened."""
    def __init__(self, namespace):
        self.namespace = namespace
        self.new = {}
    def get_blob(self, key, buffer):
        if (self.namespace, key) not in STORE:
            raise OSError(-0x1102)
        blob = STORE[self.namespace, key]
        buffer[:len(blob)] = blob
        return len(blob)
    def set_blob(self, key, value):
        self.new[self.namespace, key] = bytes(value)
    def commit(self):
        if flash.dead:
            return
        cut = flash._spend()
        if not (cut and flash.torn >= 0):
            STORE.update(self.new)
        if cut:
            raise Cut

class Esp32:
    NVS = NVS

sys.modules["esp32"] = Esp32

import slots
from trig.change import CONFIG, CONFIGURATION, Change, NONE, UPDATE
from trig.manifest import Manifest
from trig.update import Update, UpdateError
import cborvalue as cbor

BLOCKS = 104
OLD_APP = {"trig/__init__.py": b"old", "trig/start.py": b"old start" * 50, "trig/gone.py": b"old only"}
NEW_APP = {"trig/__init__.py": b"", "trig/start.py": b"new start!" * 300, "trig/sensors/x.mpy": bytes(range(256)) * 20}
OLD_CONFIG = b"old configuration"
NEW_CONFIG = b"the new one" * 40

class Reset(Exception):
    pass

def write(path, data):
    with open(path, "wb") as file:
        file.write(data)

def content(path):
    with open(path, "rb") as file:
        return file.read()

def fresh():
    global flash
    STORE.clear()
    flash = Flash([bytearray(b"\\xff" * 4096) for _ in range(BLOCKS)])
    vfs.VfsLfs2.mkfs(flash)
    vfs.mount(flash, "/")
    os.chdir("/")
    for folder in ("/a", "/a/trig", "/b", "/b/trig"):
        os.mkdir(folder)
    for path, data in OLD_APP.items():
        write("/a/" + path, data)
    write("/b/trig/rest.py", b"of an earlier attempt")
    write(CONFIG, OLD_CONFIG)

def power_on(budget, torn):
    global flash
    vfs.umount("/")
    flash = Flash(flash.data)
    flash.budget = budget
    flash.torn = torn
    vfs.mount(flash, "/")
    os.chdir("/")

def application(slot):
    # Which application a slot holds: every file of it must be there and whole.
    for name, files in (("old", OLD_APP), ("new", NEW_APP)):
        try:
            if all(content(slots.SLOTS[slot] + "/" + path) == data for path, data in files.items()):
                return name
        except OSError:
            pass
    raise AssertionError("slot %d holds no whole application" % slot)

def configuration(path):
    data = content(path)
    if data == OLD_CONFIG:
        return "old"
    assert data == NEW_CONFIG, "a configuration that is neither"
    return "new"

def manifest():
    rows = [[path, len(NEW_APP[path]), sha256(NEW_APP[path]).digest()] for path in sorted(NEW_APP)]
    from trig.change import family
    return cbor.encode({1: 1, 2: family(), 3: [1, 0, 0], 4: 0, 5: rows})

MANIFEST = manifest()

async def fetch(change):
    async def ask(request):
        found = cbor.ValueReader(request).value(3, 10)
        for data in NEW_APP.values():
            if sha256(data).digest() == found[1]:
                update.take(cbor.encode({1: found[1], 2: found[2], 3: data[found[2] : found[2] + found[3]]}))
    update = Update(Manifest(change.pending_update()), slots.SLOTS[1 - change.loader.active], ask)
    await update.run()
    change.install()

def life(kind, proves):
    # One start of the board. Returns the end of the scenario, or raises Reset.
    state = slots.load()
    before = state.pack()
    slot = slots.begin(state, 1)
    if state.pack() != before:
        slots.save(state)
    assert slot is not None
    app = application(slot)
    assert app == ("new" if slot else "old")
    change = Change(NVS("trig"))
    config = configuration(change.config_path)
    if change.record.state == NONE:
        assert (app, config) == ("old", "old")
        change.take(5, kind, NEW_CONFIG if kind == CONFIGURATION else MANIFEST)
        raise Reset
    if change.pending_update():
        assert app == "old"
        change.identify(1)
        asyncio.run(fetch(change))
        raise Reset
    if change.trying:
        if proves:
            change.confirm()
        else:
            change.roll_back("no ack")
            raise Reset
    return change.record.state, app, config, len([n for n in os.listdir("/") if n.startswith("command-")])

def scenario(kind, proves, cut, torn, again):
    # Return (end, lives, operations) of a run that is cut at its operation `cut`, and `again` operations later if
    # that is not below 0.
    fresh()
    power_on(cut, torn)
    operations = 0
    for lives in range(1, 12):
        try:
            end = life(kind, proves)
            return end, lives, operations + flash.count
        except (Reset, Cut, OSError) as error:
            if not isinstance(error, Reset) and not flash.dead:
                raise
        operations += flash.count
        if flash.dead:
            cut, again = again, -1
        else:
            cut = flash.budget
        power_on(cut, torn)
    raise AssertionError("no end")

def every(kind, proves, torn, again):
    want, _, operations = scenario(kind, proves, -1, -1, -1)
    vfs.umount("/")
    failed = []
    runs = 0
    for cut in range(operations):
        for second in again:
            try:
                end = scenario(kind, proves, cut, torn, second)[0]
                assert end == want, end
            except Exception as error:
                text = io.StringIO()
                sys.print_exception(error, text)
                failed.append("cut at %d and %d later: %s" % (cut, second, text.getvalue()))
            vfs.umount("/")
            gc.collect()
            runs += 1
    return [want, runs, failed[:5]]

vfs.umount("/")
'''


@dataclass(frozen=True)
class Outcome:
    """What came of cutting the power.

    Attributes:
        end: of a run that is not cut: state of the command, application, configuration, command files left.
        runs: how many were cut.
        failures: what went wrong, of the first five.
    """

    end: tuple[int, str, str, int]
    runs: int
    failures: tuple[str, ...]


PATH = f"import sys\nsys.path.append({str(Path(__file__).parents[1] / 'boardcode')!r})\n"


def cut_everywhere(
    kind: int, *, proves: bool, torn: int = WHOLE, again: Iterable[int] = (-1,), timeout: float = 290
) -> Outcome:
    """Cut the power of a run at each of its operations.

    Args:
        kind: of the command.
        proves: whether the trial ends with an ack.
        torn: after so many bytes of the operation, or WHOLE.
        again: each run once for each: a second cut so many operations after the first, none if below 0.
        timeout: seconds for all.
    """
    call = f"import json\nprint(json.dumps(every({kind}, {proves}, {torn}, {tuple(again)})))\n"
    end, runs, failures = json.loads(micropython(FLASH + PATH + BOARD + call, heap="6m", timeout=timeout))
    return Outcome(tuple(end), runs, tuple(failures))
