"""The gateway's configuration: one TOML file, checked in full before anything starts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from trigpoint.clock import Clock, SystemClock, WorldClock
from trigpoint.errors import OperatorError

ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_MAX_SIZE = 65_536


def _address(value: str) -> str:
    if value and not ADDRESS.fullmatch(value):
        raise ValueError("must be 0x and 40 hexadecimal digits")
    return value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _rpc_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


def _path(value: object) -> object:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("must be a path")
    return Path(value)


FilePath = Annotated[Path, BeforeValidator(_path)]
OptionalPath = Annotated[FilePath | None, BeforeValidator(_empty_is_none)]
Port = Annotated[int, Field(ge=1, le=65_535)]
ContractAddress = Annotated[str, AfterValidator(_address)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Broker(_Section):
    """Where the MQTT broker is, and how the gateway logs in.

    Attributes:
        host: name or address.
        port: TCP port.
        tls: whether to speak TLS; the broker's certificate is always verified.
        ca: PEM file with the authority that signed that certificate; None for the system's own list.
        username: MQTT user name; None for none.
        password_file: a file, mode 0600, with the password on one line; None for none.
        client_id: the name of the gateway's session at the broker; one gateway, one name.
    """

    host: str = Field(min_length=1, max_length=255)
    port: Port
    tls: bool = True
    ca: OptionalPath = None
    username: Annotated[str | None, BeforeValidator(_empty_is_none)] = None
    password_file: OptionalPath = None
    client_id: str = Field(default="trigpoint-gateway", min_length=1, max_length=64)

    @model_validator(mode="after")
    def _password_needs_a_name(self) -> Broker:
        if self.password_file and not self.username:
            raise ValueError("password_file needs a username")
        return self


class Chain(_Section):
    """The EVM chain with the two contracts.

    Attributes:
        rpc_url: JSON-RPC over HTTP; may hold an access token, so it is never logged.
        chain_id: EIP-155 chain id; the node must agree.
        device_registry: address of the DeviceRegistry; empty until deployed.
        transparency_log: address of the TransparencyLog; empty until deployed.
        deploy_block: the first block in which registry events may be.
        confirmations: blocks on top of a block before it is taken as final.
        poll_s: seconds between two looks at the chain.
        max_fee_gwei: most that an anchor may pay for one gas, in billionths of the chain's coin.
        key_file: the gateway's chain account.
    """

    rpc_url: Annotated[str, AfterValidator(_rpc_url)] = Field(repr=False)
    chain_id: int = Field(ge=1)
    device_registry: ContractAddress = ""
    transparency_log: ContractAddress = ""
    deploy_block: int = Field(default=0, ge=0)
    confirmations: int = Field(default=12, ge=0, le=10_000)
    poll_s: int = Field(default=2, ge=1, le=3600)
    max_fee_gwei: int = Field(default=500, ge=1)
    key_file: FilePath


class Log(_Section):
    """The transparency log. `key_file` is its Ed25519 key."""

    key_file: FilePath


class Link(_Section):
    """The acks' keys. `key_file` is the P-256 link key."""

    key_file: FilePath


class Anchor(_Section):
    """How often the log's head goes on the chain: at most once in `every_s` seconds, and only when it grew."""

    every_s: int = Field(default=3600, ge=1)


class World(_Section):
    """An emulated world's clock; see `trigpoint.clock.WorldClock`. A real gateway has no such section."""

    origin: int = Field(ge=0)
    real_origin: float = Field(ge=0)
    speed: float = Field(gt=0)


class Config(_Section):
    """The whole configuration. Paths are absolute once loaded.

    Attributes:
        data: the directory of the database and of the public files.
    """

    data: FilePath
    broker: Broker
    chain: Chain
    log: Log
    link: Link
    anchor: Anchor = Anchor()
    clock: World | None = None

    @property
    def database(self) -> Path:
        """The database file."""
        return self.data / "trigpoint.db"

    @property
    def public(self) -> Path:
        """The directory of files that anyone may fetch: checkpoint, tiles, trust.json."""
        return self.data / "public"

    def make_clock(self) -> Clock:
        """Return the clock that this gateway lives by."""
        if self.clock is None:
            return SystemClock()
        return WorldClock(self.clock.origin, self.clock.real_origin, self.clock.speed)


def load(path: Path) -> Config:
    """Read and check `path`. Relative paths in it are relative to its directory.

    Raises:
        OperatorError: the file cannot be read, is not TOML, or a key is missing, unknown or wrong; it names the key.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_SIZE + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise OperatorError(f"cannot read {path}: {reason}; `trigpoint gateway init` makes one") from error
    if len(text) > _MAX_SIZE:
        raise OperatorError(f"{path} is larger than {_MAX_SIZE} bytes; this is not a gateway's configuration")
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Check the TOML `text` of the file `path`; see `load`."""
    try:
        config = Config.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise OperatorError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise OperatorError(_explain(error, path)) from error
    return _absolute(config, path.absolute().parent)


def _absolute(config: Config, base: Path) -> Config:
    """Resolve every path of `config` against `base`."""

    def resolve(section: _Section) -> dict[str, Any]:
        return {
            name: base / value
            for name, value in ((name, getattr(section, name)) for name in type(section).model_fields)
            if isinstance(value, Path)
        }

    return config.model_copy(
        update={
            "data": base / config.data,
            "broker": config.broker.model_copy(update=resolve(config.broker)),
            "chain": config.chain.model_copy(update=resolve(config.chain)),
            "log": config.log.model_copy(update=resolve(config.log)),
            "link": config.link.model_copy(update=resolve(config.link)),
        }
    )


def _explain(error: ValidationError, path: Path) -> str:
    """Name the first wrong key in one line, and say how many more there are."""
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    # Between the keys pydantic puts the names of its own validators, which nobody has written in the file.
    key = ".".join(part for part in first["loc"] if isinstance(part, str) and part.isidentifier()) or "the file"
    match first["type"]:
        case "missing":
            what = "is missing; add it"
        case "extra_forbidden":
            what = "is not a known key; check its spelling, or remove it"
        case _:
            message = first["msg"].removeprefix("Value error, ")
            what = f"is wrong: {message[:1].lower()}{message[1:]}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {key} {what}{more}"
