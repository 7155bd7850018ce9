"""The newest command of the owner's and what becomes of it: a new configuration or application goes on trial first.

One value in NVS says where things stand, and it changes before anything follows from it. What was sent waits in the
file ``/command-<counter>``, which counts only while that value names it. ``/config.json`` is replaced by renaming that
file over it, which littlefs does in one step. So power may go at any instant: at the next start ``at_start`` finds the
old or the new, each whole, and goes on from there.
"""

import os
import struct
import sys

import slots
from micropython import const

CONFIG = "/config.json"

# Kinds of commands, as on the wire.
CONFIGURATION = const(1)
UPDATE = const(2)

NONE = const(0)
REFUSED = const(1)
PENDING = const(2)
TRYING = const(3)
CONFIRMED = const(4)
ROLLED_BACK = const(5)

_STATES = const(("none", "refused", "pending", "trying", "confirmed", "rolled back"))
_KINDS = const(("none", "configuration", "update"))
_STARTS = const(3)
_NVS = const("owner")
_KEY = const("command")
_FORMAT = const("<IBBBI64s")
_SIZE = const(75)
_MAX_REASON = const(64)
_STAGED = const("command-")


class Record:
    """The newest command taken.

    Attributes:
        counter: of the command, 0 before the first.
        kind: CONFIGURATION or UPDATE, 0 before the first.
        state: one of the constants above.
        starts: how often the board has started with a configuration on trial.
        version: of an update whose manifest has been read, else 0.
        reason: why it was refused or rolled back, ASCII.
    """

    def __init__(self, data=None):
        """Read what ``pack`` made."""
        self.counter, self.kind, self.state, self.starts, self.version, reason = struct.unpack(
            _FORMAT, data if data is not None and len(data) == _SIZE else bytes(_SIZE)
        )
        self.reason = "".join(chr(byte) for byte in reason if 32 <= byte < 127)

    def pack(self):
        """As bytes for NVS."""
        reason = bytes(ord(c) if " " <= c <= "~" else 63 for c in self.reason[:_MAX_REASON])
        return struct.pack(_FORMAT, self.counter, self.kind, self.state, self.starts, self.version, reason)


# Decisions: they change a Record and touch nothing else.


def taken(record, counter, kind):
    """A new command of the owner's has come."""
    record.counter = counter
    record.kind = kind
    record.version = record.starts = 0
    record.state = PENDING
    record.reason = ""


def ended(record, reason):
    """The trial is over: rolled back for a reason, or confirmed."""
    record.state = ROLLED_BACK if reason else CONFIRMED
    record.reason = reason


def at_start(record, staged, loader):
    """The application starts: find out where a command under way stands.

    Args:
        record: what NVS holds.
        staged: whether the command's file is there.
        loader: slots.State.
    """
    if record.state != PENDING and record.state != TRYING:
        return
    if record.kind == UPDATE and record.version:
        if loader.version >= record.version:
            ended(record, "")
        elif loader.trial != slots.NONE and loader.on_trial == record.version:
            record.state = TRYING
        elif loader.failed == record.version:
            ended(record, loader.cause or "three starts without an ack")
        else:
            record.state = PENDING
    if record.state == PENDING and not staged:
        ended(record, "the file is gone from flash")
    elif record.kind == UPDATE:
        # To fetch takes heap. A board that has none for it would start anew for ever, and do nothing else.
        if record.state == PENDING and loader.bad > _STARTS:
            ended(record, "starts that ended badly: " + loader.cause)
    elif not staged:
        # The rename is what confirms a configuration; the record follows.
        ended(record, "")
    elif record.starts >= _STARTS:
        ended(record, "three starts without an ack")
    else:
        record.state = TRYING
        record.starts += 1


class Change:
    """Carries the decisions out.

    Attributes:
        record: where things stand, as in NVS.
        loader: slots.State, likewise.
        news: whether health should tell of it at once.
    """

    def __init__(self, nvs, starting=True):
        """Take ``esp32.NVS`` of the application's namespace and read it; if ``starting``, go on from where power went.

        Raises:
            OSError: flash or NVS refuse.
        """
        self._nvs = nvs
        data = bytearray(_SIZE)
        try:
            size = nvs.get_blob(_KEY, data)
        except OSError:
            size = 0
        self.record = record = Record(bytes(data) if size == _SIZE else None)
        self.loader = slots.load()
        self.news = False
        if starting:
            before = record.pack()
            at_start(record, self._staged(), self.loader)
            if record.pack() != before:
                self._save()
            self._tidy()

    @property
    def trying(self):
        """Whether this start is a trial, of a configuration or of the application itself."""
        return self.record.state == TRYING or self.loader.trial != slots.NONE

    @property
    def config_path(self):
        """The configuration to run with."""
        on_trial = self.record.state == TRYING and self.record.kind == CONFIGURATION
        return self.staged_path if on_trial else CONFIG

    @property
    def fetching(self):
        """Whether there is an update whose files are to be fetched."""
        return self.record.state == PENDING and self.record.kind == UPDATE

    def pending_update(self):
        """The encoded manifest of the update whose files are to be fetched, None if there is none."""
        if not self.fetching:
            return None
        with open(self.staged_path, "rb") as file:
            return file.read()

    def take(self, counter, kind, body):
        """Keep a command that is to be looked into and carried out from the next start on.

        Raises:
            OSError: flash or NVS refuse, and nothing has changed.
        """
        with open("/{}{}".format(_STAGED, counter), "wb") as file:
            file.write(body)
        record = Record(self.record.pack())
        taken(record, counter, kind)
        self._save(record)

    def identify(self, version):
        """The pending update has been read and is for this board. Raises OSError."""
        if self.record.version != version:
            if self.loader.failed == version:
                self.loader.failed = 0  # it is to be tried again
                slots.save(self.loader)
            self.record.version = version
            self._save()

    def reject(self, reason):
        """What was sent cannot be used, or not with what was sent before; the old stays in force. Raises OSError."""
        if self.loader.trial != slots.NONE:
            self.roll_back(reason)
        elif self.record.state == PENDING or self.record.state == TRYING:
            self.record.state = REFUSED
            self.record.reason = reason
            self._save()
            self._tidy()

    def good(self):
        """This start went well. Raises OSError."""
        if self.loader.bad:
            self.loader.bad = 0
            slots.save(self.loader)

    def install(self):
        """The other slot holds the pending update, whole: from the next start on it is on trial. Raises OSError."""
        slots.try_out(self.loader, self.record.version)
        slots.save(self.loader)

    def confirm(self):
        """A statement signed in this trial has been acked. Raises OSError."""
        if self.loader.trial != slots.NONE:
            slots.confirm(self.loader)
            slots.save(self.loader)
        if self.record.state == TRYING:
            if self.record.kind == CONFIGURATION:
                os.rename(self.staged_path, CONFIG)
            ended(self.record, "")
            self._save()
            self._tidy()

    def roll_back(self, reason):
        """What is on trial or pending is given up; the old is in force from the next start on. Raises OSError."""
        if self.loader.trial != slots.NONE:
            self.loader.cause = reason
            slots.roll_back(self.loader)
            slots.save(self.loader)
        if self.record.state == TRYING or self.record.state == PENDING:
            ended(self.record, reason)
            self._save()
            self._tidy()

    def report(self):
        """The fields for health: a dict for JSON."""
        record, loader = self.record, self.loader
        running = loader.active if loader.trial == slots.NONE else loader.trial
        return {
            "family": family(),
            "release": loader.on_trial or loader.version,
            "slot": slots.SLOTS[running][1:],
            "safe_modes": loader.safe,
            "bad_end": loader.cause,
            "command": {
                "counter": record.counter,
                "kind": _KINDS[record.kind] if record.kind < len(_KINDS) else "",
                "state": _STATES[record.state] if record.state < len(_STATES) else "",
                "reason": record.reason,
            },
        }

    @property
    def staged_path(self):
        """Where what the newest command carried waits."""
        return "/{}{}".format(_STAGED, self.record.counter)

    def _staged(self):
        try:
            os.stat(self.staged_path)
            return True
        except OSError:
            return False

    def _save(self, record=None):
        record = record or self.record
        self._nvs.set_blob(_KEY, record.pack())
        self._nvs.commit()
        self.record = record
        self.news = True

    def _tidy(self):
        """Remove the files of commands that are no longer under way."""
        busy = self.record.state == PENDING or self.record.state == TRYING
        keep = self.staged_path[1:] if busy else ""
        for name in os.listdir("/"):
            if name.startswith(_STAGED) and name != keep:
                os.remove("/" + name)


# By the number in sys.implementation._mpy: what native code in a .mpy file would run on (MicroPython, .mpy files).
_SETS = const(" any x86 x64 armv6 armv6m armv7m armv7em armv7emsp armv7emdp xtensa xtensawin rv32imc rv64imc")


def family():
    """The boards that run the same files as this one: platform and instruction set, such as esp32-xtensawin."""
    number = getattr(sys.implementation, "_mpy", 0) >> 10 & 15
    names = _SETS.split()
    return sys.platform + "-" + (names[number] if number < len(names) else str(number))


def opened(starting=False):
    """The Change of this board, at its start or later. Raises OSError if flash or NVS refuse."""
    import esp32

    return Change(esp32.NVS(_NVS), starting)
