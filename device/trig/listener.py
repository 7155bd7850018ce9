"""The owner's ear: takes commands, and has each looked into by modules that are there for as long as that takes."""

import gc

from micropython import const

from trig.modules import forget
from trig.quiet import Quiet

COMMAND_BYTES = const(4352)  # the largest command, its topic and the packet's head


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

    def take(self, data, busy):
        """Look into a message; return whether it was a command, which the next start carries out. Never raises.

        Args:
            data: what came.
            busy: whether something is under way that must end first.
        """
        reason = "one is under way"
        if not busy:
            gc.collect()
            try:
                from trig.command import accept

                reason = accept(data, self._key, self._kid)
            except MemoryError:
                reason = "no memory"
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
        self._restart = self._commands.take(payload, self._restart) or self._restart

    def report(self):
        """The fields for health: a dict for JSON."""
        return self._commands.report(self._fields)
