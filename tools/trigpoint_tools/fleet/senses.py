"""What a board's sensors sense: the weather, or a lie. And what they have told the board: the truth of the audit."""

from __future__ import annotations

from collections.abc import Sequence

from trigpoint_tools.demo.accounting import Timed, Value
from trigpoint_tools.emulator.parts.bme280 import Bme280
from trigpoint_tools.emulator.parts.ds18b20 import Ds18b20
from trigpoint_tools.emulator.parts.sht4x import Sht4x
from trigpoint_tools.emulator.soldered import Part
from trigpoint_tools.emulator.weather import Air, Sample

_LOWEST = -3900  # 0.01 degrees Celsius; all parts here can measure it
_HIGHEST = 8400


class Senses:
    """The weather around one board, through sensors that may lie: drifted, sitting in the sun, frozen in their driver.

    A lie is told by the part itself, so the board signs it in good faith, and nothing is lost by it.

    Args:
        air: the weather.
    """

    def __init__(self, air: Air) -> None:
        self._air = air
        self._added: int | None = None
        self._frozen: Sample | None = None

    def honest(self) -> None:
        """Tell the truth again."""
        self._added = self._frozen = None

    def lie(self, degrees: float) -> None:
        """Add so many degrees from now on; with 0, stand still at the next value."""
        self._frozen = None
        self._added = round(degrees * 100)

    def at(self, time: float) -> Sample:
        """Return what is sensed at a moment; NoWeatherError as for the weather."""
        sample = self._air.at(time)
        if self._added is None:
            return sample
        if self._added:
            return sample._replace(temperature=min(max(sample.temperature + self._added, _LOWEST), _HIGHEST))
        if self._frozen is None:
            self._frozen = sample
        return self._frozen


def told(parts: Sequence[Part], names: Sequence[str]) -> list[Timed]:
    """Return all that sensors have told their board, in the resolution in which a board states it, oldest first.

    Args:
        parts: the sensors.
        names: what comes before their readings' names, and a slash; "" for nothing.
    """
    found: list[Timed] = []
    for part, name in zip(parts, names, strict=True):
        before = f"{name}/" if name else ""
        found += [
            Timed(value._replace(name=before + value.name), moment)
            for moment, values in _told(part)
            for value in values
        ]
    return sorted(found, key=lambda timed: timed.time or 0.0)


def _told(part: Part) -> list[tuple[float, tuple[Value, ...]]]:
    """The rounding is that of the data sheets' formulas to the nearest step that a board states."""
    match part:
        case Bme280():
            # 1/1024 % and 1/256 Pa (data sheet section 4.2.3) to 0.01 % and 0.1 Pa.
            return [
                (
                    one.time,
                    (
                        Value("temperature", one.temperature or 0, -2),
                        Value("humidity", ((one.humidity or 0) * 100 + 512) // 1024, -2),
                        Value("pressure", ((one.pressure or 0) * 10 + 128) // 256, -1),
                    ),
                )
                for one in list(part.conversions)
            ]
        case Sht4x():
            return [
                (
                    moment,
                    (
                        Value("temperature", (17500 * temperature + 32767) // 65535 - 4500, -2),
                        Value("humidity", min(max((12500 * humidity + 32767) // 65535 - 600, 0), 10000), -2),
                    ),
                )
                for moment, temperature, humidity in list(part.results)
            ]
        case Ds18b20():
            return [
                (moment, (Value("temperature", 625 * sixteenths, -4),)) for moment, sixteenths in list(part.results)
            ]
    return []
