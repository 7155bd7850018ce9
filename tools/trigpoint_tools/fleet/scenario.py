"""What a fleet run is: boards, time and faults, read from a TOML file. Plain data, checked whole before a run starts.

    name = "first-light"
    seed = 7
    duration = "1d"
    speed = 1800

    [[boards]]
    name = "roof"
    count = 5

    [[faults]]
    kind = "power-cut"
    share = 0.2
    every = "6h"
    lasts = ["20m", "2h"]

A length of time is text like "90s", "30m", "6h", "7d" or "1d 6h", or a whole number of seconds; it is the world's time,
which goes `speed` times as fast as ours.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails
from trigpoint.errors import OperatorError

MAX_FILE = 1 << 20
MAX_BOARDS = 2000
_DAY_S = 86_400
_MAX_S = 366 * _DAY_S
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": _DAY_S}
_LEAST_SAMPLE_S = {"": 0.1, "ds18b20": 0.9}
_LENGTH = re.compile(r"\s*(\d{1,9})\s*([smhd])")
_STRICT = ConfigDict(extra="forbid")


class ScenarioError(OperatorError):
    """A scenario that cannot be played; the message names the file, the field and what is wrong with it."""


class FaultKind(StrEnum):
    """What can be done to a fleet.

    Attributes:
        WIFI_LOSS: the boards' access point is off the air.
        LATENCY: each chunk of bytes between board and broker is late, both ways.
        PACKET_LOSS: a share of the segments between board and broker is lost; TCP sends them again, later each time.
        TCP_RESET: the boards' connections are reset, once.
        BROKER_RESTART: the broker is killed, and started again after a while, without its memory.
        GATEWAY_RESTART: the gateway gets SIGKILL, and is started again after a while.
        CLOCK_SKEW: the boards' clocks run at a wrong rate.
        CLOCK_JUMP: the boards' clocks jump, once, while they run.
        POWER_CUT: the boards have no power.
        FLASH_ROT: bits of the boards' journals flip on flash, as soon as something is in them that the gateway has
            not; after a day at the latest.
        SENSOR_STUCK: the boards' sensors hang on their wires and answer nothing useful.
        SENSOR_LIES: the boards' sensors say something else than the weather.
        CLONED_KEY: somebody with the boards' keys signs other statements under seqs that they have used.
        FORGERIES: somebody without a key sends forged statements and acks in the boards' names.
    """

    WIFI_LOSS = "wifi-loss"
    LATENCY = "latency"
    PACKET_LOSS = "packet-loss"
    TCP_RESET = "tcp-reset"
    BROKER_RESTART = "broker-restart"
    GATEWAY_RESTART = "gateway-restart"
    CLOCK_SKEW = "clock-skew"
    CLOCK_JUMP = "clock-jump"
    POWER_CUT = "power-cut"
    FLASH_ROT = "flash-rot"
    SENSOR_STUCK = "sensor-stuck"
    SENSOR_LIES = "sensor-lies"
    CLONED_KEY = "cloned-key"
    FORGERIES = "forgeries"


SITE_KINDS = frozenset({FaultKind.BROKER_RESTART, FaultKind.GATEWAY_RESTART})
"""Kinds that hit what there is one of, and no board in particular."""

INSTANT_KINDS = frozenset(
    {FaultKind.TCP_RESET, FaultKind.CLOCK_JUMP, FaultKind.CLONED_KEY, FaultKind.FORGERIES, FaultKind.FLASH_ROT}
)
"""Kinds that happen at one moment; `lasts` is not for them."""

AMOUNTS: Mapping[FaultKind, tuple[float, float, float, str]] = {
    FaultKind.LATENCY: (1, 60_000, 500, "milliseconds of ours, each way"),
    FaultKind.PACKET_LOSS: (0.01, 0.9, 0.2, "share of segments that is lost"),
    FaultKind.CLOCK_SKEW: (-100_000, 100_000, 20_000, "parts per million by which the clock is fast"),
    FaultKind.CLOCK_JUMP: (-_MAX_S, _MAX_S, 3600, "seconds by which the clock is ahead afterwards"),
    FaultKind.FLASH_ROT: (1, 64, 1, "bits that flip"),
    FaultKind.SENSOR_LIES: (-50, 50, 10, "what is added: degrees Celsius; 0: the value stands still"),
}
"""Lowest, highest, and default `amount` of the kinds that have one, and what it is."""


def seconds(text: object) -> object:
    """Return the whole seconds that a length of time means; ValueError if it is none."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if not isinstance(text, str):
        raise ValueError('want a length of time, such as "30m", "6h" or "1d 6h"')
    total, at = 0, 0
    while at < len(text.rstrip()):
        match = _LENGTH.match(text, at)
        if match is None:
            raise ValueError(f'{text!r} is no length of time; write it as "90s", "30m", "6h" or "1d 6h"')
        total += int(match[1]) * _UNITS[match[2]]
        at = match.end()
    if not at:
        raise ValueError('want a length of time, such as "30m", "6h" or "1d 6h"')
    return total


def _range(value: object) -> object:
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError("want one length of time, or two: the least and the most")
        return tuple(seconds(one) for one in value)
    return (seconds(value),) * 2


def _numbers(value: object) -> object:
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError("want one number, or two: the least and the most")
        return tuple(value)
    return (value, value)


def _one_or_more(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _moments(value: object) -> object:
    return tuple(seconds(one) for one in (value if isinstance(value, list | tuple) else [value]))


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_Int = Annotated[int, Strict()]
_Bool = Annotated[bool, Strict()]
_Seconds = Annotated[_Int, BeforeValidator(seconds), Field(ge=0, le=_MAX_S)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$")]
_Station = Literal["EWR", "JFK", "LGA"]
_Chip = Literal["esp32", "esp32s3", "esp32c3", "esp32c6"]
_Sensor = Literal["bme280", "sht4x", "ds18b20"]
SENSORS: Mapping[str, tuple[str, ...]] = {
    "bme280": ("temperature", "humidity", "pressure"),
    "sht4x": ("temperature", "humidity"),
    "ds18b20": ("temperature",),
}
"""The sensors that measure the weather, and their readings."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BoardGroup:
    """Boards that are alike.

    Attributes:
        name: what faults and reports call them.
        count: how many.
        chip: their chip.
        sensors: what is soldered on, by type, each once.
        stations: whose weather they measure: the boards of the group take turns.
        sample_s: seconds of the world between two samples (`sample` in the file).
        batch: samples in one statement.
        resend_s: seconds of ours after which a board sends again what was not acked (`resend`).
        secure_element: whether the key is in an ATECC608; then nobody can clone it.
        clock_ppm: parts per million by which their crystals are fast; each board's is drawn from this range.
    """

    name: _Name
    count: Annotated[_Int, Field(ge=1, le=MAX_BOARDS)]
    chip: _Chip = "esp32"
    sensors: Annotated[tuple[_Sensor, ...], BeforeValidator(_one_or_more), Field(min_length=1, max_length=3)] = (
        "bme280",
    )
    stations: Annotated[tuple[_Station, ...], BeforeValidator(_one_or_more), Field(min_length=1, max_length=16)] = (
        "EWR",
        "JFK",
        "LGA",
    )
    sample_s: Annotated[_Seconds, Field(alias="sample", ge=10, le=_DAY_S)] = 3600
    batch: Annotated[_Int, Field(ge=1, le=42)] = 6
    resend_s: Annotated[_Seconds, Field(alias="resend", ge=1, le=600)] = 3
    secure_element: _Bool = False
    clock_ppm: Annotated[tuple[_Number, _Number], BeforeValidator(_numbers), Field(description="parts per million")] = (
        0.0,
        0.0,
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.sensors)) < len(self.sensors):
            raise ValueError("sensors: a type stands there twice")
        low, high = self.clock_ppm
        if not -100_000 <= low <= high <= 100_000:
            raise ValueError("clock_ppm: want -100000 to 100000, the lower one first")
        return self

    @property
    def readings(self) -> int:
        """How many quantities one sample is."""
        return sum(len(SENSORS[sensor]) for sensor in self.sensors)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Fault:
    """One kind of fault, and how often it comes.

    Either `at` or `every` says when. With `every` there is one occurrence in each such stretch of time, at a moment
    drawn from it; the stretch that the run's end would cut off has none.

    Attributes:
        kind: what happens.
        groups: names of the groups whose boards it may hit; none for all.
        share: how many of these boards an occurrence hits, drawn anew each time; at least one board.
        boards: the same as a number of boards, in place of `share`.
        at: moments, from the run's start.
        every: length of a stretch in seconds.
        lasts: least and most seconds until it is over; (0, 0) for what happens at once.
        amount: least and most of what the kind has an amount of (AMOUNTS).
    """

    kind: FaultKind
    groups: Annotated[tuple[_Name, ...], BeforeValidator(_one_or_more)] = ()
    share: Annotated[_Number, Field(gt=0, le=1)] | None = None
    boards: Annotated[_Int, Field(ge=1, le=MAX_BOARDS)] | None = None
    at: Annotated[tuple[_Seconds, ...], BeforeValidator(_moments), Field(max_length=1000)] = ()
    every: Annotated[_Seconds, Field(ge=60)] | None = None
    lasts: Annotated[tuple[_Seconds, _Seconds], BeforeValidator(_range)] = (0, 0)
    amount: Annotated[tuple[_Number, _Number], BeforeValidator(_numbers)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.at) == (self.every is not None):
            raise ValueError("want either `at` or `every`, to say when")
        if self.kind in SITE_KINDS and (self.groups or self.share is not None or self.boards is not None):
            raise ValueError(f"{self.kind} hits no board in particular: leave out groups, share and boards")
        if self.share is not None and self.boards is not None:
            raise ValueError("want either `share` or `boards`, not both")
        low, high = self.lasts
        if self.kind in INSTANT_KINDS and high:
            raise ValueError(f"lasts: {self.kind} happens at once; leave it out")
        if self.kind not in INSTANT_KINDS and not 0 < low <= high:
            raise ValueError("lasts: say how long it lasts, the shorter time first")
        if self.amount is not None:
            if self.kind not in AMOUNTS:
                raise ValueError(f"amount: {self.kind} has none; leave it out")
            least, most, _, what = AMOUNTS[self.kind]
            if not least <= self.amount[0] <= self.amount[1] <= most:
                raise ValueError(f"amount: want {least:g} to {most:g} ({what}), the lower one first")
        return self

    @property
    def amounts(self) -> tuple[float, float]:
        """Least and most amount, with the kind's default filled in; (0, 0) for a kind without."""
        if self.amount is not None:
            return self.amount
        default = AMOUNTS[self.kind][2] if self.kind in AMOUNTS else 0.0
        return (default, default)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Scenario:
    """One run.

    Attributes:
        name: its short name.
        about: one sentence that says what it is for.
        seed: what all draws come from: the same seed gives the same schedule.
        duration_s: how long the boards measure, in the world's seconds (`duration`).
        speed: seconds of the world in one second of ours.
        start: the world's date on which it begins, in 2013, whose weather is known. RFC 3339, UTC.
        anchor_every_s: seconds of the world between two anchors (`anchor_every`).
        boards: the groups.
        faults: what goes wrong.
    """

    name: _Name
    about: Annotated[str, Field(max_length=300)] = ""
    seed: Annotated[_Int, Field(ge=0, lt=1 << 63)] = 1
    duration_s: Annotated[_Seconds, Field(alias="duration", ge=600, le=300 * _DAY_S)]
    speed: Annotated[_Number, Field(ge=1, le=20_000)] = 1800.0
    start: datetime = datetime(2013, 2, 4, tzinfo=UTC)
    anchor_every_s: Annotated[_Seconds, Field(alias="anchor_every", ge=60, le=30 * _DAY_S)] = 6 * 3600
    boards: Annotated[tuple[BoardGroup, ...], BeforeValidator(_tuple), Field(min_length=1, max_length=100)]
    faults: Annotated[tuple[Fault, ...], BeforeValidator(_tuple), Field(max_length=200)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [group.name for group in self.boards]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"boards: two groups are called {name}")
        if self.count > MAX_BOARDS:
            raise ValueError(f"boards: {self.count} boards in all, more than {MAX_BOARDS}")
        for number, group in enumerate(self.boards):
            takes = _LEAST_SAMPLE_S["ds18b20" if "ds18b20" in group.sensors else ""]
            if group.sample_s < takes * self.speed:
                raise ValueError(
                    f"boards.{number}.sample: {group.sample_s} s of the world last {group.sample_s / self.speed:.2g} s"
                    f" of ours, and a sample takes {takes} s: sample less often, or lower the speed"
                )
        start = self.start if self.start.tzinfo else self.start.replace(tzinfo=UTC)
        first, last = datetime(2013, 1, 2, tzinfo=UTC), datetime(2013, 12, 20, tzinfo=UTC)
        if not first <= start <= last or start.timestamp() + self.duration_s > last.timestamp():
            raise ValueError("start: want a run that lies between 2013-01-02 and 2013-12-20, whose weather is known")
        for number, fault in enumerate(self.faults):
            for named in fault.groups:
                if named not in names:
                    raise ValueError(f"faults.{number}.groups: there is no group {named}; there are {', '.join(names)}")
            if any(moment >= self.duration_s for moment in fault.at):
                raise ValueError(f"faults.{number}.at: the run is over by then")
            if fault.every is not None and fault.every > self.duration_s:
                raise ValueError(f"faults.{number}.every: longer than the run, so it would never come")
            hit = [group for group in self.boards if not fault.groups or group.name in fault.groups]
            if fault.kind == FaultKind.CLONED_KEY and all(group.secure_element for group in hit):
                raise ValueError(f"faults.{number}.groups: the keys of these boards are in secure elements")
        return self

    @property
    def count(self) -> int:
        """How many boards there are."""
        return sum(group.count for group in self.boards)

    @property
    def start_s(self) -> int:
        """The world's first second, since 1970."""
        start = self.start if self.start.tzinfo else self.start.replace(tzinfo=UTC)
        return int(start.timestamp())

    def group_of(self, board: int) -> BoardGroup:
        """Return the group of a board, which are numbered through from 0 in the order of the groups."""
        for group in self.boards:
            if board < group.count:
                return group
            board -= group.count
        raise IndexError(f"there is no board {board}")

    def name_of(self, board: int) -> str:
        """Return what people call a board: its group and its number in it, from 1, such as `roof-3`."""
        group = self.group_of(board)
        before = sum(other.count for other in self.boards[: self.boards.index(group)])
        return f"{group.name}-{board - before + 1}"

    def scaled(self, count: int) -> Scenario:
        """Return the same scenario with that many boards in all: each group keeps its share, and one board at least.

        Raises:
            ScenarioError: fewer boards than groups, or too many.
        """
        if not len(self.boards) <= count <= MAX_BOARDS:
            raise ScenarioError(
                f"{self.name} has {len(self.boards)} groups: want {len(self.boards)} to {MAX_BOARDS} boards"
            )
        shares = [count * group.count / self.count for group in self.boards]
        counts = [max(1, int(share)) for share in shares]
        while (missing := count - sum(counts)) != 0:
            step = 1 if missing > 0 else -1
            able = [place for place in range(len(counts)) if counts[place] + step >= 1]
            counts[max(able, key=lambda place: step * (shares[place] - counts[place]))] += step
        fields = _ADAPTER.dump_python(self, by_alias=True)
        for group, number in zip(fields["boards"], counts, strict=True):
            group["count"] = number
        return _ADAPTER.validate_python(fields)

    def seeded(self, seed: int) -> Scenario:
        """Return the same scenario with another seed, 0 to 2**63 - 1."""
        return _ADAPTER.validate_python({**_ADAPTER.dump_python(self, by_alias=True), "seed": seed})


_ADAPTER = TypeAdapter(Scenario)


def parse(text: str, where: str = "scenario") -> Scenario:
    """Read a scenario.

    Args:
        text: TOML.
        where: what errors are to call it.

    Raises:
        ScenarioError: it is no TOML, or a field is missing, unknown or wrong.
    """
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{where} is not TOML: {error}") from None
    return checked(fields, where)


def checked(fields: Mapping[str, Any], where: str) -> Scenario:
    """Return the scenario that decoded TOML is; ScenarioError if it is none."""
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        raise ScenarioError(f"{where}: {_explained(error.errors(include_url=False)[0])}") from None


def load(path: Path) -> Scenario:
    """Read a scenario from a file; ScenarioError as for `parse`, and if it cannot be read."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise ScenarioError(f"{path} is larger than {MAX_FILE} bytes: is it a scenario?")
        text = path.read_text()
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path} is not text in UTF-8: is it a scenario?") from None
    return parse(text, str(path))


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "missing",
    "unexpected_keyword_argument": lambda _: "no such field",
}


def _explained(error: ErrorDetails) -> str:
    """Return one pydantic error as `field: what is wrong`, with the field as one points at it in the file."""
    place = ".".join(str(part) for part in error["loc"] if not str(part).startswith(("function-", "tuple[", "constr")))
    if error["type"] in _WORDS:
        said = _WORDS[error["type"]](error.get("ctx", {}))
    else:
        said = error["msg"].removeprefix("Value error, ")
        said = said[:1].lower() + said[1:]
    return f"{place}: {said}" if place else said
