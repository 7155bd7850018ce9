"""The report as HTML: its numbers are the result's, every fault is in it, and no name can become markup."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from fleetresult import result as fake
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint_tools.fleet import words
from trigpoint_tools.fleet.page import page, waiting_over_time
from trigpoint_tools.fleet.ready import find, ready
from trigpoint_tools.fleet.result import Result
from trigpoint_tools.fleet.scenario import Scenario

BAD_WEEK = find("bad-week").scaled(12)
RESULT = fake(BAD_WEEK)
VOID = {"meta", "link"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&]]>\x00\x1b[31m\ud800"


class Reader(HTMLParser):
    """Fails on a tag that is not closed in order; keeps tags, ids, and the text of table rows."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "title"):
            self._text.append(data)

    @property
    def text(self) -> str:
        assert not self._open
        return " ".join("".join(self._text).split())


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def card(text: str, title: str) -> str:
    found = re.search(rf'<h3>{re.escape(title)}</h3><p class="figure( good| bad)?">([^<]*)</p>', text)
    assert found, title
    return found[2]


def test_the_totals_are_those_of_the_result() -> None:
    broken = replace(
        RESULT,
        lost=1234,
        duplicated=56,
        in_ram=78,
        declared_lost=91,
        declared_lost_statements=9,
        forged_stored=2,
        clones=3,
        clones_flagged=2,
        wrong=("1234 readings were measured and are not stored",),
    )
    text = page(broken, BAD_WEEK, "again")
    for title, value in (
        ("Measured", broken.measured),
        ("Stored", broken.stored),
        ("In RAM at a power cut", 78),
        ("Declared lost", 91),
        ("Lost", 1234),
        ("Duplicated", 56),
        ("Forgeries stored", 2),
        ("Clones flagged", 2),
        ("Heads anchored", broken.anchors),
        ("Gas of an anchor", broken.gas.anchor_each),
    ):
        assert card(text, title) == f"{value:,}"
    assert "1,234 readings lost, 56 readings duplicated and 2 forgeries stored." in read(text).text
    assert broken.wrong[0] in read(text).text
    assert 'class="verdict broken"' in text


def test_every_fault_is_in_the_log_and_every_bar_leads_to_one() -> None:
    reader = read(page(RESULT, BAD_WEEK, "again"))
    assert len(RESULT.faults) > 50
    assert reader.ids == [f"fault-{fault.number + 1}" for fault in RESULT.faults]
    bars = [link for link in reader.links if link.startswith("#")]
    assert set(bars) == {f"#{name}" for name in reader.ids}
    for fault in RESULT.faults:
        assert words.KINDS[fault.kind] in reader.text
        assert f"{fault.seen:,} {fault.effect}" in reader.text


def test_every_board_has_its_row() -> None:
    rows = ET.fromstring(re.findall(r"<table>.*?</table>", page(RESULT, BAD_WEEK, "again"), re.DOTALL)[0]).findall(
        ".//tr"
    )
    assert len(rows) == BAD_WEEK.count + 1
    for board, row in zip(RESULT.board_results, rows[1:], strict=True):
        cells = ["".join(cell.itertext()) for cell in row]
        assert cells[0].startswith(BAD_WEEK.name_of(board.number))
        assert cells[1:7] == [
            f"{count:,}"
            for count in (
                *(board.measured, board.stored, board.in_ram),
                *(board.declared_lost, board.lost, board.duplicated),
            )
        ]


@pytest.mark.parametrize("scenario", ready(), ids=lambda scenario: scenario.name)
def test_every_picture_of_every_ready_scenario_is_well_formed(scenario: Scenario) -> None:
    text = page(fake(scenario), scenario, "again")
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) >= 9
    for picture in pictures:
        ET.fromstring(picture)


def test_it_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    text = page(RESULT, BAD_WEEK, "again")
    reader = read(text)
    assert not {"script", "img", "iframe", "object", "embed"} & set(reader.tags)
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text)


def test_hostile_names_stay_text() -> None:
    hostile = replace(
        RESULT,
        scenario=HOSTILE,
        about=HOSTILE,
        wrong=(HOSTILE,),
        refused={HOSTILE: 3},
        forged_sent={HOSTILE: 3},
        faults=tuple(replace(fault, effect=HOSTILE) for fault in RESULT.faults),
        board_results=tuple(replace(board, kid=HOSTILE) for board in RESULT.board_results),
    )
    plain, nasty = read(page(RESULT, BAD_WEEK, "again")), read(page(hostile, BAD_WEEK, HOSTILE))
    assert set(nasty.tags) == set(plain.tags) | {"ul"}
    assert nasty.attributes == plain.attributes
    assert "<script>alert(1)</script>" in nasty.text
    page(hostile, BAD_WEEK, HOSTILE).encode()


NUMBERS = st.integers(0, 10**9)


@settings(max_examples=15)
@given(NUMBERS, NUMBERS, NUMBERS, st.text(max_size=30), st.lists(st.text(max_size=30), max_size=3))
def test_any_result_makes_a_page(lost: int, stored: int, in_ram: int, about: str, wrong: list[str]) -> None:
    odd = replace(
        fake(find("first-light")),
        lost=lost,
        stored=stored,
        in_ram=in_ram,
        about=about,
        wrong=tuple(wrong),
        points=(),
        heads=(),
    )
    read(page(odd, find("first-light"), about))


def test_a_verdict_in_words() -> None:
    good = words.verdict(RESULT)
    assert good.held
    assert good.headline == "Nothing lost, nothing doubled."
    assert f"{RESULT.measured:,} readings in 7 days" in good.sentence
    declared = words.verdict(replace(RESULT, declared_lost=3, declared_lost_statements=1))
    assert (declared.held, declared.headline) == (True, "Nothing lost in silence, nothing doubled.")
    for change, said in (
        ({"lost": 1}, "1 reading lost."),
        ({"duplicated": 2}, "2 readings duplicated."),
        ({"forged_stored": 1}, "1 forgery stored."),
        ({"wrong": ("something",)}, "Nothing lost, but something is wrong."),
    ):
        verdict = words.verdict(replace(RESULT, **change))
        assert (verdict.held, verdict.headline) == (False, said)


def test_what_is_declared_lost_or_was_in_ram_waits_no_more() -> None:
    last = RESULT.points[-1]
    gone = replace(last, measured=last.stored + 20 + 30, in_ram_lost=20, declared_lost=3)
    known: Result = replace(RESULT, points=(gone,), declared_lost=30, declared_lost_statements=3)
    assert [value for _, value in waiting_over_time(known)] == [0.0]


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_a_browser_opens_it_without_a_word(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(RESULT, BAD_WEEK, "again"))
    ran = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--enable-logging=stderr", "--v=0", "--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line] == []
    reader = Reader()
    reader.feed(ran.stdout)
    assert len([name for name in reader.ids if name.startswith("fault-")]) == len(RESULT.faults)


def test_the_json_report_is_the_result() -> None:
    said = json.loads(RESULT.to_json())
    assert (said["ok"], said["lost"], said["measured"]) == (True, 0, RESULT.measured)
    assert len(said["board_results"]) == BAD_WEEK.count
    assert [fault["kind"] for fault in said["faults"]] == [str(fault.kind) for fault in RESULT.faults]
