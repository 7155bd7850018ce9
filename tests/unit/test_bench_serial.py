"""What is made of the output of mpremote's own test suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from trigpoint_tools.bench.serial import main, parse_suite

_PRINTED = """Using device: /dev/pts/4
./test_errno.sh: OK
./test_resume.sh: FAIL
17c17
< mpremote: no device found
---
> 5
/a/path/test_mount.sh: skip
/a/path/test_fs_tree.sh: CRASH
/a/path/test_unicode.sh: FAIL
28c28
< something else
"""


def test_each_outcome_with_its_reason() -> None:
    outcomes = parse_suite(_PRINTED)
    assert [(outcome.name, outcome.passed) for outcome in outcomes] == [
        ("test_errno", True),
        ("test_resume", False),
        ("test_fs_tree", False),
        ("test_unicode", False),
    ]
    assert outcomes[1].reason == "ends with a connection by USB id, and a pty has none"
    assert outcomes[3].reason == "28c28\n< something else"


def test_what_is_no_checkout_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([""]) == 2
    assert "SUITE=<path>" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 2
    assert "run-mpremote-tests.sh is missing" in capsys.readouterr().out
    script = tmp_path / "tools" / "mpremote" / "tests" / "run-mpremote-tests.sh"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/bash\n")
    assert main([str(tmp_path)]) == 2
    assert "older than its option -t" in capsys.readouterr().out
