"""The one refusal of a database that trying again cannot mend."""

from __future__ import annotations

import sqlite3

from trigpoint.errors import OperatorError


def check_locks(error: sqlite3.OperationalError) -> None:
    """Give up over locks that are in disorder.

    A lock could not be given back: the system refused that, as a network file system may. For this process it stays
    taken, so whoever tries again waits for itself.

    Raises:
        OperatorError: the error says so. All other refusals may pass.
    """
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_PROTOCOL:
        raise OperatorError(
            "the database's locks are in disorder, which a new start mends: start the gateway again, and "
            "do not keep its data on a network file system"
        ) from error
