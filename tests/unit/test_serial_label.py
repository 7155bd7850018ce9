"""Labels."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from trigpoint.errors import OperatorError
from trigpoint_tools.serial import label
from trigpoint_tools.serial.label import Label

PLAIN = Label(bytes(range(32)), 8453, bytes(range(20)), "roofs <north> & south")


def test_what_the_code_holds() -> None:
    kid = bytes(range(32)).hex()
    assert PLAIN.content == f"trigpoint:{kid}?chain=8453&registry=0x{bytes(range(20)).hex()}"
    linked = Label(PLAIN.kid, 1, bytes(20), link="https://example.org/b/{kid}")
    assert linked.content == f"https://example.org/b/{kid}"
    assert "".join(linked.lines) == kid


def test_files(tmp_path: Path) -> None:
    label.save(PLAIN, tmp_path / "labels" / "one.svg")
    text = (tmp_path / "labels" / "one.svg").read_text()
    words = [node.text for node in ElementTree.fromstring(text).iter() if node.tag.endswith("text")]
    assert words == ["roofs <north> & south", PLAIN.kid.hex()[:32], PLAIN.kid.hex()[32:]]
    label.save(PLAIN, tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert PLAIN.kid.hex()[:32] in label.terminal(PLAIN)
    with pytest.raises(OperatorError, match=r"an \.svg or a \.png"):
        label.save(PLAIN, tmp_path / "one.pdf")


def test_links() -> None:
    label.check_link("https://example.org/board/{kid}")
    for link in ("example.org/{kid}", "https://example.org/", "https://example.org/{kid} x", "javascript:{kid}"):
        with pytest.raises(OperatorError, match="no link for a label"):
            label.check_link(link)
