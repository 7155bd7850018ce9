"""Copies a gateway's public files for a web server, object storage or git, verified and always whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trigpoint.audit.follow import Amount, FetchedTiles, follow, head
from trigpoint.audit.source import DirectorySource, FetchError
from trigpoint.audit.store import TileStore
from trigpoint.errors import OperatorError
from trigpoint.log import fork
from trigpoint.log.checkpoint import CheckpointError
from trigpoint.log.merkle import ProofError
from trigpoint.log.verified import VerifiedTiles


@dataclass(frozen=True)
class Exported:
    """What an export did.

    Attributes:
        log_id: 32 bytes.
        size: leaves in the directory now.
        before: leaves before.
        files: tiles and bundles that were copied.
    """

    log_id: bytes
    size: int
    before: int
    files: int


def export(public: Path, directory: Path, progress: Callable[[int, int], None]) -> Exported:
    """Bring `directory` up to the gateway's newest checkpoint; only what is new is copied.

    Every tile is verified on the way. The checkpoint is written when all that it calls for is on the disk, so the
    directory is a true copy at every moment, and a run that was killed is gone on with by the next.

    Args:
        public: the gateway's public files; it may be publishing meanwhile.
        directory: made as needed.
        progress: is told leaves done and leaves in all.

    Raises:
        OperatorError: nothing is published, a file is damaged, the directory is another log's or ahead, or a disk
            refused.
    """
    if not (public / "checkpoint").exists():
        raise OperatorError(f"nothing is published in {public} yet: run the gateway first")
    source = DirectorySource(public)
    trust = TileStore(public).trust()
    if trust is None:
        raise OperatorError(f"there is no trust.json in {public}: start the gateway, which writes it")
    store, amount = TileStore(directory), Amount()
    try:
        with store.locked():
            newest = head(source, trust.log_id, trust.log_key)
            store.keep_trust(trust)
            there = store.head(trust)
            start = 0 if there is None else there.size
            tiles = VerifiedTiles(FetchedTiles(source, newest.size, amount), newest.size, newest.root)
            if there is not None and (there.size > newest.size or fork.find(tiles, there, newest) is not None):
                raise OperatorError(f"{directory} has leaves that the gateway has not: was an old backup restored?")
            total = newest.size - start
            progress(0, total)
            follow(source, tiles, store, start, amount=amount, progress=lambda done: progress(done, total))
            if there is None or there.text != newest.text:
                store.finish(newest, start)
    except (ProofError, CheckpointError) as error:
        raise OperatorError(
            f"the public files are damaged: {error}; move {public} away, and the gateway writes it anew"
        ) from error
    except FetchError as error:
        raise OperatorError(f"{error}; move {public} away, and the gateway writes it anew") from error
    except OSError as error:
        raise OperatorError(f"cannot write to {directory}: {error.strerror}; check its owner and space") from error
    return Exported(trust.log_id, newest.size, start, amount.tiles + amount.bundles)
