"""The key and its journal: made together, replaced together, whatever is cut off in between."""

from boardrunner import run
from ramflash import RAM_FLASH

_PARTS = (
    RAM_FLASH
    + """
import os, vfs
from trig.key_store import NvsKeys
from trig.identity import open_identity
from trig.signer import Signer

class Ram(RamFlash):
    left = -1
    def _spend(self):
        if self.left == 0:
            raise RuntimeError("cut")
        self.left -= 1
    def writeblocks(self, n, buf, off=0):
        self._spend()
        super().writeblocks(n, buf, off)
    def ioctl(self, op, arg):
        if op == 6:
            self._spend()
        return super().ioctl(op, arg)

class Nvs:
    def __init__(self):
        self.values = {}
        self.pending = {}
        self.writes = 0
    def get_blob(self, key, buffer):
        if key not in self.values:
            raise OSError(-0x1102)
        buffer[:] = self.values[key]
        return len(self.values[key])
    def set_blob(self, key, value):
        self.pending[key] = bytes(value)
    def commit(self):
        self.values.update(self.pending)
        self.pending = {}
        self.writes += 1

def mount(data=None):
    ram = Ram()
    if data:
        ram.data[:] = data
        vfs.umount("/flash")
    else:
        vfs.VfsLfs2.mkfs(ram)
    vfs.mount(ram, "/flash")
    return ram

class Radio:
    on = False
    def active(self, on):
        self.on = on

def identity(nvs):
    radio = Radio()
    def urandom(n):
        assert radio.on, "without the radio an ESP32 has no true random numbers"
        return os.urandom(n)
    return open_identity(NvsKeys(nvs, urandom, radio), "/flash/journal")
"""
)


def test_key_and_journal_stay() -> None:
    run(
        _PARTS
        + """
ram, nvs = mount(), Nvs()
key, journal = identity(nvs)
journal.make_room()
journal.append(b"one")
again, found = identity(nvs)
assert again.kid == key.kid and found.next_seq == 1 and nvs.writes == 1
""",
        heap="1m",
    )


def test_first_boot_cut_anywhere() -> None:
    """Whatever the first boot has done when power goes: after the next one, key and journal are there and belong
    together, and a key that might have been seen stays."""
    run(
        _PARTS
        + """
ram, nvs = mount(), Nvs()
identity(nvs)
vfs.umount("/flash")
for cut in range(40):
    ram, nvs = mount(), Nvs()
    ram.left = cut
    seen = None
    try:
        key, _ = identity(nvs)
        seen = key.kid
    except (RuntimeError, OSError):
        pass
    ram = mount(ram.data)
    key, journal = identity(nvs)
    assert journal.next_seq == 0
    assert seen is None or key.kid == seen
    again, found = identity(nvs)
    assert again.kid == key.kid
    vfs.umount("/flash")
    if seen:
        break
assert seen and cut > 2
""",
        heap="2m",
    )


def test_lost_journal_or_key_makes_a_new_board() -> None:
    run(
        _PARTS
        + """
ram, nvs = mount(), Nvs()
key, journal = identity(nvs)
journal.append(b"one")
for name in os.listdir("/flash/journal"):
    os.remove("/flash/journal/" + name)
second, journal = identity(nvs)
assert second.kid != key.kid and journal.next_seq == 0
journal.append(b"one")
third, journal = identity(Nvs())
assert third.kid != second.kid and journal.next_seq == 0, "a journal of another key is not ours"
""",
        heap="1m",
    )


def test_unreadable_nvs_replaces_nothing() -> None:
    run(
        _PARTS
        + """
class Broken(Nvs):
    def get_blob(self, key, buffer):
        raise OSError(-0x1105)
ram, nvs = mount(), Broken()
try:
    identity(nvs)
    raise SystemExit("took a broken flash for an empty one")
except OSError:
    assert nvs.writes == 0
""",
        heap="1m",
    )
