"""What Home Assistant wants to hear of a sensor, as plain data.

Sources: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery, https://www.home-assistant.io/integrations/sensor.mqtt/
and, for the units of each device class, https://developers.home-assistant.io/docs/core/entity/sensor/.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Final

from trigpoint.api.decimals import text
from trigpoint.wire.statement import Statement, reading_time

_NOT_IN_TOPICS = re.compile(r"[^A-Za-z0-9_-]")
_WORDS = re.compile(r"[-:./_]+")

UNITS: Final[dict[str, tuple[str | None, str | None]]] = {
    "Cel": ("temperature", "°C"),
    "K": ("temperature", "K"),
    "%RH": ("humidity", "%"),
    "Pa": ("pressure", "Pa"),
    "hPa": ("pressure", "hPa"),
    "lx": ("illuminance", "lx"),
    "W/m2": ("irradiance", "W/m²"),
    "V": ("voltage", "V"),
    "mV": ("voltage", "mV"),
    "A": ("current", "A"),
    "mA": ("current", "mA"),
    "W": ("power", "W"),
    "kW": ("power", "kW"),
    "VA": ("apparent_power", "VA"),
    "var": ("reactive_power", "var"),
    "J": ("energy", "J"),
    "Wh": ("energy", "Wh"),
    "kWh": ("energy", "kWh"),
    "Hz": ("frequency", "Hz"),
    "m": ("distance", "m"),
    "km": ("distance", "km"),
    "cm": ("distance", "cm"),
    "mm": ("distance", "mm"),
    "kg": ("weight", "kg"),
    "g": ("weight", "g"),
    "m/s": ("speed", "m/s"),
    "km/h": ("speed", "km/h"),
    "l": ("volume_storage", "L"),
    "m3": ("volume_storage", "m³"),
    "m3/s": ("volume_flow_rate", "m³/s"),
    "l/s": ("volume_flow_rate", "L/s"),
    "dB": ("sound_pressure", "dB"),
    "dBm": ("signal_strength", "dBm"),
    "%EL": ("battery", "%"),
    "pH": ("ph", None),
    "s": ("duration", "s"),
    "min": ("duration", "min"),
    "h": ("duration", "h"),
    "B": ("data_size", "B"),
    "bit/s": ("data_rate", "bit/s"),
    "ug/m3": (None, "µg/m³"),
    "Ohm": (None, "Ω"),
    "deg": (None, "°"),
    "lat": (None, "°"),
    "lon": (None, "°"),
    "/": (None, None),
    "count": (None, None),
}
"""SenML units (RFC 8428 section 12.1, RFC 8798) as Home Assistant's device class and unit. Others keep their unit."""


@dataclass(frozen=True)
class Place:
    """Where to publish.

    Attributes:
        discovery_prefix: where Home Assistant looks for devices.
        state_prefix: values are published under it.
        availability: the topic that says whether the gateway is there.
        version: of this gateway.
        expire_after_s: 0 for never.
    """

    discovery_prefix: str
    state_prefix: str
    availability: str
    version: str
    expire_after_s: int


@dataclass(frozen=True)
class Sensor:
    """One series of a board: what Home Assistant has as an entity."""

    kid: bytes
    name: str
    unit: str

    @property
    def object_id(self) -> str:
        """Its name in topics. The digits at the end keep apart what only differs in characters that topics lack."""
        digest = hashlib.sha256(f"{self.name}\0{self.unit}".encode()).hexdigest()[:8]
        return f"{_NOT_IN_TOPICS.sub('_', self.name)}_{digest}"

    def config_topic(self, place: Place) -> str:
        """Return the topic of its discovery; an empty retained message there removes it."""
        return f"{place.discovery_prefix}/sensor/{self.kid.hex()}/{self.object_id}/config"

    def state_topic(self, place: Place) -> str:
        """Return the topic of its values."""
        return f"{place.state_prefix}/{self.kid.hex()}/{self.object_id}"


def discovery(sensor: Sensor, place: Place, decimals: int) -> bytes:
    """Return the discovery message of a sensor whose values have so many decimals."""
    kid = sensor.kid.hex()
    device_class, unit = UNITS.get(sensor.unit, (None, sensor.unit))
    topic = sensor.state_topic(place)
    message: dict[str, object] = {
        "name": _WORDS.sub(" ", sensor.name).strip().capitalize(),
        "unique_id": f"trigpoint_{kid}_{sensor.object_id}",
        "state_topic": topic,
        "value_template": "{{ value_json.value }}",
        "json_attributes_topic": topic,
        "json_attributes_template": "{{ value_json.statement | tojson }}",
        "state_class": "measurement",
        "suggested_display_precision": decimals,
        "availability_topic": place.availability,
        "device": {
            "identifiers": [f"trigpoint_{kid}"],
            "name": f"Board {kid[:8]}",
            "manufacturer": "Trigpoint",
            "model": "Board, verified by its signature",
            "serial_number": kid,
        },
        "origin": {"name": "Trigpoint", "sw_version": place.version},
    }
    if device_class is not None:
        message["device_class"] = device_class
    if unit is not None:
        message["unit_of_measurement"] = unit
    if place.expire_after_s:
        message["expire_after"] = place.expire_after_s
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def states(statement: Statement, leaf_index: int, arrival_ms: int) -> dict[Sensor, tuple[bytes, int]]:
    """Return the newest value of each sensor in a stored statement, as a message, with its number of decimals."""
    found: dict[Sensor, tuple[int, bytes, int]] = {}
    for reading in statement.readings:
        sensor = Sensor(statement.kid, reading.name, reading.unit)
        time_s, source = reading_time(statement.base_time, reading.t, arrival_ms)
        if sensor in found and found[sensor][0] > time_s:
            continue
        message = {
            "value": text(reading.mantissa, reading.exponent),
            "statement": {"time": time_s, "time_source": source, "seq": statement.seq, "leaf_index": leaf_index},
        }
        found[sensor] = (time_s, json.dumps(message, separators=(",", ":")).encode(), max(0, -reading.exponent))
    return {sensor: (message, decimals) for sensor, (_, message, decimals) in found.items()}
