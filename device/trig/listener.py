"""The owner's ear: takes commands, and has each looked into by modules that are there for as long as that takes."""

import gc
import os

from micropython import const

from trig.modules import forget
from trig.quiet import Quiet

COMMAND_BYTES = const(4352)  # the largest command, its topic and the packet's head
HEARD = "/heard"


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


def heard(key, kid, last):
    """At start: look into a message that the last start had no room for; return whether it was a command."""
    try:
        with open(HEARD, "rb") as file:
            data = file.read()
        os.remove(HEARD)  # first: whatever it is, it is looked into once
        return _accept(data, key, kid, last) == ""
    except OSError:
        return False


class Commands:
    """The topic of the owner's commands.

    Attributes:
        topic: its name.
        bad: messages that were not taken.
        bad_reason: why not, the last of them.
    """

    def __init__(self, key, kid):
        """Take the owner key, x || y, and our board id."""
        self.topic = "trig/1/" + kid.hex() + "/c"
        self._key = key
        self._kid = kid
        self.bad = 0
        self.bad_reason = ""

    def take(self, data, busy, last):
        """Look into a message; return whether the board is to start anew, to carry it out. Never raises.

        Where there is no room to look into it, it is kept for the next start, which has.

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

    def __init__(self, fields, key, kid):
        """Take the fields for health, the owner key, x || y, and our board id."""
        super().__init__(fields)
        self._commands = Commands(key, kid)
        self.topics = [self._commands.topic]

    def take(self, topic, payload):
        """Take a command. Never raises: nothing that is sent may stop the board."""
        self._restart = self._commands.take(payload, self._restart, self._fields["command"]["counter"]) or self._restart

    def report(self):
        """The fields for health: a dict for JSON."""
        return self._commands.report(self._fields)
