"""A box of boards: a CSV file in, one row a board, and a CSV file of results out, which is also how a run goes on.

    port,wifi,sensors,owner,config,metadata,label
    /dev/ttyUSB0,,bme280 ds18b20,,,,labels/roof.svg

`port` or `mac` says which board a row is for; all else may be empty or missing: then what the command was told holds.
No column takes a password: a file that goes round in a workshop is no place for one.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from trigpoint.errors import OperatorError

_MAX_BYTES = 1 << 20
_MAX_ROWS = 10_000
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_FORMULA = ("=", "+", "-", "@", "'")
_SECRETS = re.compile("pass|secret|key|psk", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One board of the list; what is empty is as the command was told.

    Attributes:
        port: where it is; may be empty if `mac` is not.
        mac: its MAC address, lowercase with colons.
        wifi: a network's name; its password is asked for, or from the environment.
        sensors: types, separated by spaces.
        owner: address, 0x and 40 hexadecimal digits.
        config: a file as for --config.
        metadata: a document about the board.
        label: where its label goes.
    """

    port: str = ""
    mac: str = ""
    wifi: str = ""
    sensors: str = ""
    owner: str = ""
    config: str = ""
    metadata: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        """What tells it from the other rows, in this run and the next."""
        return self.mac or self.port


@dataclass(frozen=True)
class Outcome:
    """One line of the results.

    Attributes:
        board: the row's `name`.
        status: `enrolled`, `permit` or `failed`.
        kid: board id, hexadecimal; empty if it failed before there was one.
        owner: address.
        transaction: hash of the one that registered it; empty if it was registered before.
        error: why it failed.
    """

    board: str
    status: str
    kid: str = ""
    owner: str = ""
    transaction: str = ""
    error: str = ""

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.status != "failed"


_COLUMNS = tuple(field.name for field in fields(Row))
_RESULTS = tuple(field.name for field in fields(Outcome))


def parse(text: str, name: str) -> list[Row]:
    """Read a list of boards.

    Args:
        text: the CSV file's content; the first line names the columns.
        name: of the file, for errors.

    Raises:
        OperatorError: a column is not known, a row names no board or the same as another; it says which line.
    """
    if len(text) > _MAX_BYTES:
        raise OperatorError(f"{name} is larger than {_MAX_BYTES} bytes: split it")
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        columns = [column.strip() for column in reader.fieldnames or ()]
        _check_columns(columns, name)
        reader.fieldnames = columns
        rows: list[Row] = []
        seen: dict[str, int] = {}
        for cells in reader:
            line = reader.line_num
            row = _row(cells, f"{name}, line {line}")
            if (before := seen.setdefault(row.name, line)) != line:
                raise OperatorError(f"{name}, line {line}: {row.name} is in line {before} already; remove one")
            rows.append(row)
            if len(rows) > _MAX_ROWS:
                raise OperatorError(f"{name} has more than {_MAX_ROWS} boards: split it")
    except csv.Error as error:
        raise OperatorError(f"{name} is not CSV: {error}") from error
    if not rows:
        raise OperatorError(f"{name} lists no board: write one line for each below the names of the columns")
    return rows


def _check_columns(columns: Sequence[str], name: str) -> None:
    for column in columns:
        if _SECRETS.search(column):
            raise OperatorError(f"{name}: a column {column!r} would hold a secret in plain; remove it, it is asked for")
        if column not in _COLUMNS:
            raise OperatorError(f"{name}: no column {column!r} is known; known are {', '.join(_COLUMNS)}")
    if len(set(columns)) != len(columns):
        raise OperatorError(f"{name}: a column is there twice; remove one")
    if not {"port", "mac"} & set(columns):
        raise OperatorError(f"{name}: the first line names neither port nor mac; one must say which board is meant")


def _row(cells: Mapping[str | None, str | list[str] | None], where: str) -> Row:
    if None in cells:
        raise OperatorError(f"{where}: more values than columns")
    values = {str(key): value.strip() for key, value in cells.items() if isinstance(value, str)}
    row = Row(**{**values, "mac": values.get("mac", "").lower()})
    if row.mac and not _MAC.fullmatch(row.mac):
        raise OperatorError(f"{where}: {row.mac!r} is not a MAC address; write it as 24:0a:c4:00:00:01")
    if not row.name:
        raise OperatorError(f"{where}: neither port nor mac; one must say which board is meant")
    return row


def read(path: Path) -> list[Row]:
    """Read the list of boards in a file; see `parse`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return parse(file.read(_MAX_BYTES + 1), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise OperatorError(f"cannot read {path}: {reason}; give a CSV file") from error


def _cell(value: str) -> str:
    """Return a text as a cell of one line that no spreadsheet takes for a formula (OWASP, "CSV Injection").

    Errors hold words of boards and of files, which others have written.
    """
    value = " ".join(value.split())
    return f"'{value}" if value.startswith(_FORMULA) else value


def _plain(cell: str) -> str:
    """Return the text that `_cell` was given."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


class Results:
    """The results of a batch, each on disk before the next board is begun.

    Args:
        path: the CSV file; it is made, or gone on with.

    Raises:
        OperatorError: it is there and something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_board: dict[str, Outcome] = {}
        try:
            # A power cut may leave half a line; that board is done again.
            whole = (path.read_bytes() if path.exists() else b"").rpartition(b"\n")[0].decode()
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError(f"cannot read {path}: give another file for the results") from error
        reader = csv.DictReader(io.StringIO(whole + "\n")) if whole else None
        if reader is not None:
            if tuple(reader.fieldnames or ()) != _RESULTS:
                raise OperatorError(f"{path} is there and holds no results: give another file for them")
            for cells in reader:
                if None not in cells and None not in cells.values():
                    outcome = Outcome(**{name: _plain(cell) for name, cell in cells.items()})
                    self._by_board[outcome.board] = outcome
        self._kept = whole + "\n" if whole else ""

    def left(self, rows: Iterable[Row]) -> list[Row]:
        """Return the boards that are not done yet, in their order; those that failed are tried again."""
        return [row for row in rows if not (done := self._by_board.get(row.name)) or not done.done]

    def of(self, row: Row) -> Outcome | None:
        """Return what became of a board, None if nothing yet."""
        return self._by_board.get(row.name)

    def add(self, outcome: Outcome) -> None:
        """Put a result on disk; the newest of a board counts."""
        self._by_board[outcome.board] = outcome
        line = io.StringIO()
        writer = csv.DictWriter(line, _RESULTS, lineterminator="\n")
        if not self._kept:
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in asdict(outcome).items()})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, len(self._kept.encode()))
            os.pwrite(descriptor, line.getvalue().encode(), len(self._kept.encode()))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._kept += line.getvalue()
