"""The figures: there, right, and those that the dashboard and the alerts ask for."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from trigpoint import config, metrics, status
from trigpoint.errors import OperatorError
from trigpoint.ingest.tally import Statistics
from trigpoint.store.writer import Writer

ROOT = Path(__file__).parents[2]
RULES = ROOT / "packaging/prometheus/trigpoint.rules.yml"
DASHBOARD = ROOT / "packaging/grafana/trigpoint.json"
NAME = re.compile(r"\b(?:trigpoint|process)_[a-z_]+\b")
PROMTOOL = shutil.which("promtool")


def statistics(**changes):
    fields = {
        "received": 9,
        "by_reason": {"accepted": 7, "signature": 2},
        "queued": 3,
        "capacity": 100,
        "checking": 2,
        "workers": 2,
        "commits": 4,
        "commit_s": 0.5,
        "per_s": 1.5,
        "tail": 7,
        "refusing_since": None,
    }
    return Statistics(**{**fields, **changes})


@pytest.fixture
def settings(tmp_path):
    text = (
        'data = "data"\n[broker]\nhost = "localhost"\nport = 1\ntls = false\n[chain]\nrpc_url = "http://127.0.0.1:1"\n'
        'chain_id = 1\nkey_file = "k"\n[log]\nkey_file = "k"\n[link]\nkey_file = "k"\n'
    )
    made = config.parse(text, tmp_path / "gateway.toml")
    made.data.mkdir()
    Writer(made.database).close()
    return made


def exposition(settings, **changes):
    sources = metrics.Sources(
        ingest=lambda: statistics(**changes),
        idle=lambda: {"chain": 1.0},
        balance=lambda: 15 * 10**17,
        connected=lambda: True,
    )
    return generate_latest(metrics.registry(settings, sources)).decode()


def values(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_figures_are_those_of_the_parts(settings):
    found = values(exposition(settings, refusing_since=1.0))
    assert found["trigpoint_messages_total", "accepted"] == 7
    assert found["trigpoint_messages_total", "signature"] == 2
    assert found["trigpoint_messages_total", "clone"] == 0
    assert found["trigpoint_queue_messages",] == 3
    assert found["trigpoint_database_refusing",] == 1
    assert found["trigpoint_account_coins",] == 1.5
    assert found["trigpoint_part_idle_seconds", "chain"] == 1
    assert found["trigpoint_log_leaves",] == 0
    assert 0 < found["trigpoint_disk_free_bytes",] <= found["trigpoint_disk_size_bytes",]
    assert found["process_resident_memory_bytes",] > 0


def asked_for(path):
    """The names of our metrics in all expressions of the file."""
    text = path.read_text()
    if path.suffix == ".json":
        panels = json.loads(text)["panels"]
        text = "\n".join(target["expr"] for panel in panels for target in panel["targets"])
        assert panels
    else:
        text = "\n".join(line for line in text.splitlines() if "expr:" in line)
    return set(NAME.findall(text))


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_what_rules_and_dashboard_ask_for_exists(settings, path):
    families = text_string_to_metric_families(exposition(settings))
    # A counter is exposed under its name with _total; a family without a sample yet has its name alone.
    names = {name for family in families for name in (family.name, family.name + "_total", family.name + "_info")}
    wanted = asked_for(path)
    assert len(wanted) > 10
    assert wanted <= names, wanted - names


def test_the_gateway_is_no_worse_for_a_database_that_is_away(settings):
    settings.database.write_bytes(b"not a database" * 1000)
    assert "trigpoint_queue_messages 3.0" in exposition(settings)


def test_the_figures_are_served_where_they_should(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OperatorError, match=r"cannot serve metrics at .*metrics\.listen"):
            metrics.serve(f"127.0.0.1:{port}", metrics.registry(settings, sources()))
    server, thread = metrics.serve(f"127.0.0.1:{port}", metrics.registry(settings, sources()))
    try:
        live = status.read_live(f"127.0.0.1:{port}")
        assert live == status.Live(1.5, 3, 100, 4, 0.5, refusing=False, connected=False, coins=None)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert status.read_live(f"127.0.0.1:{port}") is None
    assert status.read_live("") is None


def sources():
    return metrics.Sources(ingest=statistics, idle=dict, balance=lambda: None, connected=lambda: False)


@pytest.fixture
def promtool():
    if PROMTOOL is None:
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    return PROMTOOL


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_exposition(promtool, settings):
    run(promtool, "check", "metrics", input=exposition(settings))


def test_promtool_takes_the_rules_and_each_alert_fires_when_it_should(promtool, tmp_path):
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).parent / "prometheus/alerts.yml", tmp_path)
    run(promtool, "check", "rules", RULES.name, cwd=tmp_path)
    run(promtool, "test", "rules", "alerts.yml", cwd=tmp_path)
    alerts = RULES.read_text().count("- alert: ")
    assert f"value: {alerts}}}" in (tmp_path / "alerts.yml").read_text()


def test_the_dashboard_is_one_that_grafana_can_take():
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["uid"] and dashboard["schemaVersion"] >= 30
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
