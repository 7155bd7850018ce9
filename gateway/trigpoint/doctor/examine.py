"""Everything that the doctor looks at, in the order in which one thing needs another."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress

from trigpoint import keyfiles
from trigpoint.chain.keys import load_signer
from trigpoint.chain.node import address_bytes
from trigpoint.chain.presets import LOCAL
from trigpoint.config import Config
from trigpoint.doctor import boards, broker, chain, clock, database, disk, keys, service
from trigpoint.doctor.finding import Finding, fail, ok, unknown
from trigpoint.errors import OperatorError
from trigpoint.running import is_running
from trigpoint.store.database import open_database


def examine(config: Config) -> Iterator[Finding]:
    """Look at everything, and yield what was found as it is found. Nothing is changed; a running gateway goes on."""
    yield from _keys(config)
    yield clock.judge_synchronised(clock.is_synchronised())
    rate, known, found = None, chain.Anchored(), None
    owners = frozenset(map(address_bytes, config.ingest.owners))
    if config.database.exists():
        try:
            yield from database.judge(database.look(config.database))
            with closing(open_database(config.database, read_only=True)) as connection:
                rate = _real_rate(config, database.written_per_day(connection))
                with suppress(sqlite3.Error):  # a schema that the next start brings up to date
                    known = chain.look(connection)
                    found = boards.look(connection, owners)
        except (OperatorError, sqlite3.Error) as error:
            yield fail("database", "file", str(error), "see docs/operating.md: check, back up, restore")
    else:
        yield unknown("database", "file", "made when the gateway runs for the first time")
    yield from _disk(config, rate)
    yield from broker.examine(config.broker)
    yield from chain.examine(config, known)
    yield boards.judge(owners, found, local=config.chain.chain_id == LOCAL.chain_id)
    yield service.judge(service.look(), is_running(config.data))


def _keys(config: Config) -> Iterator[Finding]:
    settings = config.chain
    log_file, link_file = config.log.key_file, config.link.key_file
    yield keys.examine("log key", log_file, lambda: keyfiles.load_log_key(log_file))
    yield keys.examine("link key", link_file, lambda: keyfiles.load_link_key(link_file))
    if settings.key_file is not None:
        yield keys.examine("chain key", settings.key_file, lambda: load_signer(settings))
    else:
        yield ok("keys", "chain key", "a program signs")
    password = config.broker.password_file
    if password is not None:
        yield keys.examine("broker password", password, lambda: keyfiles.load_password(password))


def _real_rate(config: Config, rate: float | None) -> float | None:
    """Return what is written a day of the disk's, which in an emulated world is longer than the gateway's."""
    return rate * config.clock.speed if rate is not None and config.clock else rate


def _disk(config: Config, rate: float | None) -> Iterator[Finding]:
    place = config.data if config.data.exists() else config.data.parent
    try:
        yield from disk.judge(disk.look(place), rate)
    except OSError as error:
        yield fail("disk", "data directory", f"cannot look at {place}: {error.strerror}", "check `data` and its owner")
