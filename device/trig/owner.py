"""What a board does for its owner while something is under way: goes on taking commands, and fetches an update."""

import asyncio

import slots

from trig.listener import COMMAND_BYTES, Commands
from trig.modules import forget
from trig.mqtt_packets import MqttError
from trig.quiet import Restart
from trig.trial import Trial


class Owner(Trial):
    """The owner's hand on the board."""

    receive_bytes = COMMAND_BYTES

    def __init__(self, change, trial_s, sleeps, key, kid, dropped):
        """Take the parts; look into an update that is pending.

        Args:
            change, trial_s, sleeps: as for Trial.
            key: the owner key, x || y.
            kid: our board id.
            dropped: what trig.listener.heard returned.

        Raises:
            OSError: flash or NVS refuse.
        """
        self._commands = Commands(key, kid, dropped)
        topic = "trig/1/" + kid.hex()
        self._request_topic = topic + "/u"
        self._client = None
        self._update = None
        self.topics = [self._commands.topic]
        if change.fetching:
            self._prepare(change, topic + "/p")
        super().__init__(change, trial_s, sleeps)
        self._fetching = self._update is not None

    def _prepare(self, change, piece_topic):
        from trig.update import Files, Update

        found = _manifest(change)
        forget("manifest")
        if found:
            files = Files(change.staged_path, *found)
            self._update = Update(files, slots.SLOTS[1 - change.loader.active], self._ask)
            self.topics.append(piece_topic)

    def take(self, topic, payload):
        """Take a command or a piece. Never raises: nothing that is sent may stop the board."""
        if topic == self._commands.topic:
            busy, last = self.trying or self._restart, self._fields["command"]["counter"]
            self._restart = self._commands.take(payload, busy, last) or self._restart
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
            self._fetching = False
            self._end("roll_back", str(error))
            return
        self._end("install")
        raise Restart

    async def _ask(self, request):
        try:
            await self._client.publish(self._request_topic, request)
        except MqttError:
            pass  # too much in flight: it is asked again

    def report(self):
        """The fields for health: a dict for JSON."""
        fields = self._commands.report(self._fields)
        if self._update:
            fields["fetched"] = self._update.fetched
        return fields


def _manifest(change):
    """Check the pending update's manifest; return where its files are named and how many, None if it was rejected."""
    from trig.change import family
    from trig.manifest import Manifest, ManifestError

    try:
        manifest = Manifest(change.pending_update())
        manifest.check(change.loader.version, family())
    except ManifestError as error:
        change.reject(str(error))
        return None
    change.identify(manifest.version)
    return manifest.files_at, manifest.count
