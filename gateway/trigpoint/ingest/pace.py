"""How long what has arrived may wait for its commit, and what has been committed for its fold."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Pace:
    """When to write. Each commit and each fold rewrites pages that it shares with others, and flash wears.

    A batch is committed when it is full; or when its first message has waited for `linger_s`; or, if it has
    `quiet_messages`, when nothing more has come for `quiet_s`: then the broker may be waiting to be told.

    Attributes:
        gather_s: how long the first message of a chunk waits for others, before it is checked.
        linger_s: how long the first message of a batch waits for others, before it is committed.
        quiet_s: see above.
        quiet_messages: see above.
        batch: messages in a full batch.
        log_s: seconds between two folds of the log.
        index_s: seconds between two folds of the index.
        index_statements: statements in the tail that are not waited with any longer; it is held in memory.
        index_cells: likewise, cells of the hourly aggregates.
    """

    gather_s: float = 0.005
    linger_s: float = 2.0
    quiet_s: float = 0.01
    quiet_messages: int = 8
    batch: int = 512
    log_s: float = 60.0
    index_s: float = 3600.0
    index_statements: int = 65_536
    index_cells: int = 65_536

    def at_speed(self, speed: float) -> Pace:
        """Return the pace for a world that runs so many times as fast."""
        return replace(
            self,
            gather_s=min(self.gather_s, self.linger_s / speed),
            linger_s=self.linger_s / speed,
            log_s=max(self.log_s / speed, 1.0),
            index_s=max(self.index_s / speed, 1.0),
        )
