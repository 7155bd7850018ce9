"""What a board is to be told: its config.json, put together and checked before the board sees it.

Here is checked what this machine can know: networks, hosts, certificate, keys. The board's own `trig.config` checks
the whole once more, and it is the one that decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from trigpoint.errors import OperatorError
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey

from trigpoint_tools.pins import FIELDS, PINS, places

AUTHORITY = "/ca.der"
"""Where the broker's certificate authority lies on a board."""

_MAX_CONFIG = 8192
READY = tuple(kind for kind in FIELDS if kind not in ("analog", "pulse"))
"""Sensors that are measured with by being connected; the others want to be told what their volts or pulses mean."""


@dataclass(frozen=True)
class Gateway:
    """What a board has to know of its gateway.

    Attributes:
        host, port, tls: the broker, as the board reaches it.
        authority: who signed the broker's certificate, DER; None without TLS.
        link_key: x and y, 128 hexadecimal digits.
    """

    host: str
    port: int
    tls: bool
    authority: bytes | None
    link_key: str


@dataclass(frozen=True)
class Settings:
    """What is written to a board.

    Attributes:
        config: the content of /config.json; it holds secrets.
        authority: the content of /ca.der, None for none.
    """

    config: bytes
    authority: bytes | None

    @property
    def broker_password(self) -> str:
        """The board's password at the broker; empty for none."""
        return str(json.loads(self.config)["broker"].get("password", ""))

    def __repr__(self) -> str:
        """Show nothing: there are passwords in it."""
        return "Settings(...)"


def build(
    base: Mapping[str, Any],
    gateway: Gateway,
    *,
    chip: str,
    wifi: Sequence[tuple[str, str]] = (),
    sensors: Sequence[str] = (),
    broker_password: str = "",
    owner_key: str = "",
    sample_s: int | None = None,
    ntp: str = "",
) -> Settings:
    """Put a configuration together.

    Args:
        base: fields as in config.json; what is given besides takes their place.
        gateway: the board's gateway; it decides `broker.host`, `.port`, `.tls`, `.ca` and `link_key`.
        chip: as esptool names it; it decides the pins of `sensors`.
        wifi: networks, name and password, in order of preference.
        sensors: types, each at the pins that docs/hardware.md has for it.
        broker_password: the board's; its user name will be its id.
        owner_key: x and y, 128 hexadecimal digits; empty for none.
        sample_s: seconds between samples.
        ntp: a time server's name.

    Raises:
        OperatorError: a value cannot be right; it names the field.
    """
    config: dict[str, Any] = {"version": 1, **base}
    if wifi:
        config["wifi"] = [{"ssid": ssid, "password": password} for ssid, password in wifi]
    broker = {**_object(config.get("broker"), "broker"), "host": gateway.host, "port": gateway.port, "tls": gateway.tls}
    broker["ca"] = AUTHORITY if gateway.tls else ""
    if broker_password:
        broker["password"] = broker_password
    config |= {"broker": broker, "link_key": gateway.link_key}
    if owner_key:
        config["owner_key"] = owner_key
    if sensors:
        config["sensors"] = [default_sensor(kind, chip) for kind in sensors]
    if sample_s is not None:
        config["sample_s"] = sample_s
    if ntp:
        config["ntp"] = {"host": ntp}
    _check(config, gateway)
    text = json.dumps(config, separators=(",", ":")).encode()
    if len(text) > _MAX_CONFIG:
        raise OperatorError(f"the configuration has {len(text)} bytes, a board takes {_MAX_CONFIG}: make it shorter")
    return Settings(text, gateway.authority if gateway.tls else None)


def default_sensor(kind: str, chip: str) -> dict[str, Any]:
    """Return the entry of a sensor at the pins that docs/hardware.md has for it.

    Raises:
        OperatorError: there is no such sensor, or it has no place that goes without saying.
    """
    if kind not in READY:
        raise OperatorError(
            f"there is no usual place for a sensor {kind!r}: choose one of {', '.join(sorted(READY))}, or describe it "
            "in a file with --config (docs/hardware.md)"
        )
    if chip not in PINS:
        raise OperatorError(f"the pins of {chip.upper()} are not known: describe the sensors in a file with --config")
    return {"type": kind, **places(kind, chip)}


def read_base(path: Path) -> dict[str, Any]:
    """Read a file with fields as in config.json.

    Raises:
        OperatorError: it cannot be read or is not a JSON object.
    """
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_MAX_CONFIG + 1))
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}; give a file like config.json") from error
    except (ValueError, RecursionError) as error:
        raise OperatorError(f"{path} is not JSON of at most {_MAX_CONFIG} bytes: {type(error).__name__}") from error
    return _object(data, str(path))


def authority_of(ca: Path | None) -> bytes:
    """Return the broker's certificate authority in DER, as a board wants it.

    Raises:
        OperatorError: none is named, or it is no certificate.
    """
    if ca is None:
        raise OperatorError("a board has no list of authorities: name the one of your broker in broker.ca")
    try:
        return x509.load_pem_x509_certificate(ca.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        raise OperatorError(f"cannot read a PEM certificate from {ca}; correct broker.ca") from error


def _check(config: Mapping[str, Any], gateway: Gateway) -> None:
    networks = config.get("wifi")
    if not isinstance(networks, list) or not networks:
        raise OperatorError("wifi: name a network with --wifi, or in the file of --config")
    for number, network in enumerate(networks):
        entry = _object(network, f"wifi[{number}]")
        ssid, password = entry.get("ssid"), entry.get("password", "")
        if not isinstance(ssid, str) or not 1 <= len(ssid.encode()) <= 32:
            raise OperatorError(f"wifi[{number}].ssid: want 1 to 32 bytes")
        if not isinstance(password, str) or 0 < len(password) < 8 or len(password) > 64:
            raise OperatorError(f"wifi[{number}].password: want 8 to 64 characters, or none for an open network")
    if not config.get("sensors"):
        raise OperatorError("sensors: name one with --sensor, or describe them in the file of --config")
    for name in ("link_key", "owner_key"):
        if key := config.get(name):
            check_key(name, key)
    if gateway.tls and not gateway.authority:
        raise OperatorError("broker.ca: the broker speaks TLS, so the board needs the authority of its certificate")
    if gateway.tls and "ntp" not in config:
        raise OperatorError(
            "ntp.host: the broker speaks TLS, and a board that does not know the time finds no certificate valid: add "
            "--ntp pool.ntp.org"
        )


def check_key(name: str, key: object) -> None:
    """Raise OperatorError, with the field's `name`, unless `key` is a P-256 point as 128 hexadecimal digits."""
    try:
        raw = bytes.fromhex(key) if isinstance(key, str) else b""
        if len(raw) != 64:
            raise ValueError
        PublicKey(raw[:32], raw[32:])
    except (ValueError, WireError) as error:
        raise OperatorError(f"{name}: want a P-256 public key, x and y, 128 hexadecimal digits") from error


def _object(value: object, field: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise OperatorError(f"{field}: want an object, as in config.json (device/README.md)")
    return value
