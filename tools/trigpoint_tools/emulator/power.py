"""Time that an emulated board spends in each power state, and the charge that an ESP32 would take for it.

What is counted is counted: boots, times that the radio was switched on, processor time and waiting with the radio on
and off, and sleep. What a PC cannot show comes from `Model`: how much slower an ESP32 computes, how long its ROM takes
to boot and its radio to join, and the currents of its data sheet. docs/battery.md says which of these to measure.
"""

from __future__ import annotations

from dataclasses import dataclass

_DAY_S = 86_400
_MAS_PER_MAH = 3600


@dataclass(frozen=True)
class Model:
    """What an ESP32 takes. The currents are from its data sheet, the times are assumptions.

    Attributes:
        cpu_ma: processor on, radio off. ESP32 Series Datasheet v3.5, table 6: modem-sleep, dual core, 160 MHz
            (MicroPython's clock), 27 mA to 44 mA; the upper end.
        radio_ma: radio on. The same, table 15: receive and listen, 95 mA to 100 mA; the upper end. Transmission at
            19.5 dBm takes 240 mA, for milliseconds; it is in `join_s`.
        sleep_ma: the same, table 6: deep sleep with RTC timer and RTC memory, 10 uA. The chip alone, without the
            board's regulator, USB bridge and sensors.
        slowdown: processor time of an ESP32 at 160 MHz for one second of this machine's.
        boot_s: from the wake-up to the first line of boot.py, processor on.
        join_s: scan, association and DHCP beyond the emulator's own 0.2 s, each time the radio is switched on.
    """

    cpu_ma: float = 44.0
    radio_ma: float = 100.0
    sleep_ma: float = 0.010
    slowdown: float = 100.0
    boot_s: float = 0.35
    join_s: float = 2.5


@dataclass(frozen=True)
class Usage:
    """What was counted. Seconds of computing and waiting are this machine's, those of sleep the world's.

    Attributes:
        boots: starts of the board.
        joins: times that the radio was switched on.
        cpu_s, wait_s: computing and waiting with the radio off.
        radio_cpu_s, radio_wait_s: the same with the radio on.
        sleep_s: deep sleep, as long as the board asked for.
    """

    boots: int = 0
    joins: int = 0
    cpu_s: float = 0.0
    wait_s: float = 0.0
    radio_cpu_s: float = 0.0
    radio_wait_s: float = 0.0
    sleep_s: float = 0.0

    def minus(self, earlier: Usage) -> Usage:
        """Return what has been added since."""
        return Usage(**{name: value - getattr(earlier, name) for name, value in vars(self).items()})

    def awake_s(self, model: Model) -> tuple[float, float]:
        """Return the seconds that an ESP32 would be awake with the radio off and on."""
        off = self.boots * model.boot_s + self.cpu_s * model.slowdown + self.wait_s
        on = self.joins * model.join_s + self.radio_cpu_s * model.slowdown + self.radio_wait_s
        return off, on

    def mah_per_day(self, model: Model, period_s: float) -> float:
        """Return the charge of a day, in mAh, of a board that wakes up every `period_s` seconds of it.

        Sleep is what the day has left: in an emulated world that runs fast, being awake takes up more of it.
        """
        if not self.boots:
            raise ValueError("the board has not started yet")
        wakes = _DAY_S / period_s
        off, on = (seconds / self.boots * wakes for seconds in self.awake_s(model))
        asleep = max(0.0, _DAY_S - off - on)
        return (off * model.cpu_ma + on * model.radio_ma + asleep * model.sleep_ma) / _MAS_PER_MAH


class PowerMeter:
    """Counts. Moments are passed in: `now` in this machine's seconds, `cpu` in its process's seconds of computing.

    A board that ends without a word (reset, power cut) has waited since it was last heard of: what it computed
    meanwhile is not known.
    """

    def __init__(self) -> None:
        self._totals = Usage()
        self._since: tuple[float, float] | None = None
        self._radio = False

    @property
    def usage(self) -> Usage:
        """What has been counted up to the last change of state."""
        return self._totals

    def booted(self, now: float, cpu: float) -> None:
        """The processor starts, with the radio off."""
        self._since = (now, cpu)
        self._radio = False
        self._add(boots=1)

    def radio(self, on: bool, now: float, cpu: float) -> None:
        """The radio was switched."""
        self._spend(now, cpu)
        if on and not self._radio:
            self._add(joins=1)
        self._radio = on

    def slept(self, seconds: float, now: float, cpu: float) -> None:
        """Deep sleep begins, for so many seconds of the world."""
        self._spend(now, cpu)
        self._since = None
        self._add(sleep_s=seconds)

    def ended(self, now: float) -> None:
        """The process is gone."""
        if self._since is not None:
            self._spend(now, self._since[1])
            self._since = None

    def _spend(self, now: float, cpu: float) -> None:
        if self._since is None:
            return
        wall = max(0.0, now - self._since[0])
        computed = min(wall, max(0.0, cpu - self._since[1]))
        self._since = (now, cpu)
        if self._radio:
            self._add(radio_cpu_s=computed, radio_wait_s=wall - computed)
        else:
            self._add(cpu_s=computed, wait_s=wall - computed)

    def _add(self, **amounts: float) -> None:
        totals = {name: value + amounts.get(name, 0) for name, value in vars(self._totals).items()}
        self._totals = Usage(**totals)
