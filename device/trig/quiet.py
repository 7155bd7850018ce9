"""Who watches over a start of the board. Mostly there is nothing to watch, and then it costs hardly any heap."""

import asyncio
import sys
import time

import slots
from micropython import const

import trig

_LOOK_MS = const(500)
_GOOD_MS = const(60000)


class Restart(Exception):
    """The board is to start anew: a trial begins or is over. Not an error."""


class Quiet:
    """A start of a board without an owner key and with nothing on trial: it is only found to be good."""

    topics = ()
    receive_bytes = 1024
    trying = busy = False

    def __init__(self, fields):
        """Take the fields for health."""
        self._fields = fields

    def take(self, topic, payload):
        """There are no topics."""

    async def run(self, client, journal):
        """Find this start good after an ack, or a minute."""
        first = journal.next_seq
        began = time.ticks_ms()
        while journal.acked < first and time.ticks_diff(time.ticks_ms(), began) < _GOOD_MS:
            await asyncio.sleep_ms(_LOOK_MS)
        slots.good()

    def report(self):
        """The fields for health: a dict for JSON."""
        return self._fields

    def news(self):
        """There is none."""
        return False


def begin(change, config, kid):
    """Return who watches over this start: a Quiet, a Trial, or the Owner if the configuration names an owner key."""
    sleeps = config["battery"] is not None
    if config["owner_key"]:
        from trig.owner import Owner

        return Owner(change, config["trial_s"], sleeps, config["owner_key"], kid)
    if change.trying:
        from trig.trial import Trial

        return Trial(change, config["trial_s"], sleeps)
    fields = change.report()
    del sys.modules["trig.change"], trig.change  # it has served
    return Quiet(fields)
