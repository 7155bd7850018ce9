"""SIGKILL of the whole gateway, of its first process or of a worker, while boards send: nothing acked is lost."""

from collections import Counter
from contextlib import closing

import pytest
from trigpoint import keyfiles
from trigpoint.chain.node import address_bytes
from trigpoint.fsck.anchors import OnChain
from trigpoint.fsck.check import Scope, check
from trigpoint.store.database import open_database
from trigpoint_tools.crash import campaign

pytestmark = pytest.mark.xdist_group("crash")  # they share a chain and a broker


@pytest.mark.parametrize("kills", [12, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_killed_at_any_moment(tmp_path, ground, kills):
    made = ground.site(tmp_path / "gateway", anchor_every_s=1)
    result = campaign.run(made, kills, seed=kills)
    assert (result.lost, result.duplicated, result.faults) == (0, 0, [])
    assert sum(result.kills.values()) == kills
    assert result.stored == result.acked > 20 * kills
    chain = OnChain(made.chain.web3, made.config.chain.chain_id, address_bytes(made.config.chain.transparency_log))
    log_key = keyfiles.load_log_key(made.config.log.key_file).public_key().public_bytes_raw()
    with closing(open_database(made.config.database, read_only=True)) as connection:
        report = check(connection, Scope(made.config.public, log_key, signatures=True, chain=chain))
    assert Counter(finding.status for finding in report.findings) == {"ok": len(report.findings)}, report.findings
    assert report.statements == result.stored
