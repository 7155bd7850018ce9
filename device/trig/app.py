"""The running board: sensor -> pack -> sign -> journal -> uplink, each step in a task of its own where it has to wait.

``App`` holds the parts and their rules; ``main`` makes it from config.json and the real hardware.
"""

import asyncio
import gc
import json
import time

from micropython import const

from trig import __version__, mqtt, uplink
from trig.clock import Clock
from trig.config import ConfigError, load
from trig.guard import WATCHDOG_MS, Guard
from trig.journal import JournalError
from trig.mqtt_packets import MqttError
from trig.p256 import P256Error
from trig.senml import Pack, PackFull, SenmlError
from trig.sensors import SensorError, open_sensor
from trig.signer import JOURNAL, NVS, Signer, open_identity
from trig.statement import MAX_SIZE
from trig.wifi import Wifi

_HEALTH_MS = const(300000)
_PUBLISH_MS = const(30000)
_TIMER = const(0)
_UPLINK_MS = const(120000)
_RESTART_MS = const(10000)
_FINISH_POLLS = const(100)
_FINISH_POLL_MS = const(10)

WILL = '{"online":false}'


class Batch:
    """The readings measured and not yet signed, and the rule for when to sign them."""

    def __init__(self, samples, age_s):
        """A statement is due after so many samples, or when the oldest of them is so many seconds old."""
        self.pack = Pack()
        self.samples = 0
        self._max_samples = samples
        self._age_s = age_s

    def clear(self):
        """Forget what is signed."""
        self.pack.clear()
        self.samples = 0

    def due(self, now, urgent):
        """Whether to sign now: full, too old, or ``urgent`` and not empty. ``now`` is on the clock's count."""
        if not self.pack.count:
            return False
        return urgent or self.samples >= self._max_samples or now - self.pack.first_time >= self._age_s


class App:
    """All parts of a running board.

    Attributes:
        sensor_errors: failed measurements since start, by the part's name.
        faults: times that flash refused a statement.
        lost: readings that found no room because flash went on refusing.
    """

    def __init__(self, config, key, journal, hardware, network):
        """Put the parts together; ``run`` starts them.

        Args:
            config: from trig.config.
            key, journal: from trig.signer.open_identity.
            hardware: the ``machine`` module.
            network: the ``network`` module.

        Raises:
            ConfigError: link_key or broker.ca cannot be used.
        """
        broker = config["broker"]
        self._config = config
        self.clock = Clock(hardware.RTC())
        self.journal = journal
        self.signer = Signer(key, journal, self.clock, bytearray(MAX_SIZE))
        self.wifi = Wifi(network.WLAN(network.STA_IF), config["wifi"])
        self.client = mqtt.Client(
            mqtt.tcp(broker["host"], broker["port"], _tls(broker)),
            key.kid.hex(),
            user=key.kid.hex(),
            password=broker["password"],
            keepalive_s=broker["keepalive_s"],
            will_topic=uplink.health_topic(key.kid),
            will=WILL,
            topics=(uplink.ack_topic(key.kid),),
        )
        try:
            ack_key = self.signer.ack_key(config["link_key"])
        except P256Error:
            raise ConfigError("link_key: not a P-256 public key")
        self.uplink = uplink.Uplink(
            self.client, journal, self.clock, ack_key, key.kid, config["resend_s"], bytearray(MAX_SIZE)
        )
        self.batch = Batch(config["batch"]["samples"], config["batch"]["age_s"])
        self._sensors = [open_sensor(settings, hardware) for settings in config["sensors"]]
        self._values = [0] * max(len(sensor.channels) for sensor in self._sensors)
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
        self._heap_low = gc.mem_free()

    # -- sampling

    async def _sample_forever(self):
        while True:
            self._guard.moved("sampler")
            await self.measure()
            self.sign_if_due()
            self._arm()
            await self._tick.wait()

    async def measure(self):
        """Read every sensor once into the batch. A sensor that fails is counted and named, and stops nothing."""
        now = self.clock.seconds()
        taken = False
        self._measuring = True
        for sensor in self._sensors:
            try:
                await sensor.measure(self._values)
                for i, (name, unit, exponent) in enumerate(sensor.channels):
                    self._add(name, unit, self._values[i], exponent, now)
                taken = True
            except (SensorError, SenmlError, OSError, asyncio.TimeoutError) as error:
                self.sensor_errors[sensor.part] = self.sensor_errors.get(sensor.part, 0) + 1
                self.last_error = str(error)
        if taken:
            self.batch.samples += 1
        self._measuring = False

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
            period=self.clock.to_next(self._config["sample_s"]),
            callback=self._ticked,
        )

    def _ticked(self, _):
        self._tick.set()

    # -- signing

    def sign_if_due(self):
        """Sign the batch if its rule says so.

        While the time is unset, the first sample after power-on goes out at once: its ack sets the clock.
        """
        urgent = not self.clock.is_set and not self._signed_any
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
        self._heap_low = min(self._heap_low, gc.mem_free())
        self.uplink.wake()

    def _refused(self, error):
        self.faults += 1
        self.last_error = "journal: {}".format(error)

    def stop(self):
        """Finish the measurement under way and sign what is in the batch, after the tasks were stopped at any point."""
        if self._measuring:
            asyncio.run(self._measured())
        self._timer.deinit()
        self.sign()

    async def _measured(self):
        """Let the tasks go on until the measurement is done, or is seen to hang."""
        for _ in range(_FINISH_POLLS):
            if not self._measuring:
                return
            await asyncio.sleep_ms(_FINISH_POLL_MS)

    # -- health

    def health(self):
        """What the board says of itself: a dict for JSON."""
        return {
            "online": True,
            "version": __version__,
            "uptime_s": self.clock.seconds(),
            "reset_cause": self._hardware.reset_cause(),
            "clock_set": self.clock.is_set,
            "clock_corrections": self.clock.corrections,
            "heap_free": gc.mem_free(),
            "heap_low": self._heap_low,
            "next_seq": self.journal.next_seq,
            "unacked": self.journal.depth,
            "dropped": self.journal.dropped,
            "damaged": self.journal.damaged,
            "faults": self.faults,
            "lost": self.lost,
            "bad_acks": self.uplink.bad_acks,
            "sensor_errors": self.sensor_errors,
            "last_error": self.last_error[:120],
            "rssi": self.wifi.signal(),
            "connections": self.client.session,
            "link_error": self.client.error[:120],
        }

    async def _report(self):
        """Publish health at each connect and every few minutes."""
        topic = uplink.health_topic(self.signer.kid)
        while True:
            await self.client.up.wait()
            session = self.client.session
            began = time.ticks_ms()
            gc.collect()
            try:
                await asyncio.wait_for_ms(
                    self.client.publish(topic, json.dumps(self.health()).encode(), retain=True), _PUBLISH_MS
                )
            except (asyncio.TimeoutError, MqttError) as error:
                self.last_error = "health: {}".format(error)
            while self.client.session == session and time.ticks_diff(time.ticks_ms(), began) < _HEALTH_MS:
                await asyncio.sleep_ms(1000)

    # -- all of it

    async def run(self):
        """Run for ever. An error that a task does not expect ends all of them."""
        period_ms = self._config["sample_s"] * 1000
        late_ms = 2 * period_ms + 60000
        self._guard = Guard(
            self._hardware.WDT(timeout=WATCHDOG_MS),
            {"sampler": late_ms, "signer": late_ms, "uplink": _UPLINK_MS},
        )
        await asyncio.gather(
            self._guard.run(),
            self.wifi.run(self.client.hurry),
            self.client.run(),
            self._report(),
            self.uplink.send(self._uplink_moved),
            self.uplink.receive(self._arm),
            self._sample_forever(),
        )

    def _uplink_moved(self):
        self._guard.moved("uplink")


def _tls(broker):
    if not broker["tls"]:
        return None
    try:
        with open(broker["ca"], "rb") as file:
            return mqtt.tls_context(file.read())
    except (OSError, ValueError):
        raise ConfigError("broker.ca: {} is not a readable CA certificate (DER)".format(broker["ca"]))


def main():
    """Run the board until Ctrl-C; then sign what is in the batch and end. Any other error ends in a restart."""
    import os
    import sys

    import esp32
    import machine
    import network

    try:
        config = load("/config.json")
        key, journal = open_identity(esp32.NVS(NVS), os.urandom, network.WLAN(network.STA_IF), JOURNAL)
        app = App(config, key, journal, machine, network)
    except ConfigError as error:
        print("config.json:", error)
        return
    gc.collect()
    print("board", key.kid.hex(), "next seq", journal.next_seq, "free heap", gc.mem_free())
    try:
        asyncio.run(app.run())
    except KeyboardInterrupt:
        app.stop()
        print("stopped, next seq", journal.next_seq)
    except Exception as error:
        # Nobody is there to read it on a roof: keep the readings, give a person at the cable time for Ctrl-C, restart.
        sys.print_exception(error)
        app.stop()
        time.sleep_ms(_RESTART_MS)
        machine.reset()
