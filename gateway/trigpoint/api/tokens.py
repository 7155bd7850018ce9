"""API tokens: who may read what. A small file of its own, since the API cannot write the gateway's database.

A token is 256 random bits. Its SHA-256 is what is stored: a slow hash such as bcrypt protects words that people
choose, which can be guessed; nobody guesses 256 bits, so it would only make each request dear. The token itself is
shown once, when it is made.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trigpoint.errors import OperatorError

PREFIX = "trig_"
"""What every token begins with, so that a scanner of leaked secrets can know one."""

_TOKEN = re.compile(r"trig_[A-Za-z0-9_-]{43}")
_MAX_SIZE = 1_048_576
_MAX_TOKENS = 1_000


class Scope(StrEnum):
    """What a token, or everybody, may read."""

    LOG = "log"
    """The log's head, checkpoint, tiles and anchors: hashes, no readings."""

    READINGS = "readings"
    """Boards, statements, receipts, readings, exports, the live stream."""

    INSPECT = "inspect"
    """Refused input, evidence of clones and counters."""

    JOIN = "join"
    """The join file, with which boards are set up for this gateway. Never public."""


class Token(BaseModel):
    """A token as it is stored.

    Attributes:
        name: given by the operator; unique.
        sha256: of the token's text, 64 hex digits.
        scopes: what it may read.
        made_ms: when it was made, milliseconds since 1970.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Scope]
    made_ms: int


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tokens: list[Token] = Field(max_length=_MAX_TOKENS)


class TokenFile:
    """The tokens in a file of mode 0600, which appears whole or not at all. A missing file holds none.

    Args:
        path: the file.
        random_bytes: where tokens come from.
    """

    def __init__(self, path: Path, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._path = path
        self._random_bytes = random_bytes
        self._read: tuple[tuple[int, int, int], dict[str, Token]] | None = None

    def add(self, name: str, scopes: frozenset[Scope], now_ms: int) -> str:
        """Make a token and return its text, which nobody can return again.

        Raises:
            OperatorError: the name is taken or no name, there are too many, or the file cannot be written.
        """
        text = PREFIX + urlsafe_b64encode(self._random_bytes(32)).decode().rstrip("=")
        try:
            token = Token(name=name, sha256=_hash(text), scopes=scopes, made_ms=now_ms)
        except ValidationError as error:
            raise OperatorError(
                "a token's name is 1 to 64 letters, digits, dots, hyphens and underscores; choose another"
            ) from error
        with self._locked():
            tokens = self.all()
            if any(token.name == name for token in tokens):
                raise OperatorError(f"there is a token {name} already; choose another name, or remove it first")
            if len(tokens) >= _MAX_TOKENS:
                raise OperatorError(f"there are {_MAX_TOKENS} tokens already; remove some with `gateway token rm`")
            self._write([*tokens, token])
        return text

    def remove(self, name: str) -> None:
        """Remove a token. A running API forgets it with its next request.

        Raises:
            OperatorError: there is none of that name, or the file cannot be written.
        """
        with self._locked():
            tokens = self.all()
            kept = [token for token in tokens if token.name != name]
            if len(kept) == len(tokens):
                raise OperatorError(f"there is no token {name}; `trigpoint gateway token ls DIR` shows all")
            self._write(kept)

    def all(self) -> list[Token]:
        """Return all tokens, in the order in which they were made.

        Raises:
            OperatorError: the file is open to others, or not what this class wrote.
        """
        return list(self._by_hash().values())

    def find(self, text: str) -> Token | None:
        """Return the token with this text. The file is read again only if it has changed.

        The time that looking up a hash takes tells nothing of use: nobody can choose a text by its SHA-256.

        Raises:
            OperatorError: as `all`.
        """
        return self._by_hash().get(_hash(text)) if _TOKEN.fullmatch(text) else None

    def _by_hash(self) -> dict[str, Token]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise OperatorError(f"cannot read {self._path}: {error.strerror}; check its owner") from error
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._read is None or self._read[0] != version:
            self._read = version, self._load(found)
        return self._read[1]

    def _load(self, found: os.stat_result) -> dict[str, Token]:
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise OperatorError(f"{self._path} can be read by others: run `chmod 600 {self._path}`")
        try:
            with self._path.open("rb") as file:
                tokens = _File.model_validate_json(file.read(_MAX_SIZE)).tokens
        except (ValidationError, OSError) as error:
            raise OperatorError(
                f"{self._path} is not a file of tokens; restore it, or remove it and make new"
            ) from error
        return {token.sha256: token for token in tokens}

    def _write(self, tokens: list[Token]) -> None:
        unfinished = self._path.with_name(self._path.name + ".unfinished")
        content = json.dumps({"tokens": [token.model_dump(mode="json") for token in tokens]}, indent=2) + "\n"
        try:
            unfinished.unlink(missing_ok=True)
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
        except OSError as error:
            raise OperatorError(f"cannot write {self._path}: {error.strerror}; check its owner and space") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep two commands from writing at once: the later would undo the earlier."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            directory = os.open(self._path.parent, os.O_RDONLY)
        except OSError as error:
            raise OperatorError(f"cannot write {self._path}: {error.strerror}; check its owner") from error
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
