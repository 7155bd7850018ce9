"""One board is no "1 boards"."""

import re
from pathlib import Path

import pytest
import trigpoint
from trigpoint.words import counted


@pytest.mark.parametrize(
    ("number", "thing", "said"),
    [(0, "board", "0 boards"), (1, "board", "1 board"), (1_000, "leaf", "1,000 leaves"), (1, "address", "1 address")],
)
def test_a_number_and_its_noun(number, thing, said):
    assert counted(number, thing) == said


def test_no_message_puts_a_bare_number_before_a_plural():
    """In what people read. Parsers' errors are for programs, and rates are no counts."""
    plurals = "boards|statements|leaves|anchors|entries|readings|tiles|pages|addresses"
    bare = re.compile(rf"\{{[^{{}}]*\}} (?:active )?({plurals})\b(?!/s)")
    root = Path(trigpoint.__file__).parent
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for folder in ("audit", "chain", "commands", "doctor", "fsck", ".")
        for path in sorted((root / folder).glob("*.py"))
        for line in path.read_text().splitlines()
        if (told := bare.search(line)) and "counted(" not in told[0] and "per_day" not in told[0]
    ]
    assert found == []
