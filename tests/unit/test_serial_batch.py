"""A box of boards: what a list may say, and how a run goes on after it was cut short."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.errors import OperatorError
from trigpoint_tools.serial import batch
from trigpoint_tools.serial.batch import Outcome, Results, Row


def test_a_list() -> None:
    rows = batch.parse("mac, sensors,owner\n24:0A:C4:00:00:01,bme280 ds18b20,0xab\n24:0a:c4:00:00:02,,\n", "boards.csv")
    assert rows == [
        Row(mac="24:0a:c4:00:00:01", sensors="bme280 ds18b20", owner="0xab"),
        Row(mac="24:0a:c4:00:00:02"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "neither port nor mac"),
        ("port\n", "lists no board"),
        ("sensors\nbme280\n", "neither port nor mac"),
        ("port,colour\na,b\n", "no column 'colour' is known; known are port, mac"),
        ("port,port\na,b\n", "twice"),
        ("port,wifi_password\na,b\n", "would hold a secret"),
        ("port,psk\na,b\n", "would hold a secret"),
        ("port\na,b\n", "line 2: more values than columns"),
        ("port,mac\na,\n,\n", "line 3: neither port nor mac"),
        ("port\na\nb\na\n", "line 4: a is in line 2 already"),
        ("mac\n24:0a:c4\n", "line 2: '24:0a:c4' is not a MAC address"),
    ],
)
def test_what_is_wrong_with_a_list(text: str, said: str) -> None:
    with pytest.raises(OperatorError, match=said):
        batch.parse(text, "boards.csv")


@given(st.text(max_size=200))
def test_any_text_is_taken_or_refused(text: str) -> None:
    for content in (text, "port,wifi\n" + text):
        try:
            rows = batch.parse(content, "boards.csv")
        except OperatorError:
            continue
        assert rows and all(row.name for row in rows)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot read"):
        batch.read(tmp_path / "nothing.csv")
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(OperatorError, match="not UTF-8"):
        batch.read(tmp_path / "bad.csv")


ROWS = [Row(port=f"/dev/ttyUSB{number}") for number in range(3)]


def test_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    first = Results(path)
    assert first.left(ROWS) == ROWS
    first.add(Outcome(ROWS[0].name, "enrolled", "ab" * 32, "0x1", "0x2"))
    first.add(Outcome(ROWS[1].name, "failed", error='busy, "close" it'))
    second = Results(path)
    assert second.left(ROWS) == [ROWS[1], ROWS[2]]
    second.add(Outcome(ROWS[1].name, "enrolled", "cd" * 32))
    third = Results(path)
    assert third.left(ROWS) == [ROWS[2]]
    assert third.of(ROWS[1]) == Outcome(ROWS[1].name, "enrolled", "cd" * 32)
    assert path.read_text().splitlines()[0] == "board,status,kid,owner,transaction,error"
    assert len(path.read_text().splitlines()) == 4


def test_wherever_a_line_was_cut_the_rest_holds(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results = Results(path)
    for number, row in enumerate(ROWS):
        results.add(Outcome(row.name, "enrolled", f"{number:064x}"))
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        again = Results(path)
        done = max(0, sum(end <= cut for end in ends) - 1)
        assert again.left(ROWS) == ROWS[done:]
        for row in again.left(ROWS):
            again.add(Outcome(row.name, "enrolled", f"{ROWS.index(row):064x}"))
        assert path.read_bytes() == whole


@given(st.text(max_size=40), st.sampled_from(["", "=", "+", "-", "@", "\t=", "\r+", "'", "'="]))
def test_no_result_is_a_formula(tmp_path_factory: pytest.TempPathFactory, text: str, first: str) -> None:
    path = tmp_path_factory.mktemp("results") / "results.csv"
    outcome = Outcome("board", "failed", error=" ".join((first + text).split()))
    Results(path).add(replace(outcome, error=first + text))
    with path.open(newline="", encoding="utf-8") as file:
        (cells,) = list(csv.DictReader(file))
    assert not cells["error"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert Results(path).of(Row(port="board")) == outcome


def test_another_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("my,own\nfile,here\n")
    with pytest.raises(OperatorError, match="holds no results"):
        Results(path)
    assert path.read_text() == "my,own\nfile,here\n"
