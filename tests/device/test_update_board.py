"""Updates on the emulated board: in force once a statement of the new application is acked, else the old goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import RunningBroker, embedded_broker  # noqa: F401
from ownedboard import Owned, application

NEW = b'__version__ = "0.2.0"\n\n\nclass ConfigError(ValueError):\n    pass\n'


@pytest.fixture
def owned(tmp_path: Path, embedded_broker: RunningBroker) -> Iterator[Owned]:  # noqa: F811
    made = Owned(tmp_path, embedded_broker.port)
    made.board.start()
    made.health(lambda report: True)
    yield made
    made.close()


def new_application(**changes: bytes) -> dict[str, bytes]:
    return application(**{"__init__": NEW, **changes})


def test_an_update_is_confirmed_by_the_ack_of_a_new_statement_and_never_undone(owned: Owned) -> None:
    owned.update(1, new_application(), 7)
    report = owned.ended(1, "confirmed", 90)
    assert (report["version"], report["release"], report["slot"]) == ("0.2.0", 7, "b")
    owned.readings_go_on()
    owned.update(2, application(), 7)
    assert "version: 7 is not above 7" in owned.ended(2, "refused")["command"]["reason"]
    owned.board.stop()
    printed = owned.board.exec("import slots, trig; print(slots.load().version, trig.__version__)")
    assert printed == "7 0.2.0\n"


def test_an_application_that_does_not_start_is_rolled_back(owned: Owned) -> None:
    owned.update(1, new_application(start=b"def start():\n    raise ValueError('not this time')\n"), 7)
    report = owned.ended(1, "rolled back", 120)
    assert report["command"]["reason"] == "ValueError: not this time"
    assert (report["version"], report["release"], report["slot"]) == ("0.1.0", 0, "a")
    owned.readings_go_on()
    owned.update(2, new_application(), 7)
    assert owned.ended(2, "confirmed", 90)["release"] == 7


def test_an_application_that_reaches_nobody_is_rolled_back(owned: Owned) -> None:
    owned.gateway.deaf = True
    owned.update(1, new_application(), 7)
    report = owned.ended(1, "rolled back", 90)
    assert "within 8 s" in report["command"]["reason"] and report["slot"] == "a"
    owned.gateway.deaf = False
    owned.readings_go_on()


def test_power_cuts_while_files_come(owned: Owned) -> None:
    owned.update(1, new_application(), 7)
    for requests in (5, 20, 35):
        owned.gateway.wait_for(lambda g, n=requests: owned.requests >= n, 60)
        owned.board.cut()
        owned.board.start()
    report = owned.ended(1, "confirmed", 90)
    assert report["slot"] == "b"
    owned.readings_go_on()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"family": "esp32-xtensawin"}, "family: this board is "), ({"follows": 3}, "follows: needs version 3")],
)
def test_an_update_for_others_is_refused(owned: Owned, changes: dict[str, object], reason: str) -> None:
    owned.update(1, new_application(), 7, **changes)
    assert owned.ended(1, "refused")["command"]["reason"].startswith(reason)
    assert owned.requests == 0
