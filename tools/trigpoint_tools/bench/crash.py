"""What 200 kills of a gateway under load cost, and how fast all that is stored is checked."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from trigpoint import keyfiles
from trigpoint.chain.node import address_bytes
from trigpoint.fsck.anchors import OnChain
from trigpoint.fsck.check import Scope, check
from trigpoint.store.database import open_database

from trigpoint_tools.crash import campaign
from trigpoint_tools.crash.site import Ground, Site

KILLS = 200


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Kill a gateway at random moments while boards send through a real broker, and check what it has kept.

    Args:
        report: takes a line of progress.

    Raises:
        RuntimeError: something else went wrong than a loss, and then the count means nothing.
    """
    with tempfile.TemporaryDirectory(prefix="trigpoint-bench-") as folder, Ground() as ground:
        site = ground.site(Path(folder) / "gateway", anchor_every_s=1)
        result = campaign.run(site, KILLS, seed=KILLS, report=report)
        if result.faults:
            raise RuntimeError("\n".join(result.faults))
        report(f"{result.stored} statements, {result.seconds:.0f} s, kills {dict(result.kills)}")
        rate = _fsck_rate(site)
    return {
        "kill9_kills": KILLS,
        "kill9_lost": result.lost,
        "kill9_duplicated": result.duplicated,
        "fsck_statements_per_s": rate,
    }


def _fsck_rate(site: Site) -> int:
    """Return the statements that fsck checks in a second of CPU time.

    Before that it verifies all signatures and asks the chain, and must find nothing broken.
    """
    config = site.config
    chain = OnChain(site.chain.web3, config.chain.chain_id, address_bytes(config.chain.transparency_log))
    log_key = keyfiles.load_log_key(config.log.key_file).public_key().public_bytes_raw()
    with closing(open_database(config.database, read_only=True)) as connection:
        found = check(connection, Scope(config.public, log_key, signatures=True, chain=chain))
        if not found.clean:
            raise RuntimeError(f"fsck: {found.broken[0]}")
        began = time.process_time()
        check(connection, Scope(config.public, log_key))
        return round(found.statements / (time.process_time() - began))
