"""`trigpoint fleet run` on real parts: a small fleet with a few faults, once; its output, its reports, its end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("fleet command")  # the run is made once, for all of these tests

SCENARIO = """
name = "tiny"
about = "Three boards, eight hours, four faults."
seed = 3
duration = "8h"
speed = 2400
anchor_every = "3h"

[[boards]]
name = "roof"
count = 2
sample = "30m"
batch = 2

[[boards]]
name = "cellar"
count = 1
chip = "esp32c3"
sensors = "ds18b20"
sample = "1h"
batch = 2

[[faults]]
kind = "wifi-loss"
groups = "cellar"
at = "1h"
lasts = "2h"

[[faults]]
kind = "power-cut"
groups = "roof"
boards = 1
at = "2h"
lasts = "1h"

[[faults]]
kind = "gateway-restart"
at = "4h"
lasts = "1h"

[[faults]]
kind = "tcp-reset"
share = 1
at = "6h"
"""


@dataclass(frozen=True)
class Ran:
    """How the command ended, and what it left."""

    code: int
    said: dict[str, Any]
    log: str
    directory: Path


def trigpoint(*arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trigpoint", "fleet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "tiny.toml").write_text(SCENARIO)
    ended = trigpoint("run", str(folder / "tiny.toml"), "--json", "--report", str(folder / "out"))
    assert ended.stdout, ended.stderr
    return Ran(ended.returncode, json.loads(ended.stdout), ended.stderr, folder / "out")


def test_nothing_is_lost_and_the_exit_code_says_so(ran: Ran) -> None:
    said = ran.said
    assert (ran.code, said["wrong"]) == (0, []), ran.log
    assert said["lost"] == said["duplicated"] == said["forged_stored"] == 0
    assert said["measured"] == said["stored"] + said["in_ram"] + said["declared_lost"]
    assert said["measured"] >= 0.6 * said["expected"] > 0
    assert said["anchors"] >= 2
    assert said["anchored_size"] == said["statements"]
    assert said["ack_ms"]["count"] > 0


def test_each_fault_came_and_did_something(ran: Ran) -> None:
    faults = {fault["kind"]: fault["seen"] for fault in ran.said["faults"]}
    assert set(faults) == {"wifi-loss", "power-cut", "gateway-restart", "tcp-reset"}
    assert all(seen > 0 for seen in faults.values()), faults


def test_the_log_has_each_step_and_no_control_codes(ran: Ran) -> None:
    assert [line[:5] for line in ran.log.splitlines() if line.startswith("[")] == [f"[{n}/7]" for n in range(1, 8)]
    assert "\x1b" not in ran.log
    assert "✓ Nothing lost, nothing doubled." in ran.log
    assert str(ran.directory / "report.html") in ran.log


def test_both_reports_are_there_and_agree(ran: Ran) -> None:
    assert json.loads((ran.directory / "report.json").read_text()) == ran.said
    page = (ran.directory / "report.html").read_text()
    for title, field in (
        ("Measured", "measured"),
        ("Stored", "stored"),
        ("Lost", "lost"),
        ("Heads anchored", "anchors"),
    ):
        assert re.search(rf"<h3>{title}</h3><p class=\"figure[^>]*>{ran.said[field]:,}</p>", page), title
    for name in ("roof-1", "roof-2", "cellar-1"):
        assert f'<td title="board id {ran.said["board_results"][0]["kid"]}' in page
        assert f">{name}<" in page


def test_a_folder_that_another_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("x")
    ended = trigpoint("run", "first-light", "--report", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert (tmp_path / "run" / "precious").read_text() == "x"


def test_ctrl_c_ends_all_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trigpoint", "fleet", "run", "first-light", "--report", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("[2/7]"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "Stopped. All that the run had started has ended." in rest
    assert not (tmp_path / "report.json").exists()
    if Path("/proc/self/cmdline").exists():
        left = [file.parent.name for file in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in read(file)]
        assert left == []


def read(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError:  # the process has just ended
        return ""


def test_a_wrong_scenario_is_one_line_with_its_field(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(SCENARIO.replace('lasts = "2h"', 'lasts = "soon"'))
    ended = trigpoint("run", str(tmp_path / "wrong.toml"))
    assert ended.returncode == 1
    assert re.fullmatch(r"error: .*wrong.toml: faults.0.lasts: 'soon' is no length of time; .*\n", ended.stderr)
