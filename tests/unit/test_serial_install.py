"""What is written to a board, in which order, and what is left alone."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.serial.install import application, in_slot, plan

FILES = {"/boot.py": b"b", "/main.py": b"m", "/slots.py": b"s", "/a/trig/app.mpy": b"1", "/a/trig/cbor.mpy": b"2"}


def hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def test_the_loader_comes_last() -> None:
    todo = plan(FILES, {})
    assert todo.write == ("/a/trig/app.mpy", "/a/trig/cbor.mpy", "/slots.py", "/boot.py", "/main.py")
    assert todo.remove == ()


def test_what_is_there_stays() -> None:
    there = hashes({**FILES, "/a/trig/app.mpy": b"old"})
    kept = {"/config.json": "", "/journal/0": "", "/b/trig/app.mpy": "", "/a/other": ""}
    todo = plan(FILES, {**there, **kept, "/a/trig/gone.mpy": "", "/a/trig/app.mpy.new": ""})
    assert todo.write == ("/a/trig/app.mpy",)
    assert todo.remove == ("/a/trig/app.mpy.new", "/a/trig/gone.mpy")


@given(st.sets(st.sampled_from(sorted(FILES))), st.sampled_from(["/a", "/b"]))
def test_a_second_run_does_what_is_left(done: set[str], slot: str) -> None:
    files = in_slot(FILES, slot)
    written = {path for path in plan(files, {}).write if path in done}
    todo = plan(files, hashes({path: files[path] for path in written}))
    assert set(todo.write) | written == set(files)
    assert not set(todo.write) & written


def test_the_application_is_compiled_and_has_its_start() -> None:
    files = application()
    assert {"/boot.py", "/main.py", "/slots.py", "/a/trig/start.mpy", "/a/trig/enroll.mpy"} <= set(files)
    assert not [path for path in files if path.startswith("/a/") and path.endswith(".py")]
    assert "/b/trig/start.mpy" in in_slot(files, "/b")
