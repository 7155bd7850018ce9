"""The gateway's configuration: one TOML file, checked in full before anything starts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from trigpoint.clock import Clock, SystemClock, WorldClock
from trigpoint.errors import OperatorError

ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
SECRET: Final[dict[str, JsonValue]] = {"secret": True}
"""Marks a key whose value may hold an access token: it is printed in part only. Give it as `json_schema_extra`."""

_MAX_SIZE = 65_536
_COINS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?")


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


def _coins(value: str) -> str:
    if not _COINS.fullmatch(value) or not Decimal(value):
        raise ValueError('must be a decimal number in quotes, more than 0, such as "0.05"')
    return value


def _listen(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if value and not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError("must be HOST:PORT, or empty")
    return value


def _path(value: object) -> object:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("must be a path")
    return Path(value)


FilePath = Annotated[Path, BeforeValidator(_path)]
# The file has no word for None: an empty string stands for it.
OptionalPath = Annotated[FilePath | None, BeforeValidator(_empty_is_none)]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_none)]
Port = Annotated[int, Field(ge=1, le=65_535)]
TopicPrefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+(/[A-Za-z0-9_\-]+)*$", max_length=64)]
ContractAddress = Annotated[str, AfterValidator(_address)]
OwnerAddress = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
RpcUrl = Annotated[str, AfterValidator(_rpc_url)]


_S = TypeVar("_S", bound="Section")


class Section(BaseModel):
    """One section of the file.

    The docstring of a section and the one under each of its keys are what `trigpoint gateway config` prints above them,
    so they speak to the operator.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Broker(Section):
    """The MQTT broker that the boards publish to. It is trusted to be there, and with nothing else."""

    host: str = Field(min_length=1, max_length=255)
    """Name or address, under which boards reach it."""
    port: Port
    """TCP port for boards: 8883 with TLS, 1883 without, by custom."""
    gateway_address: Annotated[str, AfterValidator(_listen)] = ""
    """HOST:PORT of a listener at which no board can log in, for the gateway and what belongs to it: so no board can
    take their client ids. The set-up that `gateway init` makes has one. Empty: the gateway connects as boards do."""
    tls: bool = True
    """Whether to speak TLS. The broker's certificate is always verified."""
    ca: OptionalPath = None
    """A PEM file with the authority that signed the broker's certificate; empty for the system's own list."""
    username: OptionalText = None
    """MQTT user name; empty for a broker that asks for none."""
    password_file: OptionalPath = None
    """A file, mode 0600, with the password on one line; empty for none."""
    client_id: str = Field(default="trigpoint-gateway", min_length=1, max_length=64)
    """The broker keeps messages for this name while the gateway is away. Two running gateways must not share it."""

    @model_validator(mode="after")
    def _password_needs_a_name(self) -> Broker:
        if self.password_file and not self.username:
            raise ValueError("password_file needs a username")
        return self

    def for_gateway(self) -> Broker:
        """Return these settings with `host` and `port` as the gateway is to use them."""
        if not self.gateway_address:
            return self
        host, _, port = self.gateway_address.rpartition(":")
        return self.model_copy(update={"host": host.removeprefix("[").removesuffix("]"), "port": int(port)})


class Chain(Section):
    """The EVM chain with the two contracts."""

    rpc_url: RpcUrl = Field(repr=False, json_schema_extra=SECRET)
    """A node of the chain, JSON-RPC over HTTP. It may hold an access token: it never appears in a log."""
    fallback_rpc_urls: Annotated[tuple[RpcUrl, ...], Field(strict=False, max_length=8)] = Field(
        default=(), repr=False, json_schema_extra=SECRET
    )
    """More nodes of the same chain, asked in turn while the first is away or makes no sense. Best from another
    provider: what one node says, and another does not, is not believed in haste."""
    chain_id: int = Field(ge=1)
    """EIP-155 chain id. The gateway refuses to start with a node of another chain. 31337 is a local Anvil."""
    device_registry: ContractAddress = ""
    """Where the DeviceRegistry is. Empty until `trigpoint chain deploy` has put it on the chain and written it here."""
    transparency_log: ContractAddress = ""
    """Where the TransparencyLog is; empty as above."""
    deploy_block: int = Field(default=0, ge=0)
    """The block of the deployment: registry events are read from there on."""
    confirmations: int = Field(default=12, ge=0, le=10_000)
    """Blocks that must lie on top of a block before the gateway believes it. More is safer and slower; 0 for a local
    chain."""
    poll_s: int = Field(default=2, ge=1, le=3600)
    """Seconds between two looks at the chain, for boards newly enrolled and for anchors under way."""
    max_fee_gwei: int = Field(default=500, ge=1)
    """Most that an anchor may pay for one gas, in billionths of the coin. Fees are the node's word: without a bound,
    one that lies could spend the whole account at once. Chains with a cheap coin ask for more."""
    max_spend_per_day: Annotated[str, AfterValidator(_coins)] = "0.1"
    """Most that anchors may cost in a day (UTC), in the chain's coin. Beyond it they wait for the next day; statements
    are stored all the same."""
    reprice_after_s: int = Field(default=120, ge=1, le=86_400)
    """Seconds after which an anchor that no block takes is offered at a higher price, up to max_fee_gwei."""
    key_file: OptionalPath = None
    """The gateway's account: it opens the log and pays for anchors. Send it some of the chain's coin. 64 hexadecimal
    digits or an encrypted keystore (JSON), mode 0600; empty with signer_command."""
    passphrase_file: OptionalPath = None
    """The passphrase of an encrypted keystore: one line, mode 0600. Empty for the systemd credential
    `chain-passphrase`."""
    signer_command: Annotated[tuple[str, ...], Field(strict=False, max_length=32)] = ()
    """A program and its arguments that sign for the account in place of key_file: a hardware key, another machine. It
    reads a transaction as JSON and prints it signed; see docs/operating.md."""
    account: ContractAddress = ""
    """With signer_command: the account's address."""

    @model_validator(mode="after")
    def _one_signer(self) -> Chain:
        if bool(self.key_file) == bool(self.signer_command):
            raise ValueError("wants a key_file or a signer_command, and not both")
        if bool(self.account) != bool(self.signer_command):
            raise ValueError("account and signer_command go together")
        return self


class Log(Section):
    """The transparency log."""

    key_file: FilePath
    """Signs checkpoints and receipts (Ed25519). Lose it and the log cannot go on; leak it and others sign for it."""
    publish_s: int = Field(default=60, ge=1, le=600)
    """Seconds between two looks at whether the log grew: then its new tiles and a signed checkpoint are written to
    public/. Each time costs an SD card a few writes, however few statements are new."""


class Ingest(Section):
    """Whose statements this gateway takes, and how many. What it refuses so is counted, and gets no ack."""

    owners: Annotated[tuple[OwnerAddress, ...], Field(strict=False, max_length=1_000)] = ()
    """Serve only boards that these addresses own in the registry (reason `not_served` for the rest). Empty: every
    active board. The registry is open to all, so on a public chain whoever pays for gas could fill this disk: name the
    owners."""
    daily_mb_per_board: int = Field(default=256, ge=1)
    """Most that one board may have stored in a day, in million bytes of statements (reason `quota` for what is over).
    A board that sends a statement a minute needs less than 6. Counted from the start of the gateway on."""
    workers: int = Field(default=0, ge=0, le=64)
    """Processes that verify signatures, at most; 0 for one for each core. They are started when there is work for
    them. 1 verifies within the gateway's own process, which saves memory."""


class Link(Section):
    """Between boards and gateway."""

    key_file: FilePath
    """Boards and gateway derive the keys of their acks from it (P-256). Its public half is in each board's
    config.json."""


class Anchor(Section):
    """How the log's head gets on the chain."""

    every_s: int = Field(default=3600, ge=1)
    """Seconds between two anchors, at least, and only when the log grew. Each costs gas; until its anchor, a receipt is
    signed by the log alone."""


class Logging(Section):
    """What the gateway writes about itself, to standard error; under systemd that is the journal."""

    format: Literal["text", "json"] = "text"
    """`text` for people, `json` for programs: one object a line."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is worth a line."""


class Metrics(Section):
    """Figures for Prometheus, at http://<listen>/metrics. A Grafana dashboard and alert rules come with Trigpoint."""

    listen: Annotated[str, AfterValidator(_listen)] = ""
    """HOST:PORT to serve them at, such as 127.0.0.1:9464, or empty for none. They name boards but no readings; whoever
    can connect can read them, so keep it on this machine or in a network of your own."""


class HomeAssistant(Section):
    """Home Assistant finds each verified sensor by MQTT discovery, on the same broker as the boards."""

    enabled: bool = False
    """Whether to tell Home Assistant. It sees only what has been verified and is on the disk."""
    discovery_prefix: TopicPrefix = "homeassistant"
    """Where Home Assistant looks for new devices: the `discovery_prefix` of its MQTT integration."""
    state_prefix: TopicPrefix = "trigpoint"
    """Values are published under <state_prefix>/<board id>/."""
    expire_after_s: int = Field(default=0, ge=0, le=31_536_000)
    """A sensor is shown as unavailable when nothing new was verified for so many seconds; 0 for never."""


class Api(Section):
    """The HTTP API, in a process of its own. It only reads. `trigpoint gateway token new` makes tokens for it."""

    listen: Annotated[str, AfterValidator(_listen)] = ""
    """HOST:PORT to serve at, for example 127.0.0.1:8700, or empty for no API. To be reached from elsewhere it needs
    TLS, by the two files below or by a reverse proxy: without it, anybody on the way can read along, tokens too."""
    certificate_file: OptionalPath = None
    """Certificate chain (PEM) to speak TLS with; empty for plain HTTP."""
    certificate_key_file: OptionalPath = None
    """The certificate's private key (PEM, mode 0600)."""
    public: list[Literal["log", "readings", "inspect"]] = ["log"]
    """What may be read without a token. `log`: checkpoint, tiles, anchors; hashes that give away no reading.
    `readings`: boards, statements, receipts, readings. `inspect`: refused input, clone evidence, counters."""
    requests_per_minute: int = Field(default=600, ge=1, le=1_000_000)
    """What one token, or one address without a token, may ask in a minute; more is answered with 429."""
    live_clients: int = Field(default=32, ge=0, le=1_024)
    """How many may follow the live stream at once."""
    cors_origins: list[Annotated[str, Field(pattern=r"^https?://[^/\s]+$")]] = []
    """Web pages of these origins (https://example.org) may call the API from a browser; none by default."""
    trusted_proxies: list[Annotated[str, Field(min_length=1, max_length=64)]] = []
    """Addresses of reverse proxies whose X-Forwarded-For is believed; nobody's by default."""
    board_page: OptionalPath = None
    """A folder that `trigpoint board site` made: the page that sets boards up from a browser, then at /board/, for
    everybody. Empty for none."""

    @model_validator(mode="after")
    def _tls_needs_both(self) -> Api:
        if (self.certificate_file is None) != (self.certificate_key_file is None):
            raise ValueError("certificate_file and certificate_key_file go together")
        return self


class World(Section):
    """This gateway lives in an emulated world. A real gateway has no such section."""

    origin: int = Field(ge=0)
    """When the world began, by its own clock: seconds since 1970."""
    real_origin: float = Field(ge=0)
    """When that was by the machine's clock: seconds since 1970."""
    speed: float = Field(gt=0)
    """Seconds of the world in one second of the machine."""


class Config(Section):
    """Trigpoint gateway. Relative paths start from the directory of this file.

    After a change, start the gateway again. `trigpoint gateway config` prints what is in force, every key there is.
    """

    data: FilePath
    """The directory of the database and, under public/, of the files that anyone may fetch (checkpoint, tiles,
    trust.json). Back it up: it is the only thing besides keys/ that cannot be made again."""
    broker: Broker
    chain: Chain
    log: Log
    link: Link
    ingest: Ingest = Ingest()
    anchor: Anchor = Anchor()
    logging: Logging = Logging()
    metrics: Metrics = Metrics()
    homeassistant: HomeAssistant = HomeAssistant()
    api: Api = Api()
    clock: World | None = None

    @property
    def database(self) -> Path:
        """The database file."""
        return self.data / "trigpoint.db"

    @property
    def public(self) -> Path:
        """The directory of files that anyone may fetch: checkpoint, tiles, trust.json."""
        return self.data / "public"

    @property
    def tokens(self) -> Path:
        """The file of the API's tokens."""
        return self.data / "tokens.json"

    @property
    def join_file(self) -> Path:
        """What the page for boards tells a board of this gateway; `trigpoint gateway join-file` makes it."""
        return self.data / "join.json"

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
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise OperatorError(f"{path} is not TOML: {error}") from error
    return _absolute(check(tables, path), path.absolute().parent)


def check(tables: Mapping[str, object], where: Path | str) -> Config:
    """Return the configuration that `tables` are; its paths stay as they are.

    Raises:
        OperatorError: a key is missing, unknown or wrong; it names `where` and the key.
    """
    try:
        return Config.model_validate(tables)
    except ValidationError as error:
        raise OperatorError(_explain(error, where)) from error


def _absolute(section: _S, base: Path) -> _S:
    """Resolve every path of `section`, and of the sections in it, against `base`."""
    update: dict[str, Path | Section] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            update[name] = base / value
        elif isinstance(value, Section):
            update[name] = _absolute(value, base)
    return section.model_copy(update=update)


def _explain(error: ValidationError, where: Path | str) -> str:
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
    return f"{where}: {key} {what}{more}"
