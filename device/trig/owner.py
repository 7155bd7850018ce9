"""What a running board does for its owner: takes commands, and fetches the files of an update.

What a command says is looked into at the next start, when there is room on the heap for all that that needs.
"""

import asyncio
import gc
import sys

import slots
from micropython import const

from trig.command import CommandError, open_command
from trig.keys import thumbprint
from trig.mqtt_packets import MqttError
from trig.quiet import Restart
from trig.trial import Trial

# By the number in sys.implementation._mpy: what native code in a .mpy file would run on (MicroPython, .mpy files).
_SETS = ("any", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa", "xtensawin",
    "rv32imc", "rv64imc")  # fmt: skip


def family():
    """The boards that run the same files as this one: platform and instruction set, such as esp32-xtensawin."""
    number = getattr(sys.implementation, "_mpy", 0) >> 10 & 15
    return sys.platform + "-" + (_SETS[number] if number < len(_SETS) else str(number))


class Owner(Trial):
    """The owner's hand on the board.

    Attributes:
        bad: messages on the command topic that were not taken.
        bad_reason: why not, the last of them.
    """

    receive_bytes = const(4352)  # the largest command, its topic and the packet's head

    def __init__(self, change, trial_s, sleeps, key, kid):
        """Take the parts; look into an update that is pending.

        Args:
            change, trial_s, sleeps: as for Trial.
            key: the owner key, x || y.
            kid: our board id.

        Raises:
            OSError: flash or NVS refuse.
        """
        super().__init__(change, trial_s, sleeps)
        self._key = key
        self._key_id = thumbprint(key[:32], key[32:])
        self._kid = kid
        topic = "trig/1/" + kid.hex()
        self._command_topic = topic + "/c"
        self._request_topic = topic + "/u"
        self._client = None
        self._update = None
        self.bad = 0
        self.bad_reason = ""
        self._piece_topic = topic + "/p"
        self.topics = [self._command_topic]
        data = change.pending_update()
        if data is not None:
            self._prepare(data)

    def _prepare(self, data):
        from trig.manifest import Manifest, ManifestError
        from trig.update import Update

        change = self.change
        try:
            manifest = Manifest(data)
            manifest.check(change.loader.version, family())
        except ManifestError as error:
            change.reject(str(error))
            return
        change.identify(manifest.version)
        self._update = Update(manifest, slots.SLOTS[1 - change.loader.active], self._ask)
        self.busy_fetching = True
        self.topics = [self._command_topic, self._piece_topic]

    def take(self, topic, payload):
        """Take a command or a piece. Never raises: nothing that is sent may stop the board."""
        if topic == self._command_topic:
            self._command(payload)
        elif self._update:
            self._update.take(payload)

    def _command(self, data):
        change = self.change
        try:
            if change.trying or self._restart:
                raise CommandError("one is under way")
            counter, kind, body = open_command(data, self._key, self._key_id, self._kid, change.record.counter)
            change.take(counter, kind, body)
            self._restart = True
        except CommandError as error:
            self._refused(str(error))
        except OSError as error:
            self._refused("flash: {}".format(error))
        gc.collect()

    def _refused(self, reason):
        self.bad += 1
        self.bad_reason = reason

    async def run(self, client, journal):
        """Watch over this start, and fetch a pending update.

        Raises:
            Restart: now.
        """
        self._client = client
        if self._update:
            await asyncio.gather(super().run(client, journal), self._fetch())
        else:
            await super().run(client, journal)

    async def _fetch(self):
        from trig.update import UpdateError

        try:
            await self._update.run()
        except (UpdateError, OSError) as error:
            self._update = None
            self.busy_fetching = False
            self.change.roll_back(str(error))
            return
        self.change.install()
        raise Restart

    async def _ask(self, request):
        try:
            await self._client.publish(self._request_topic, request)
        except MqttError:
            pass  # too much in flight: it is asked again

    def report(self):
        """The fields for health: a dict for JSON."""
        fields = super().report()
        fields["family"] = family()
        fields["bad_commands"] = self.bad
        if self.bad:
            fields["bad_command"] = self.bad_reason
        if self._update:
            fields["fetched"] = self._update.fetched
        return fields
