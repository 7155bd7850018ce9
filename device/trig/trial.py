"""Watches over a start in which something is on trial: that ends with the ack of a statement signed in it, or in a
restart with the old."""

import asyncio
import time

import slots

from trig.modules import forget
from trig.quiet import GOOD_MS, LOOK_MS, Quiet, Restart


class Trial(Quiet):
    """Such a start, or one in which an update is fetched."""

    def __init__(self, change, trial_s, sleeps):
        """Take what is known; trig.change itself comes back when the trial is over.

        Args:
            change: trig.change.Change.
            trial_s: how long a trial may last without an ack.
            sleeps: whether the board sleeps between samples: it stays awake while ``busy``, and no longer.
        """
        super().__init__(change.report())
        self.trying = change.trying
        self._fetching = False
        self._trial_ms = trial_s * 1000
        self._sleeps = sleeps
        self._news = change.news

    @property
    def busy(self):
        """Whether a trial is on, or an update is being fetched."""
        return self.trying or self._fetching

    async def run(self, client, journal):
        """Watch over this start.

        Raises:
            Restart: now.
        """
        first = journal.next_seq
        began = time.ticks_ms()
        good = False
        while True:
            await asyncio.sleep_ms(LOOK_MS)
            if self._restart or (self._sleeps and not self.busy):
                raise Restart
            passed = time.ticks_diff(time.ticks_ms(), began)
            proved = journal.acked >= first
            if self.trying and proved:
                self._end("confirm")
            elif passed > self._trial_ms and (self.trying or (self._sleeps and self._fetching)):
                self._end("roll_back", "nothing acked, or not all fetched, within {} s".format(self._trial_ms // 1000))
                raise Restart
            if not good and (proved or passed > GOOD_MS):
                good = True
                slots.good()

    def _end(self, act, *arguments):
        """Have trig.change.Change do this, and tell of it."""
        from trig.change import opened

        change = opened()
        getattr(change, act)(*arguments)
        self._fields.update(change.report())
        self.trying = change.trying
        self._news = True
        change = None
        forget("change")

    def news(self):
        """Whether health should tell of a change at once; true once for each."""
        news, self._news = self._news, False
        return news
