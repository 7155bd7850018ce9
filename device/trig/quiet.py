"""Who watches over a start of the board. Mostly there is nothing to watch, and then it costs hardly any heap."""

import asyncio
import time

import slots
from micropython import const

from trig.modules import forget

LOOK_MS = const(500)
GOOD_MS = const(60000)


class Restart(Exception):
    """The board is to start anew: a trial begins or is over. Not an error."""


class Quiet:
    """A start with nothing on trial: it is only found to be good.

    Attributes:
        topics: what to subscribe to, besides acks.
        receive_bytes: the largest packet that must be taken in: an ack on its topic.
        trying: whether a trial is on.
    """

    topics = []
    receive_bytes = 256
    trying = False

    def __init__(self, fields):
        """Take the fields for health."""
        self._fields = fields
        self._restart = False

    @property
    def busy(self):
        """Whether the board must stay awake for this."""
        return False

    def take(self, topic, payload):
        """Take a message on one of ``topics``. Never raises: nothing that is sent may stop the board."""

    async def run(self, client, journal):
        """Find this start good after an ack, or a minute.

        Raises:
            Restart: now.
        """
        first = journal.next_seq
        began = time.ticks_ms()
        good = False
        while not self._restart:
            await asyncio.sleep_ms(LOOK_MS)
            if not good and (journal.acked >= first or time.ticks_diff(time.ticks_ms(), began) > GOOD_MS):
                good = True
                slots.good()
        raise Restart

    def report(self):
        """The fields for health: a dict for JSON."""
        return self._fields

    def news(self):
        """Whether health should tell of a change at once; true once for each."""
        return False


def begin(change, config, kid, dropped):
    """Return who watches over this start: Quiet or Listener, or with something under way a Trial or the Owner.

    ``dropped`` is what trig.listener.heard returned.
    """
    watch = _watch(change, config, kid, dropped)
    forget("change")  # it has served, until a trial ends or a command comes
    return watch


def _watch(change, config, kid, dropped):
    key = config["owner_key"]
    sleeps = config["battery"] is not None
    if key and (change.trying or change.fetching):
        from trig.owner import Owner

        return Owner(change, config["trial_s"], sleeps, key, kid, dropped)
    if change.trying:
        from trig.trial import Trial

        return Trial(change, config["trial_s"], sleeps)
    if key:
        from trig.listener import Listener

        return Listener(change.report(), key, kid, dropped)
    return Quiet(change.report())
