"""What a board does for its owner while something is under way: goes on taking commands, and fetches an update."""

import asyncio

import slots

from trig.change import family
from trig.listener import COMMAND_BYTES, Commands
from trig.mqtt_packets import MqttError
from trig.quiet import Restart
from trig.trial import Trial


class Owner(Trial):
    """The owner's hand on the board."""

    receive_bytes = COMMAND_BYTES

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
        self._commands = Commands(key, kid)
        topic = "trig/1/" + kid.hex()
        self._request_topic = topic + "/u"
        self._client = None
        self._update = None
        self._piece_topic = topic + "/p"
        self.topics = [self._commands.topic]
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
        self.topics = [self._commands.topic, self._piece_topic]

    def take(self, topic, payload):
        """Take a command or a piece. Never raises: nothing that is sent may stop the board."""
        if topic == self._commands.topic:
            busy = self.change.trying or self._restart
            self._restart = self._commands.take(payload, busy, self.change) or self._restart
        elif self._update:
            self._update.take(payload)

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
        fields = self._commands.report(super().report())
        if self._update:
            fields["fetched"] = self._update.fetched
        return fields
