"""What a running board does for its owner: takes commands, ends trials, fetches updates."""

import asyncio
import gc
import json
import time

import slots
from micropython import const

from trig.command import CONFIGURATION, CommandError, open_command
from trig.config import ConfigError, check
from trig.keys import thumbprint
from trig.mqtt_packets import MqttError

RECEIVE_BYTES = const(4352)  # the largest command, its topic and the packet's head

_LOOK_MS = const(500)
_GOOD_MS = const(60000)


class Restart(Exception):
    """The board is to start anew: a trial begins or is over. Not an error."""


class Owner:
    """The owner's hand on the board.

    Attributes:
        change: trig.change.Change.
        topics: what to subscribe to, besides acks.
        bad: messages on the command topic that were not taken.
        bad_reason: why not, the last of them.
    """

    def __init__(self, change, key, kid, trial_s):
        """Take the parts.

        Args:
            change: trig.change.Change.
            key: the owner key, x || y, or b"" for none.
            kid: our board id.
            trial_s: how long a trial may last without an ack.
        """
        self.change = change
        self._key = key
        self._key_id = thumbprint(key[:32], key[32:]) if key else b""
        self._kid = kid
        self._trial_ms = trial_s * 1000
        topic = "trig/1/" + kid.hex()
        self._command_topic = topic + "/c"
        self._request_topic = topic + "/u"
        self._update = None
        self._client = None
        self._restart = False
        self.bad = 0
        self.bad_reason = ""
        self.topics = ()
        if key:
            self.topics = (self._command_topic,)
            manifest = change.pending_update()
            if manifest is not None:
                self._prepare(manifest)
            if self._update:
                self.topics = (self._command_topic, topic + "/p")

    def _prepare(self, data):
        # Here and now, while the heap is empty: in the middle of work there may be no room for these modules.
        from trig.manifest import Manifest, ManifestError
        from trig.update import Update

        try:
            slot = slots.SLOTS[1 - self.change.loader.active]
            self._update = Update(Manifest(data), slot, self._ask)
        except ManifestError as error:
            self.change.roll_back("damaged on flash: {}".format(error))

    @property
    def trying(self):
        """Whether a trial is on: the first statement is wanted soon."""
        return self.change.trying

    def take(self, topic, payload):
        """Take a message on one of ``topics``. Never raises: nothing that is sent may stop the board."""
        if topic == self._command_topic:
            self._command(payload)
        elif self._update:
            self._update.take(payload)

    def _command(self, data):
        change = self.change
        if change.trying or self._restart:
            self._refused("one is under way")
            return
        try:
            counter, kind, body = open_command(data, self._key, self._key_id, self._kid, change.record.counter)
            gc.collect()
            body = bytes(body)
            version, reason = self._look_into(kind, body)
            if reason:
                change.refuse(counter, kind, reason)
            else:
                change.take(counter, kind, body, version)
                self._restart = True
        except CommandError as error:
            self._refused(str(error))
        except OSError as error:
            self._refused("flash: {}".format(error))
        gc.collect()

    def _look_into(self, kind, body):
        """Return (version of an update or 0, why it is refused or "")."""
        try:
            if kind == CONFIGURATION:
                check(json.loads(body))
                return 0, ""
            from trig.manifest import Manifest

            manifest = Manifest(body)
            manifest.check(self.change.loader.version)
            return manifest.version, ""
        except ConfigError as error:
            return 0, str(error)
        except ValueError as error:
            return 0, str(error) if kind != CONFIGURATION else "not JSON"
        except (MemoryError, RuntimeError) as error:
            return 0, type(error).__name__

    def _refused(self, reason):
        self.bad += 1
        self.bad_reason = reason

    async def run(self, client, journal):
        """Watch over trials, and fetch a pending update, until a restart is wanted.

        Raises:
            Restart: now.
        """
        self._client = client
        if self._update:
            await asyncio.gather(self._watch(journal), self._fetch())
        else:
            await self._watch(journal)

    async def _watch(self, journal):
        first = journal.next_seq
        began = time.ticks_ms()
        good = False
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            if self._restart:
                raise Restart
            passed = time.ticks_diff(time.ticks_ms(), began)
            proved = journal.acked >= first
            if self.change.trying:
                if proved:
                    self.change.confirm()
                elif passed > self._trial_ms:
                    self.change.roll_back("no ack within {} s".format(self._trial_ms // 1000))
                    raise Restart
            if not good and (proved or passed > _GOOD_MS):
                good = True
                self.change.good()

    async def _fetch(self):
        from trig.update import UpdateError

        try:
            await self._update.run()
            self.change.install()
        except (UpdateError, OSError) as error:
            self._update = None
            self.change.roll_back(str(error))
            return
        raise Restart

    async def _ask(self, request):
        try:
            await self._client.publish(self._request_topic, request)
        except MqttError:
            pass  # too much in flight: it is asked again

    def report(self):
        """The fields for health: a dict for JSON."""
        fields = self.change.report()
        fields["bad_commands"] = self.bad
        if self.bad:
            fields["bad_command"] = self.bad_reason
        if self._update:
            fields["fetched"] = self._update.fetched
        return fields

    def news(self):
        """Whether health should tell of a change at once; true once for each."""
        news, self.change.news = self.change.news, False
        return news
