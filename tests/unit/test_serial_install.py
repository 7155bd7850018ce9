"""What is written to a board, in which order, and what is left alone."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.serial.install import application, in_slot, plan, rom

FILES = {"/boot.py": b"b", "/main.py": b"m", "/slots.py": b"s", "/a/trig/app.mpy": b"1", "/a/trig/cbor.mpy": b"2"}


def hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def test_the_loader_comes_last() -> None:
    todo = plan(FILES, "/a", {})
    assert todo.write == ("/a/trig/app.mpy", "/a/trig/cbor.mpy", "/slots.py", "/boot.py", "/main.py")
    assert todo.remove == ()


def test_what_is_there_stays_and_nothing_starts_while_modules_change() -> None:
    there = hashes({**FILES, "/a/trig/app.mpy": b"old"})
    kept = {"/config.json": "", "/journal/0": "", "/b/trig/app.mpy": "", "/a/other": ""}
    todo = plan(FILES, "/a", {**there, **kept, "/a/trig/gone.mpy": "", "/a/trig/app.mpy.new": "", "/main.py.new": ""})
    assert todo.write == ("/a/trig/app.mpy", "/main.py")
    assert todo.remove == ("/main.py", "/a/trig/app.mpy.new", "/a/trig/gone.mpy", "/main.py.new")
    assert plan(FILES, "/a", {**hashes(FILES), **kept}) == plan({}, "/a", {})


def test_with_the_application_in_romfs_its_slot_is_emptied() -> None:
    todo = plan(FILES, "/b", hashes(in_slot(FILES, "/b")) | {"/a/trig/app.mpy": ""}, in_rom=True)
    assert todo.write == ("/main.py",)
    assert todo.remove == ("/main.py", "/b/trig/app.mpy", "/b/trig/cbor.mpy")
    loader = {path: content for path, content in FILES.items() if not path.startswith("/a/")}
    assert plan(FILES, "/b", hashes(loader), in_rom=True) == plan({}, "/a", {})


@given(st.sets(st.sampled_from(sorted(FILES))), st.sampled_from(["/a", "/b"]), st.booleans())
def test_a_second_run_does_what_is_left(done: set[str], slot: str, in_rom: bool) -> None:
    files = in_slot(FILES, slot)
    whole = set(plan(FILES, slot, {}, in_rom=in_rom).write)
    there = set(in_slot(dict.fromkeys(done, b""), slot))
    todo = plan(FILES, slot, hashes({path: files[path] for path in there}), in_rom=in_rom)
    assert (there - set(todo.remove)) | set(todo.write) == whole
    assert set(todo.remove) & set(todo.write) <= {"/main.py"}
    if set(todo.write) - {"/main.py"}:
        assert "/main.py" not in there or todo.remove[0] == "/main.py"
        assert todo.write[-1] == "/main.py"


def test_the_application_is_compiled_and_has_its_start() -> None:
    files = application()
    assert {"/boot.py", "/main.py", "/slots.py", "/a/trig/start.mpy", "/a/trig/enroll.mpy"} <= set(files)
    assert not [path for path in files if path.startswith("/a/") and path.endswith(".py")]
    assert "/b/trig/start.mpy" in in_slot(files, "/b")
    image = rom(files)
    assert image.startswith(b"\xd2\xcd\x31")
    assert all(content in image for path, content in files.items() if path.startswith("/a/"))
    assert len(image) <= 128 * 1024
