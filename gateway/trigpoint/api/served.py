"""What the API is told of the configuration: no more than it needs, and no secret but the log's key file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trigpoint.config import Api, Config, Logging


@dataclass(frozen=True)
class Served:
    """What to serve, and how.

    Attributes:
        settings: the section `api`.
        logging: the section `logging`.
        database: the gateway's database.
        public: the directory of files that anyone may fetch.
        tokens: the file of the API's tokens.
        log_key_file: the key that signs receipts.
        join_file: what the page for boards tells a board; None for none.
    """

    settings: Api
    logging: Logging
    database: Path
    public: Path
    tokens: Path
    log_key_file: Path
    join_file: Path | None = None

    @classmethod
    def of(cls, config: Config) -> Self:
        """Take from the configuration what the API needs."""
        return cls(
            config.api,
            config.logging,
            config.database,
            config.public,
            config.tokens,
            config.log.key_file,
            config.join_file,
        )
