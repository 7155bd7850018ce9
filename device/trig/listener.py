"""The owner's ear: takes commands, and has each looked into by modules that are there for as long as that takes."""

import gc
import os
import time

from micropython import const

from trig.modules import forget
from trig.quiet import Quiet

COMMAND_BYTES = const(4352)  # the largest command, its topic and the packet's head
HEARD = "/heard"
_LARGEST = const(4096)
# After a kept message that was no command none is kept for so long. A broker gives a retained message at each connect:
# kept each time, it would have the board start for ever.
_PAUSE_MS = const(3600000)
_NO_ROOM = const("no room to look into it")


def _accept(data, key, kid, last):
    # One after the other: together they take more than a board may have left.
    gc.collect()
    command = _checked(data, key, kid, last)
    if isinstance(command, str):
        return command
    forget("command", "p256_points")
    from trig.change import opened

    opened().take(*command)
    return ""


def _checked(data, key, kid, last):
    from trig.command import checked

    return checked(data, key, kid, last)


def heard(key, kid, last, trying):
    """At start: look into a message that the last start had no room for. Never raises.

    The file goes before it is looked into. If power goes in between, the command is lost, and its counter never shows
    in health; were the file to go later, what stops the board would stop it at each start.

    Args:
        key, kid, last: as for ``Commands``.
        trying: whether this start is a trial, in which no command is taken.

    Returns:
        None if there is no message, "" if it was a command and has been taken, else why not.
    """
    try:
        os.stat(HEARD)
    except OSError:
        return None
    try:
        try:
            with open(HEARD, "rb") as file:
                data = file.read(_LARGEST + 1)  # too long to be a command is long enough
        finally:
            os.remove(HEARD)
        reason = "one is under way" if trying else _accept(data, key, kid, last)
    except MemoryError:
        reason = _NO_ROOM
    except OSError as error:
        reason = "flash: {}".format(error)
    forget("command")
    return reason


class Commands:
    """The topic of the owner's commands.

    Attributes:
        topic: its name.
        bad: messages that were not taken.
        bad_reason: why not, the last of them.
        dropped: ticks in ms of the start, if it found no command in what was kept; else None.
    """

    def __init__(self, key, kid, dropped):
        """Take the owner key, x || y, our board id, and what ``heard`` returned."""
        self.topic = "trig/1/" + kid.hex() + "/c"
        self._key = key
        self._kid = kid
        self.dropped = time.ticks_ms() if dropped else None
        self.bad = 1 if dropped else 0
        self.bad_reason = dropped or ""

    def take(self, data, busy, last):
        """Look into a message; return whether the board is to start anew, to carry it out. Never raises.

        Where there is no room to look into it, it is kept for the next start, which has; but not soon after a
        start that found no command in what was kept.

        Args:
            data: what came.
            busy: whether something is under way that must end first.
            last: the counter of the newest command taken.
        """
        reason = "one is under way"
        if not busy:
            try:
                try:
                    reason = _accept(data, self._key, self._kid, last)
                except MemoryError:
                    gc.collect()
                    reason = _NO_ROOM
                    # Ticks wrap after days: the pause then comes again, once, and hurts nobody.
                    if len(data) <= _LARGEST and not (
                        self.dropped is not None and 0 <= time.ticks_diff(time.ticks_ms(), self.dropped) < _PAUSE_MS
                    ):
                        with open(HEARD, "wb") as file:
                            file.write(data)
                        reason = ""
            except (OSError, MemoryError) as error:
                reason = "flash: {}".format(error)
            forget("command", "p256_points", "change")
        if reason:
            self.bad += 1
            self.bad_reason = reason
        return not reason

    def report(self, fields):
        """Add the fields for health to a dict for JSON, and return it."""
        fields["bad_commands"] = self.bad
        if self.bad:
            fields["bad_command"] = self.bad_reason
        return fields


class Listener(Quiet):
    """A start of a board with an owner key and nothing under way."""

    receive_bytes = COMMAND_BYTES

    def __init__(self, fields, key, kid, dropped):
        """Take the fields for health; the others as for ``Commands``."""
        super().__init__(fields)
        self._commands = Commands(key, kid, dropped)
        self.topics = [self._commands.topic]

    def take(self, topic, payload):
        """Take a command. Never raises: nothing that is sent may stop the board."""
        self._restart = self._commands.take(payload, self._restart, self._fields["command"]["counter"]) or self._restart

    def report(self):
        """The fields for health: a dict for JSON."""
        return self._commands.report(self._fields)
