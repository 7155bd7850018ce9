"""How long what has arrived may wait for its commit, and what has been committed for its fold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """When to write. Each commit and each fold rewrites pages that it shares with others, and flash wears.

    Attributes:
        linger_s: how long the first message of a batch waits for more.
        batch: messages that are not waited with any longer.
        log_s: seconds between two folds of the log.
        index_s: seconds between two folds of the index.
        index_statements: statements in the tail that are not waited with any longer; it is held in memory.
        index_cells: likewise, cells of the hourly aggregates.
    """

    linger_s: float = 0.5
    batch: int = 256
    log_s: float = 60.0
    index_s: float = 3600.0
    index_statements: int = 65_536
    index_cells: int = 65_536

    def at_speed(self, speed: float) -> Pace:
        """Return the pace for a world that runs so many times as fast: nothing waits longer for it than a second."""
        return Pace(
            self.linger_s / speed,
            self.batch,
            max(self.log_s / speed, 1.0),
            max(self.index_s / speed, 1.0),
            self.index_statements,
            self.index_cells,
        )
