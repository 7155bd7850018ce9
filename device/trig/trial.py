"""Watches over a start of the board: a trial ends with the ack of a statement signed in it, or in a restart with the
old."""

import asyncio
import time

from micropython import const

from trig.quiet import Restart

_LOOK_MS = const(500)
_GOOD_MS = const(60000)


class Trial:
    """What a board without an owner key does: nobody commands it, but it may be on trial all the same.

    Attributes:
        change: trig.change.Change.
        topics: what to subscribe to, besides acks.
        receive_bytes: the largest packet that must be taken in.
    """

    topics = []
    receive_bytes = 1024
    busy_fetching = False

    def __init__(self, change, trial_s, sleeps):
        """Take the parts.

        Args:
            change: trig.change.Change.
            trial_s: how long a trial may last without an ack.
            sleeps: whether the board sleeps between samples: it stays awake while ``busy``, and no longer.
        """
        self.change = change
        self._trial_ms = trial_s * 1000
        self._sleeps = sleeps
        self._restart = False

    @property
    def trying(self):
        """Whether a trial is on: the first statement is wanted soon."""
        return self.change.trying

    @property
    def busy(self):
        """Whether a trial is on, or an update is being fetched."""
        return self.change.trying or self.busy_fetching

    def take(self, topic, payload):
        """Take a message on one of ``topics``. Never raises: nothing that is sent may stop the board."""

    async def run(self, client, journal):
        """Watch over this start.

        Raises:
            Restart: now.
        """
        change = self.change
        first = journal.next_seq
        began = time.ticks_ms()
        good = False
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            if self._restart or (self._sleeps and not self.busy):
                raise Restart
            passed = time.ticks_diff(time.ticks_ms(), began)
            proved = journal.acked >= first
            if change.trying and proved:
                change.confirm()
            elif passed > self._trial_ms and (change.trying or (self._sleeps and self.busy_fetching)):
                change.roll_back("nothing acked, or not all fetched, within {} s".format(self._trial_ms // 1000))
                raise Restart
            if not good and (proved or passed > _GOOD_MS):
                good = True
                change.good()

    def report(self):
        """The fields for health: a dict for JSON."""
        return self.change.report()

    def news(self):
        """Whether health should tell of a change at once; true once for each."""
        news, self.change.news = self.change.news, False
        return news
