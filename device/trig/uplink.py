"""Gets statements from the journal to the gateway's disk: in order, again and again until the gateway's signed ack.

``open_ack`` and ``Window`` decide; ``Uplink`` acts.
"""

import asyncio
import time
from array import array

from micropython import const

from trig.cbor import CborError, Reader
from trig.cose import CoseError, mac0_open
from trig.journal import JournalError

_WIDTH = const(8)
_IDLE_MS = const(5000)
_PUBLISH_MS = const(30000)
_MAX_ACK = const(128)
_FRESH_MS = const(30000)


class AckError(ValueError):
    """Not an ack made with our key; the message says why."""


def open_ack(key, data):
    """Return (seq, time in ms since 1970) of an ack (protocol, section 6). Raises AckError."""
    try:
        reader = Reader(mac0_open(key, data, _MAX_ACK))
        if reader.map() != 2 or reader.unsigned() != 1:
            raise AckError("ack without seq")
        seq = reader.unsigned()
        if reader.unsigned() != 2:
            raise AckError("ack without time")
        time_ms = reader.unsigned()
        reader.end()
    except (CborError, CoseError) as error:
        raise AckError(str(error))
    if seq >> 32 or time_ms >> 63:
        raise AckError("ack with a number out of range")
    return seq, time_ms


class Window:
    """Which statement goes out next. Holds no I/O and asks no clock: ``now`` is ticks in ms.

    At most ``width`` statements go out beyond the last ack. After a connect or a time-out one goes out alone, for the
    gateway may well hold the rest; each ack then doubles the width, to eight at most.

    When statements were lost unacked, none that was signed before the loss tells of it, and the gateway takes nothing
    until it is told (protocol, section 5). So the newest goes out first, and each that is signed until the gateway acks
    the loss: the newest may itself be older than a loss found on reading, but the next one cannot be.
    """

    def __init__(self, resend_ms):
        self._resend_ms = resend_ms
        self.restart(0)

    def restart(self, now):
        """Begin again at the oldest statement not acked."""
        self._next = 0
        self._width = 1
        self._declared = -1
        self._moved_at = now

    def acked(self, now):
        """An ack moved the window on."""
        self._width = min(2 * self._width, _WIDTH)
        self._moved_at = now

    def choose(self, oldest, acked, next_seq, now):
        """Return the seq to send now, or None.

        Args:
            oldest: the lowest seq in the journal.
            acked: the highest seq acked, -1 before the first.
            next_seq: one more than the highest seq in the journal.
            now: ticks in ms.
        """
        first = max(oldest, acked + 1)
        if first >= next_seq:
            return None
        if self._next > first and time.ticks_diff(now, self._moved_at) >= self._resend_ms:
            self.restart(now)
        self._next = max(self._next, first)
        if oldest > acked + 1 and self._declared < next_seq - 1:
            return next_seq - 1
        return self._next if self._next < min(next_seq, first + self._width) else None

    def sent(self, seq, oldest, acked, now):
        """Note that the broker has taken ``seq``, which ``choose`` returned for the same ``oldest`` and ``acked``."""
        first = max(oldest, acked + 1)
        if oldest > acked + 1:
            self._declared = max(self._declared, seq)
        if seq == self._next:
            self._next = seq + 1
        if seq == first:
            self._moved_at = now

    def unreadable(self, seq, oldest, acked):
        """Note that ``seq``, which ``choose`` returned, cannot be read; return whether it is time to give it up.

        That gives up all below it too, so it waits until they are acked.
        """
        first = max(oldest, acked + 1)
        if seq == first:
            return True
        if oldest > acked + 1:
            self._declared = max(self._declared, seq)
        self._width = min(self._width, seq - first)
        return False


class Uplink:
    """Sends and takes acks.

    Attributes:
        bad_acks: messages on the ack topic that our key did not make.
        old_acks: acks that were not news.
    """

    def __init__(self, client, journal, clock, ack_key, kid, resend_s):
        """Take the parts.

        Args:
            client: trig.mqtt.Client, subscribed to ``ack_topic(kid)``.
            journal, clock: of this board.
            ack_key: function that returns the 32 bytes of Signer.ack_key; called once, at the latest with the first
                message: it costs as much as several signatures, and a board on batteries seldom connects.
            kid: the board id, 32 bytes.
            resend_s: how long to wait for an ack.
        """
        self._client = client
        self._journal = journal
        self._clock = clock
        self._make_ack_key = ack_key
        self._ack_key = None
        self._topic = statement_topic(kid)
        self._ack_topic = ack_topic(kid)
        self._window = Window(resend_s * 1000)
        self._idle_ms = min(resend_s * 1000, _IDLE_MS)
        self._news = asyncio.Event()
        self._session = 0
        # When each of the newest statements first went out, by seq modulo the window's width: on the clock's count, and
        # in ticks, which measure how long its ack was under way whatever the clock does.
        self._sent = array("i", bytes(4 * _WIDTH))
        self._sent_ticks = [time.ticks_ms()] * _WIDTH
        self._highest_sent = -1
        self.bad_acks = 0
        self.old_acks = 0

    def prepare(self):
        """Work out the ack key, if that has not been done: else the first message does it."""
        if self._ack_key is None:
            self._ack_key = self._make_ack_key()

    def wake(self):
        """There is a new statement in the journal."""
        self._news.set()

    async def send(self, moved):
        """Send for ever. ``moved()`` is called at least every half minute, whatever the network does."""
        client = self._client
        while True:
            moved()
            if not client.up.is_set():
                await self._wait(client.up)
                continue
            now = time.ticks_ms()
            if client.session != self._session:
                self._session = client.session
                self._window.restart(now)
            self._news.clear()
            journal = self._journal
            oldest, acked = journal.oldest, journal.acked
            seq = self._window.choose(oldest, acked, journal.next_seq, now)
            if seq is None:
                await self._wait(self._news)
                continue
            try:
                stored = journal.stored(seq)
            except JournalError:
                if self._window.unreadable(seq, oldest, acked):
                    journal.abandon(seq)
                continue
            if seq > self._highest_sent:
                self._sent[seq % _WIDTH] = self._clock.seconds()
                self._sent_ticks[seq % _WIDTH] = now
                self._highest_sent = seq
            try:
                await asyncio.wait_for_ms(client.publish(self._topic, stored), _PUBLISH_MS)
            except (asyncio.TimeoutError, JournalError):
                # Or it has left the journal meanwhile, acked or given up: look again.
                continue
            self._window.sent(seq, oldest, acked, time.ticks_ms())

    async def receive(self, clock_moved, other):
        """Take acks for ever.

        Args:
            clock_moved: ``clock_moved()`` is called when an ack has set the clock.
            other: ``other(topic, payload)`` is called with what comes on other topics.
        """
        async for topic, payload in self._client:
            if topic != self._ack_topic:
                other(topic, payload)
            elif self.take(payload):
                clock_moved()

    def take(self, data):
        """Act on one message from the ack topic; return whether it set the clock. What is not news changes nothing."""
        self.prepare()
        try:
            seq, time_ms = open_ack(self._ack_key, data)
        except AckError:
            self.bad_acks += 1
            return False
        journal = self._journal
        if not journal.acked < seq < journal.next_seq:
            self.old_acks += 1
            return False
        journal.ack(seq)
        now = time.ticks_ms()
        self._window.acked(now)
        self._news.set()
        # An ack that was long under way, or waited at the broker while the board was off, tells a time long past.
        place = seq % _WIDTH
        if not self._highest_sent - _WIDTH < seq <= self._highest_sent:
            return False
        # Ticks wrap: after some days the difference is negative.
        if not 0 <= time.ticks_diff(now, self._sent_ticks[place]) <= _FRESH_MS:
            return False
        return self._clock.adjust(time_ms, self._sent[place], self._clock.seconds())

    async def _wait(self, event):
        """Wait for the event, but look at the window again in time to send something again."""
        try:
            await asyncio.wait_for_ms(event.wait(), self._idle_ms)
        except asyncio.TimeoutError:
            pass


def statement_topic(kid):
    """Where a board's statements go."""
    return "trig/1/" + kid.hex() + "/s"


def ack_topic(kid):
    """Where its acks come from."""
    return "trig/1/" + kid.hex() + "/a"


def health_topic(kid):
    """Where its health goes."""
    return "trig/1/" + kid.hex() + "/h"
