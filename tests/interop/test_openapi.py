"""The API does what its description says: schemathesis reads openapi.json and tries every operation of it."""

from contextlib import nullcontext, suppress

import pytest
import schemathesis
from apiserver import Journal, api
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from statements import TestBoard
from trigpoint import keyfiles
from trigpoint.wire.statement import Reading

BOARD = TestBoard(1)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openapi")
    journal = Journal.at(folder / "trigpoint.db")
    journal.enrol(BOARD, TestBoard(2))
    for minute in range(300):
        pack = [Reading("temperature", "Cel", 2150 + minute, -2, 0), Reading("humidity", "%RH", 551, -1, 1)]
        journal.store(BOARD, pack, base_time=1_767_225_600 + 60 * minute, arrival_ms=1_767_225_600_000 + minute)
    journal.fold(250)
    public = folder / "public" / "tile" / "0"
    public.mkdir(parents=True)
    (public / "000").write_bytes(bytes(8192))
    (folder / "public" / "checkpoint").write_text("trigpoint/x\n3\n\n")
    (folder / "public" / "trust.json").write_text("{}")
    with api(folder) as running:
        journal.claim(keyfiles.load_log_key(folder / "log.key").public_key().public_bytes_raw())
        yield running


@pytest.mark.parametrize("examples", [6, pytest.param(300, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_answers_are_as_described(client, examples):
    """Every operation, with what it should accept and with what it should refuse."""
    described = schemathesis.openapi.from_url(f"{client.url}/openapi.json")
    described = described.exclude(path="/v1/live")  # it has no end; tests/unit/test_api_live.py listens to it
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        for mode in GenerationMode:
            _try(client, operation, mode, examples)


def _try(client, operation, mode, examples):
    @settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)
    @given(operation.as_strategy(generation_mode=mode))
    def run(case):
        if mode is GenerationMode.POSITIVE and case.query:
            case.query.pop("cursor", None)  # no schema can say which ones the API gave
        case.call_and_validate(headers={"Authorization": f"Bearer {client.token}"})

    # Of an operation without parameters that anybody may call, nothing is to be refused.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        run()
