"""What the API answers with, as JSON. Hashes, keys and ids are hexadecimal; times are integers since 1970, UTC."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trigpoint.store import series

_BOARD = "750ca40795ab23e51a75dc76fa12c052f6f6c57ba8a732337b91f096592b6ef6"
_ENTRY = "e3701a6d8d351cd70422b90e44fae2828fdbffc0da534defe05bf2fc0c33fb03"
_ROOT = "6484b071309c07356b69030ccdcd2f5ba0d3df20f15559b28abae7566a42ef1a"
_TRANSACTION = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"


class Answer(BaseModel):
    """Something that the API answers with."""

    model_config = ConfigDict(use_attribute_docstrings=True)


BoardId = Annotated[str, Field(examples=[_BOARD], pattern="^[0-9a-f]{64}$")]
Entry = Annotated[str, Field(examples=[_ENTRY], pattern="^[0-9a-f]{64}$")]
Hash = Annotated[str, Field(examples=[_ROOT], pattern="^[0-9a-f]{64}$")]
Address = Annotated[str, Field(examples=["0x70997970c51812dc3a010c7d01b50e0d17dc79c8"], pattern="^0x[0-9a-f]{40}$")]
Next = Annotated[str | None, Field(examples=["AAAAAAAAAAHBvKkUuhSrjw"])]
Seconds = Annotated[int, Field(examples=[1767225600])]
Milliseconds = Annotated[int, Field(examples=[1767229201500])]
LeafIndex = Annotated[int, Field(examples=[1], ge=0)]
Seq = Annotated[int, Field(examples=[1], ge=0, lt=2**32)]
Base64 = Annotated[str, Field(examples=["0oRYXKYBJgMYcARYIA=="])]


class Newest(Answer):
    """A board's newest statement."""

    leaf_index: LeafIndex
    seq: Seq
    arrival_ms: Milliseconds


class Board(Answer):
    """A board that the registry knows, or has known."""

    board: BoardId
    """Board id: the thumbprint of its key."""
    owner: Address
    active: bool
    """Whether the registry says so now."""
    active_from_s: Seconds
    """Time of the block that registered it."""
    active_until_s: Seconds | None
    """Time of the block that revoked or succeeded it; null while it is active."""
    flagged: bool
    """Whether it has signed two different histories, which means that its key is in two places."""
    next_seq: int
    """The seq that the gateway expects."""
    statements: int
    """How many are stored."""
    lost: int
    """How many it has declared lost."""
    evidence: int
    """Contradicting statements kept: see /v1/evidence."""
    newest: Newest | None
    """Null if nothing is stored yet."""


class BoardsPage(Answer):
    """Boards in the order in which the gateway first heard of them."""

    boards: list[Board]
    next: Next
    """Give it as `cursor` for the next page; null on the last one."""


class Lost(Answer):
    """Statements that a board declared lost under its signature."""

    first_seq: Seq
    last_seq: Seq
    """Included."""


class LostList(Answer):
    """All that a board has declared lost, by seq."""

    lost: list[Lost]
    more: bool
    """Whether there is more than fits the answer."""


class Statement(Answer):
    """A statement as the log has it. Its bytes are at /v1/statements/{leaf_index}/raw, its proof at .../receipt."""

    leaf_index: LeafIndex
    """Its place in the log."""
    board: BoardId
    seq: Seq
    entry: Entry
    """SHA-256 of its bytes: what the log's leaf is made of."""
    arrival_ms: Milliseconds
    """The gateway's clock when it came."""
    size: Annotated[int, Field(examples=[282])]
    """Bytes."""


class StatementsPage(Answer):
    """Statements in the order of the log, which for one board is that of its seqs."""

    statements: list[Statement]
    next: Next
    """Give it as `cursor` for the next page; null if this is the last one for now."""


TimeSource = Annotated[series.TimeSource, Field(examples=["board"])]


Text = Annotated[str, Field(examples=["21.50"], pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
Mantissa = Annotated[int, Field(examples=[2150])]
Exponent = Annotated[int, Field(examples=[-2], le=0)]


class Value(Answer):
    """A number, exactly: mantissa * 10 ** exponent."""

    value: Text
    """As decimal text. JSON numbers lose digits in programs that read them as floats: this does not."""
    mantissa: Mantissa
    exponent: Exponent


class StatedReading(Answer):
    """A reading of a statement."""

    name: Annotated[str, Field(examples=["temperature"])]
    unit: Annotated[str, Field(examples=["Cel"])]
    """SenML unit (RFC 8428 section 12.1)."""
    time_s: Seconds
    """When it was taken."""
    time_source: TimeSource
    """On whose word: the `board`'s; the gateway's estimate from the `arrival`, for a board whose clock was not set; or
    `doubtful`, the board's word for a time more than 600 s after the arrival."""
    value: Text
    """mantissa * 10 ** exponent as decimal text. No float was made of it."""
    mantissa: Mantissa
    exponent: Exponent


class StatementDetail(Statement):
    """A statement with what it says."""

    prev: Hash
    """Entry of the board's statement before; zeros at seq 0."""
    oldest: Seq
    """The lowest seq that the board still held."""
    readings: list[StatedReading]
    """In the order of the pack: the first is at position 0."""


class Reading(StatedReading):
    """A reading, and where it was stated."""

    seq: Seq
    position: Annotated[int, Field(examples=[0])]
    """In its statement, from 0."""
    leaf_index: LeafIndex
    """Its statement's place in the log: its proof is at /v1/statements/{leaf_index}/receipt."""


class ReadingsPage(Answer):
    """Readings of one board in the order in which it stated them: by seq, then by position in the statement."""

    board: BoardId
    readings: list[Reading]
    next: Next
    """Give it as `cursor` for the next page; null on the last one. A page may be empty and still have a next one."""


class Series(Answer):
    """What a board measures under one name, in one unit."""

    name: Annotated[str, Field(examples=["temperature"])]
    unit: Annotated[str, Field(examples=["Cel"])]
    readings: Annotated[int, Field(examples=[525600])]
    """How many."""
    first_hour_s: Seconds
    """Begin of the hour of the earliest reading."""
    last_hour_s: Seconds
    """Begin of the hour of the latest reading; doubtful times count too."""


class SeriesList(Answer):
    """All series of a board, by name and unit."""

    board: BoardId
    series: list[Series]


class Bucket(Answer):
    """The readings of a span of time, summed up. There are no empty buckets."""

    start_s: Seconds
    """The first second; `every` later the next bucket begins."""
    unit: Annotated[str, Field(examples=["Cel"])]
    """Readings in another unit have buckets of their own."""
    readings: Annotated[int, Field(examples=[60])]
    """How many."""
    estimated: int
    """How many of them have the time source `arrival`."""
    doubtful: int
    """How many of them have the time source `doubtful`."""
    minimum: Value
    maximum: Value
    sum: Value
    """Exact. Its mantissa may have more digits than a float can hold."""
    mean: Value
    """sum / readings, rounded half to even to three digits more than the finest reading."""


class BucketsPage(Answer):
    """Buckets by time, then by unit."""

    board: BoardId
    name: Annotated[str, Field(examples=["temperature"])]
    every_s: Annotated[int, Field(examples=[3600])]
    buckets: list[Bucket]
    next: Next
    """Give it as `cursor` for the next page; null on the last one. A page may be empty and still have a next one."""


class Rejected(Answer):
    """A message that the gateway refused."""

    reason: Annotated[str, Field(examples=["signature"])]
    """The check of docs/protocol.md section 5 that it failed."""
    detail: Annotated[str, Field(examples=["the board's key did not sign this"])]
    topic: str
    """Its first characters, as they came: not to be trusted."""
    raw: Base64
    """Its first 4,096 bytes, base64."""
    size: int
    """Bytes of the whole message."""
    arrival_ms: Milliseconds


class RejectedPage(Answer):
    """Refused messages, newest first. The gateway keeps the newest thousand."""

    rejected: list[Rejected]
    next: Next
    """Give it as `cursor` for the next page; null on the last one."""


class Counters(Answer):
    """How many messages came to each end."""

    counters: Annotated[dict[str, int], Field(examples=[{"accepted": 52_000, "duplicate": 12, "signature": 3}])]
    """By reason; one that never occurred is missing. They are written from time to time, not with each message."""


class Evidence(Answer):
    """A well signed statement that contradicts one that is stored: a cloned key, or a broken board."""

    board: BoardId
    seq: Seq
    entry: Entry
    reason: Annotated[Literal["clone", "fork"], Field(examples=["clone"])]
    """`clone`: another statement is stored under this seq. `fork`: it follows another history than the stored one."""
    raw: Base64
    """The statement, base64."""
    arrival_ms: Milliseconds


class EvidencePage(Answer):
    """Evidence in the order in which it was found."""

    evidence: list[Evidence]
    next: Next
    """Give it as `cursor` for the next page; null on the last one."""


class Anchor(Answer):
    """A head of the log in a transaction to the TransparencyLog."""

    size: Annotated[int, Field(examples=[3])]
    """Leaves under the head."""
    root: Hash
    state: Annotated[str, Field(examples=["final"])]
    """How far the transaction has got; see docs/operating.md, the chain."""
    transaction: Annotated[str, Field(examples=["0x" + _TRANSACTION], pattern="^0x[0-9a-f]{64}$")]
    chain_id: Annotated[int, Field(examples=[31337])]
    contract: Address
    block: Annotated[int | None, Field(examples=[17])]
    """Null while it is in none."""


class AnchorsPage(Answer):
    """Anchors, newest first."""

    anchors: list[Anchor]
    next: Next
    """Give it as `cursor` for the next page; null on the last one."""


class Log(Answer):
    """Where the log stands."""

    log_id: Hash | None
    """Null until the gateway has run once."""
    size: Annotated[int, Field(examples=[3], ge=0)]
    """Leaves under the newest head. Statements are in the journal before, and are folded in within a minute."""
    root: Hash
    statements: Annotated[int, Field(examples=[3], ge=0)]
    """Statements stored: leaves to be, the newest among them."""
    anchor: Anchor | None
    """The newest anchor that is final; null before the first."""
