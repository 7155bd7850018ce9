"""The running board: sensor -> pack -> sign -> journal -> uplink, each step in a task of its own where it has to wait.

``App`` holds the parts and their rules; ``trig.start`` makes it from config.json and the real hardware.
"""

import asyncio
import gc
from os import urandom

from micropython import const

from trig import ConfigError, health, mqtt, uplink
from trig.batch import Batch
from trig.clock import Clock
from trig.guard import WATCHDOG_MS, Guard
from trig.journal import JournalError
from trig.keys import SignerError
from trig.senml import Pack, PackFull, SenmlError, room
from trig.sensors import open_sensors
from trig.signer import Signer
from trig.statement import ENVELOPE
from trig.wifi import Wifi

_TIMER = const(0)
_UPLINK_MS = const(120000)
_FINISH_POLLS = const(100)
_FINISH_POLL_MS = const(10)

WILL = '{"online":false}'


class App:
    """All parts of a running board.

    Attributes:
        config: what config.json says, but for the sensors.
        sensor_errors: failed measurements since start, by the part's name.
        faults: times that flash refused a statement or the signer failed.
        lost: readings that found no room because flash went on refusing.
        heap_low: the least free heap seen when a statement was signed or health reported, garbage apart, in bytes.
        reset_cause: number from ``machine.reset_cause``.
    """

    def __init__(self, config, key, journal, hardware, network, crashes, owner):
        """Put the parts together; ``run`` starts them.

        Args:
            config: from trig.config.
            key, journal: from trig.identity.start.
            hardware: the ``machine`` module.
            network: the ``network`` module.
            crashes: trig.crash.Crashes.
            owner: who watches over this start, from trig.quiet.begin.

        Raises:
            ConfigError: broker.ca cannot be used.
        """
        broker = config["broker"]
        self._sensors = open_sensors(config.pop("sensors"), hardware)
        self._values = [[0] * len(sensor.channels) for sensor in self._sensors]
        # Room for two batches: while flash refuses one, another may wait.
        samples = 2 * config["batch"]["samples"] if config["battery"] is None else 2
        readings, size = room([channel for sensor in self._sensors for channel in sensor.channels], samples)
        self.batch = Batch(config["batch"]["samples"], config["batch"]["age_s"], Pack(readings, size))
        self.config = config
        self.owner = owner
        self.clock = Clock(hardware.RTC())
        self.journal = journal
        self.signer = Signer(key, journal, self.clock, bytearray(size + ENVELOPE))
        self.wifi = Wifi(network.WLAN(network.STA_IF), config["wifi"])
        open_stream = mqtt.tcp(broker["host"], broker["port"], _tls(broker))
        self.ntp = None
        if config["ntp"]["host"]:
            from trig.ntp import Ntp  # 4 KB of heap that a board without it need not spend

            self.ntp = Ntp(config["ntp"]["host"], config["ntp"]["port"], self.clock, urandom)
            open_stream = self.ntp.before(open_stream)
        self.client = mqtt.Client(
            open_stream,
            key.kid.hex(),
            user=key.kid.hex(),
            password=broker["password"],
            keepalive_s=broker["keepalive_s"],
            will_topic=uplink.health_topic(key.kid),
            will=WILL,
            topics=(uplink.ack_topic(key.kid),) + tuple(owner.topics),
            receive_bytes=owner.receive_bytes,
        )
        link_key = config["link_key"]
        self.uplink = uplink.Uplink(
            self.client,
            journal,
            self.clock,
            lambda: self.signer.ack_key(link_key),
            key.kid,
            config["resend_s"],
        )
        if config["battery"] is None:
            self.uplink.prepare()  # now, while there is most room for it
        self._timer = hardware.Timer(_TIMER)
        self._timer_class = hardware.Timer
        self._tick = asyncio.ThreadSafeFlag()
        self._hardware = hardware
        self._measuring = False
        self._signed_any = False
        self._signing_seq = -1
        self.sensor_errors = {}
        self.last_error = ""
        self.faults = 0
        self.lost = 0
        self.crashes = crashes
        self.reset_cause = hardware.reset_cause()
        self.heap_low = gc.mem_free()

    # -- sampling

    async def _sample_forever(self):
        while True:
            self._guard.moved("sampler")
            await self.measure()
            self.sign_if_due()
            self._arm()
            await self._tick.wait()

    async def measure(self):
        """Read every sensor once, all at the same time, into the batch.

        A sensor that fails is counted and named, and stops nothing.
        """
        now = self.clock.seconds()
        taken = False
        self._measuring = True
        done = bytearray(len(self._sensors))
        await asyncio.gather(*[self._read(i, done) for i in range(len(done))])
        for i, sensor in enumerate(self._sensors):
            if done[i]:
                try:
                    for j, (name, unit, exponent) in enumerate(sensor.channels):
                        self._add(name, unit, self._values[i][j], exponent, now)
                    taken = True
                except SenmlError as error:
                    self._sensor_failed(sensor, str(error))
        if taken:
            self.batch.samples += 1
        self._measuring = False

    async def _read(self, i, done):
        """Measure with one sensor; ``done[i]`` says that it has values. What can go wrong in a driver ends here."""
        sensor = self._sensors[i]
        try:
            await asyncio.wait_for_ms(self._take(i, done), sensor.limit_ms)
        except asyncio.TimeoutError:
            # When a TLS handshake has held up everything, the value and the time-out come in the same turn.
            if not done[i]:
                self._sensor_failed(sensor, "{}: not done in {} ms".format(sensor.part, sensor.limit_ms))
        except Exception as error:
            self._sensor_failed(sensor, str(error) or repr(error))

    async def _take(self, i, done):
        await self._sensors[i].measure(self._values[i])
        done[i] = 1

    def _sensor_failed(self, sensor, why):
        self.sensor_errors[sensor.part] = self.sensor_errors.get(sensor.part, 0) + 1
        self.last_error = why

    def _add(self, name, unit, mantissa, exponent, now):
        pack = self.batch.pack
        try:
            self._settle()
            pack.add(name, unit, mantissa, exponent, now)
        except PackFull:
            if self.sign():
                pack.add(name, unit, mantissa, exponent, now)
            else:
                self.lost += 1
        except (OSError, JournalError) as error:
            self._refused(error)
            self.lost += 1

    def _arm(self):
        """Set the timer for the next sample: on whole multiples of the period once the time is known."""
        self._timer.init(
            mode=self._timer_class.ONE_SHOT,
            period=self.clock.to_next(self.config["sample_s"]),
            callback=self._ticked,
        )

    def _ticked(self, _):
        self._tick.set()

    # -- signing

    def sign_if_due(self):
        """Sign the batch if its rule says so.

        While the time is unset, the first sample after power-on goes out at once: its ack sets the clock. In a
        trial it does so too: its ack ends the trial. And a key's very first: whoever enrols the board waits for it.
        """
        urgent = (self.owner.trying or not self.clock.is_set or not self.journal.next_seq) and not self._signed_any
        if not self.batch.due(self.clock.seconds(), urgent) or self.sign():
            self._guard.moved("signer")

    def sign(self):
        """Sign the batch and keep it in the journal; return whether it is there. If flash refuses, the batch stays.

        May be called again after it was broken off at any point: what is on flash decides, so no reading is signed
        twice.
        """
        try:
            self._settle()
            if self.batch.pack.count:
                self._signing_seq = self.journal.next_seq
                self.signer.statement(self.batch.pack)
                self._signed()
        except (OSError, JournalError) as error:
            self._refused(error)
            return False
        except SignerError as error:
            self.faults += 1
            self.last_error = "signer: {}".format(error)
            return False
        return True

    def _settle(self):
        """Find out whether a try to sign the batch that was broken off reached flash; until then none may join it."""
        if self._signing_seq >= 0:
            self.journal.make_room()
            if self.journal.next_seq > self._signing_seq:
                self._signed()
            self._signing_seq = -1

    def _signed(self):
        self.batch.clear()
        self._signing_seq = -1
        self._signed_any = True
        gc.collect()
        self.heap()
        self.uplink.wake()

    def heap(self):
        """Return the bytes of heap that are free, and remember the least."""
        free = gc.mem_free()
        self.heap_low = min(self.heap_low, free)
        return free

    def _refused(self, error):
        self.faults += 1
        self.last_error = "journal: {}".format(error)

    def stop(self):
        """Finish the measurement under way and sign what is in the batch, after the tasks were stopped at any point."""
        if self._measuring:
            asyncio.run(self._measured())
        self._timer.deinit()
        self.sign()
        for sensor in self._sensors:
            try:
                sensor.close()
            except OSError as error:
                self._sensor_failed(sensor, str(error))

    async def _measured(self):
        """Let the tasks go on until the measurement is done, or is seen to hang."""
        for _ in range(_FINISH_POLLS):
            if not self._measuring:
                return
            await asyncio.sleep_ms(_FINISH_POLL_MS)

    # -- all of it

    async def run(self):
        """Run for ever. An error that a task does not expect ends all of them."""
        period_ms = self.config["sample_s"] * 1000
        late_ms = 2 * period_ms + 60000
        self._guard = Guard(
            self._hardware.WDT(timeout=WATCHDOG_MS),
            {"sampler": late_ms, "signer": late_ms, "uplink": _UPLINK_MS},
            self.record,
        )
        await asyncio.gather(
            self._guard.run(),
            health.report(
                self.client,
                uplink.health_topic(self.signer.kid),
                lambda: health.gather(self),
                self.crashes,
                self.owner.news,
            ),
            self.owner.run(self.client, self.journal),
            *self.link(self._uplink_moved, self._arm),
            self._sample_forever(),
        )

    def link(self, moved, clock_moved):
        """What keeps the board in touch with its gateway, as coroutines; ``moved`` and ``clock_moved`` as in Uplink."""

        def told():
            clock_moved()
            self.client.hurry()  # TLS may have been waiting for the time

        return (
            self.wifi.run(self._joined),
            self.client.run(),
            self.uplink.send(moved),
            self.uplink.receive(clock_moved, self.owner.take),
        ) + ((self.ntp.run(told),) if self.ntp else ())

    def _joined(self):
        if self.ntp:
            self.ntp.joined()
        self.client.hurry()

    def _uplink_moved(self):
        self._guard.moved("uplink")

    def record(self, text):
        """Keep what is about to reset the board."""
        seconds = self.clock.seconds()
        self.crashes.record(text, seconds, self.clock.unix(seconds))


def _tls(broker):
    if not broker["tls"]:
        return None
    try:
        with open(broker["ca"], "rb") as file:
            return mqtt.tls_context(file.read())
    except (OSError, ValueError):
        raise ConfigError("broker.ca: {} is not a readable CA certificate (DER)".format(broker["ca"]))
