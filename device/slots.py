"""Which of the two applications runs, and when none: /a/trig and /b/trig, safe mode.

boot.py, main.py and this file lie at the root of the flash and are never updated over the air, so whatever an update
does, they start the old application or the new one. What they remember is one value in NVS, which ESP-IDF replaces as
a whole: power may go at any instant.

A new application is on trial: ``main`` counts its starts before it starts it, and the third start that did not end in
``confirm`` was the last. The confirmed application may end in a reset five times in a row without a ``good`` minute;
then comes safe mode: no application, but the prompt and enrolment, for ten minutes; then it is tried once more.
"""

import struct
import sys
import time

from micropython import const

SLOTS = ("/a", "/b")
NONE = const(255)

_FORMAT = const("<BBBBHIII80s")
_SIZE = const(98)
_MAX_CAUSE = const(80)
_TRIAL_STARTS = const(3)
_BAD_ENDS = const(5)
_PAUSE_MS = const(5000)
_SAFE_MS = const(600000)
_SLICE_MS = const(1000)
# The numbers of machine.reset_cause() on the ESP32.
_POWER_ON = const(1)
_WATCHDOG = const(3)
_DEEP_SLEEP = const(4)

called = False  # whether the beginning of an Improv frame has been seen, see improv


class State:
    """What the loader remembers.

    Attributes:
        active: index in SLOTS of the confirmed application.
        trial: index of the one on trial, or NONE.
        starts: how often the one on trial has been started.
        bad: resets in which the confirmed application ended, since it was last good.
        safe: how often the board has gone into safe mode.
        version: the highest version ever confirmed; 0 for what came by cable.
        on_trial: the version on trial, 0 for none.
        failed: the version that was rolled back last, 0 for none.
        cause: why an application ended last, at most 80 characters.
    """

    def __init__(self, data=None):
        """Read what ``pack`` made; without it, a board fresh from the cable."""
        if data is None or len(data) != _SIZE:
            data = struct.pack(_FORMAT, 0, NONE, 0, 0, 0, 0, 0, 0, b"")
        (self.active, self.trial, self.starts, self.bad, self.safe, self.version, self.on_trial, self.failed, cause) = (
            struct.unpack(_FORMAT, data)
        )
        self.active &= 1
        if self.trial != NONE:
            self.trial = 1 - self.active
        self.cause = "".join(chr(byte) for byte in cause if 32 <= byte < 127)

    def pack(self):
        """As bytes for NVS."""
        return struct.pack(
            _FORMAT,
            self.active,
            self.trial,
            self.starts,
            self.bad,
            self.safe,
            self.version,
            self.on_trial,
            self.failed,
            bytes(ord(c) for c in self.cause if " " <= c <= "~")[:_MAX_CAUSE],
        )


# Decisions: they change a State and touch nothing else.


def begin(state, reset_cause):
    """Decide what a start runs: return the slot, or None for safe mode.

    Loss of power is nobody's fault and is not counted against the confirmed application, and a sleep proves it good. On
    trial every start counts: the old application is there to go back to.
    """
    if reset_cause == _WATCHDOG:
        state.cause = "watchdog"
    if state.trial != NONE:
        if state.starts < _TRIAL_STARTS:
            state.starts += 1
            return state.trial
        roll_back(state)
        return state.active
    if reset_cause == _DEEP_SLEEP:
        state.bad = 0
    elif reset_cause != _POWER_ON:
        state.bad = min(state.bad + 1, _BAD_ENDS)
    if state.bad < _BAD_ENDS:
        return state.active
    state.bad -= 2  # safe mode ends in a reset too
    state.safe = min(state.safe + 1, 0xFFFF)
    return None


def try_out(state, version):
    """The other slot holds ``version``, whole: from the next start on it is on trial."""
    state.trial = 1 - state.active
    state.starts = 0
    state.on_trial = version


def confirm(state):
    """The application on trial has proved itself: from now on it is the one."""
    if state.trial != NONE:
        state.active = state.trial
        state.version = state.on_trial
        state.trial = NONE
        state.on_trial = state.bad = state.starts = 0


def roll_back(state):
    """The application on trial has not proved itself: never start it again."""
    if state.trial != NONE:
        state.failed = state.on_trial
        state.trial = NONE
        state.on_trial = state.bad = state.starts = 0


# Acts.


def load():
    """The State in NVS; that of a fresh board if there is none or it cannot be read."""
    import esp32

    data = bytearray(_SIZE)
    try:
        size = esp32.NVS("boot").get_blob("state", data)
        return State(bytes(data) if size == _SIZE else None)
    except OSError:
        return State()


def save(state):
    """Put it into NVS. Raises OSError if NVS refuses."""
    import esp32

    nvs = esp32.NVS("boot")
    nvs.set_blob("state", state.pack())
    nvs.commit()


def choose():
    """For boot.py: put the slot that ``main`` would start on the module path, so that the prompt finds it too."""
    state = load()
    slot = begin(state, _POWER_ON)
    sys.path.insert(0, SLOTS[state.active if slot is None else slot])


def good():
    """For the application: it has run for a minute, or was ended by a person. Costs no write if nothing was counted."""
    state = load()
    if state.bad:
        state.bad = 0
        save(state)


def failed(error):
    """Keep the line that says why the application ended; never raises."""
    try:
        state = load()
        state.cause = "{}: {}".format(type(error).__name__, error)
        save(state)
    except Exception as other:
        print("loader:", other)


def improv():
    """For who caught KeyboardInterrupt: whether it was no Ctrl-C but the byte 3 in the head of an Improv frame."""
    global called
    try:
        from trig.calling import begun

        called = begun()
    except Exception:  # no application, or no room to look: then it was Ctrl-C
        pass
    return called


def main():
    """For main.py: start an application, or safe mode. An application that fails is started anew, by a reset."""
    while True:
        try:
            return _main()
        except KeyboardInterrupt:
            if not improv():  # else this start is counted once more, which does no harm
                print("stopped")
                return


def _main():
    import machine

    state = load()
    before = state.pack()
    slot = begin(state, machine.reset_cause())
    try:
        if state.pack() != before:
            save(state)
    except OSError as error:
        print("loader: cannot count this start:", error)
    if slot is None:
        _safe(state, machine)
        return
    path = SLOTS[slot]
    if sys.path[0] != path:
        sys.path.insert(0, path)
    try:
        from trig.start import start

        start()
        good()
    except Exception as error:
        sys.print_exception(error)
        failed(error)
        time.sleep_ms(_PAUSE_MS)  # for a person at the cable to press Ctrl-C
        machine.reset()


def _safe(state, machine):
    print("safe mode:", state.cause or "the application did not run for a minute")
    print("Ctrl-C for the prompt; in ten minutes the application is tried again")
    try:
        for _ in range(_SAFE_MS // _SLICE_MS):
            time.sleep_ms(_SLICE_MS)
    except KeyboardInterrupt:
        return
    machine.reset()
