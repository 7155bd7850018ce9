"""Run the board's code under the real MicroPython from CPython tests.

`run` starts one MicroPython for one piece of code. `BoardProcess` keeps one running and answers calls line by line,
at some thousands a second, so that Hypothesis can drive board code. Both bound the heap as a board's is bounded and put
`device/` on the module path.
"""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent
DEVICE = ROOT / "device"
_BOARD_CODE = Path(__file__).parent / "boardcode"

# The board's half of BoardProcess: one JSON request a line in, one JSON answer a line out.
_SERVER = """
import sys, json

def _unpack(v):
    if isinstance(v, list):
        return [_unpack(i) for i in v]
    if isinstance(v, dict):
        if "b" in v:
            return bytes.fromhex(v["b"])
        return {_unpack(k): _unpack(i) for k, i in v["m"]}
    return v

def _pack(v):
    if isinstance(v, (bytes, bytearray, memoryview)):
        return {"b": bytes(v).hex()}
    if isinstance(v, (list, tuple)):
        return [_pack(i) for i in v]
    if isinstance(v, dict):
        return {"m": [[_pack(k), _pack(i)] for k, i in v.items()]}
    return v

def _find(path):
    module, _, name = path.rpartition(".")
    return getattr(__import__(module, None, None, (name,)), name) if module else globals()[name]

while True:
    _line = sys.stdin.readline()
    if not _line:
        break
    try:
        _request = json.loads(_line)
        if "exec" in _request:
            exec(_request["exec"], globals())
            _answer = {"ok": None}
        else:
            _answer = {"ok": _pack(_find(_request["call"])(*_unpack(_request["args"])))}
    except Exception as _error:
        _answer = {"error": type(_error).__name__, "text": str(_error)}
    print(json.dumps(_answer))
"""


class BoardError(Exception):
    """Board code raised. `kind` is the name of its exception class, `text` its message."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


def _command(heap: str, code: str) -> list[str]:
    # The interpreter lives next to the Python that runs the tests; a newer one on PATH serves where it has no wheel.
    beside = Path(sys.executable).parent / "micropython"
    micropython = str(beside) if beside.exists() else shutil.which("micropython")
    if micropython is None:
        raise FileNotFoundError("micropython is neither beside Python nor on PATH: run `make setup`")
    return [micropython, "-X", f"heapsize={heap}", "-c", code]


def _environment(path: Iterable[str | Path]) -> dict[str, str]:
    folders = [*map(str, path), str(DEVICE), str(_BOARD_CODE), ".frozen"]
    return {**os.environ, "MICROPYPATH": ":".join(folders)}


def run(
    code: str, *, stdin: bytes = b"", heap: str = "160k", path: Iterable[str | Path] = (), timeout: float = 60
) -> str:
    """Run `code` in a fresh MicroPython and return what it printed.

    `path` is searched for modules before `device/`. A non-zero exit raises AssertionError with both outputs.
    """
    done = subprocess.run(
        _command(heap, code),
        input=stdin,
        capture_output=True,
        env=_environment(path),
        timeout=timeout,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        raise AssertionError(
            f"board code exited with {done.returncode}\n{output}{done.stderr.decode(errors='replace')}"
        )
    return output


class BoardProcess:
    """One running MicroPython that answers calls. Use as a context manager.

    Arguments and results are ints, strings, bytes, lists, dicts, booleans and None; tuples come back as lists,
    bytearrays and memoryviews as bytes.
    """

    def __init__(
        self, setup: str = "", *, heap: str = "160k", path: Iterable[str | Path] = (), timeout: float = 30
    ) -> None:
        self._timeout = timeout
        self._process = subprocess.Popen(
            _command(heap, _SERVER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_environment(path),
        )
        self._received = b""
        if setup:
            self.exec(setup)

    def call(self, function: str, *args: object) -> object:
        """Call a function, named by its dotted path (`trig.p256.sign`) or defined by `exec`; raises BoardError."""
        return _from_wire(self._ask({"call": function, "args": _to_wire(args)}))

    def exec(self, code: str) -> None:
        """Run `code` in the process's global names; raises BoardError."""
        self._ask({"exec": code})

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: dict[str, object]) -> object:
        assert self._process.stdin is not None
        line = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        try:
            self._process.stdin.write(line)
        except BrokenPipeError:
            self._died("has ended")
        answer = json.loads(self._read_line())
        if "error" in answer:
            raise BoardError(answer["error"], answer["text"])
        return answer["ok"]

    def _read_line(self) -> bytes:
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        while b"\n" not in self._received:
            if not select.select([stream], [], [], self._timeout)[0]:
                self._died(f"gave no answer within {self._timeout} s")
            piece = os.read(stream, 65536)
            if not piece:
                self._died("ended instead of answering")
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _died(self, how: str) -> None:
        self._process.kill()
        _, errors = self._process.communicate()
        raise AssertionError(f"the board process {how}\n{errors.decode(errors='replace')}")


def _to_wire(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"b": bytes(value).hex()}
    if isinstance(value, list | tuple):
        return [_to_wire(item) for item in value]
    if isinstance(value, dict):
        return {"m": [[_to_wire(key), _to_wire(item)] for key, item in value.items()]}
    return value


def _from_wire(value: object) -> object:
    if isinstance(value, list):
        return [_from_wire(item) for item in value]
    if isinstance(value, dict):
        if "b" in value:
            return bytes.fromhex(value["b"])
        return {_from_wire(key): _from_wire(item) for key, item in value["m"]}
    return value
