"""Fails the file-system calls of a gateway, one by one, with strace(1), and sees whether it keeps its word.

A run is always the same: start, take a few statements, publish, stop. A first run, only watched, says which calls there
are; then each of them is made to fail in a run of its own, and after it the gateway must go on as if nothing had been.
strace counts calls for each thread, so "the 7th fdatasync" means that of any thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trigpoint_tools.crash.fleet import Fleet
from trigpoint_tools.crash.site import Site
from trigpoint_tools.crash.starter import Changes, Started

CALLS = (
    *(
        "openat",
        "read",
        "pread64",
        "write",
        "pwrite64",
        "fsync",
        "fdatasync",
        "ftruncate",
        "fallocate",
        "lseek",
        "mmap",
    ),
    *("fcntl", "flock", "newfstatat", "getdents64", "mkdir", "mkdirat", "rename", "renameat", "renameat2"),
    *("unlink", "unlinkat", "rmdir", "link", "linkat"),
)
"""System calls that reach a file system. Not every machine knows all of them."""

GROWING = frozenset(("openat", "write", "pwrite64", "ftruncate", "fallocate", "mkdir", "mkdirat", "rename", "link"))
"""Those that can find the disk full."""

WRITING = frozenset((*GROWING, "fsync", "fdatasync", "unlink", "rmdir"))
"""Those before and after which the disk differs: where a kill is worth trying."""

_ROUNDS = 4
_EACH = 3
_READY_S = 60.0
_ACK_S = 60.0
"""Long, for a traced start takes its time on a busy machine, and SQLite tries for ten seconds to get a lock."""
_ATTACH_S = 10.0
_LINE = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?P<arguments>.*)")


def missing() -> str:
    """Return why system calls cannot be failed on this machine; empty if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed (apt-get install strace)"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "strace may not trace processes here"


@dataclass(frozen=True)
class Fault:
    """A system call to be failed.

    Attributes:
        call: its name.
        number: which one of a thread, from 1.
        how: an errno such as `EIO`, or `KILL` for the end of the process at this call.
    """

    call: str
    number: int
    how: str

    @property
    def expression(self) -> str:
        """What strace is told."""
        what = "signal=KILL" if self.how == "KILL" else f"error={self.how}"
        return f"inject={self.call}:{what}:when={self.number}"

    def __str__(self) -> str:
        """Return a name for a person."""
        return f"{self.how} at {self.call} {self.number}"


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        hit: the call that was failed, as strace shows it; empty if the run made no such call.
        on_data: whether that call was about the gateway's data directory.
        code: the gateway's exit code; -9 if it was killed; None if it did not end when asked to.
        acked: whether all statements of the run were acked.
        said: the last line that the gateway printed.
    """

    hit: str
    on_data: bool
    code: int | None
    acked: bool
    said: str

    @property
    def kept_going(self) -> bool:
        """Whether the gateway came over it by itself."""
        return self.code == 0 and self.acked

    @property
    def gave_up_clearly(self) -> bool:
        """Whether it ended by itself with one line that says what to do."""
        return self.code == 1 and self.said.startswith("error: ") and "unexpected" not in self.said


def calls(site: Site, fleet: Fleet, changes: Changes) -> Counter[str]:
    """Watch a run. Returns, for each call that a thread makes on the data directory, the number of its last one."""
    path = site.directory / "calls.trace"
    gateway = site.start(changes=changes, hold=True)
    with _traced(gateway, path):
        _run(gateway, fleet)
    counted: Counter[tuple[str, str]] = Counter()
    last: Counter[str] = Counter()
    for line in path.read_text(errors="replace").splitlines():
        if match := _LINE.match(line):
            counted[match["thread"], match["call"]] += 1
            if str(site.config.data) in match["arguments"]:
                last[match["call"]] = max(last[match["call"]], counted[match["thread"], match["call"]])
    return last


def trace(site: Site, fleet: Fleet, changes: Changes, wanted: Sequence[str], shown: int = 128) -> str:
    """Watch a run, and return what strace shows of the wanted calls, with so many bytes of what they carry."""
    path = site.directory / "wanted.trace"
    gateway = site.start(changes=changes, hold=True)
    with _traced(gateway, path, wanted=wanted, shown=shown):
        _run(gateway, fleet)
    return path.read_text(errors="replace")


def run(site: Site, fleet: Fleet, fault: Fault, changes: Changes) -> Ending:
    """Run the gateway with one call failed. No process of it is left when this returns."""
    path = site.directory / "fault.trace"
    gateway = site.start(changes=changes, hold=True)
    with _traced(gateway, path, fault):
        code, acked = _run(gateway, fleet)
    hits = [line for line in path.read_text(errors="replace").splitlines() if "(INJECTED)" in line]
    if fault.how == "KILL":  # strace does not mark these: it is the last call of its kind
        hits = [line for line in path.read_text(errors="replace").splitlines() if f" {fault.call}(" in line][-1:]
    said = (gateway.output.strip().splitlines() or [""])[-1]
    return Ending(hits[0] if hits else "", any(str(site.config.data) in line for line in hits), code, acked, said)


def _run(gateway: Started, fleet: Fleet) -> tuple[int | None, bool]:
    """Let a held gateway go, give it something to do, and stop it. Returns its code, and whether all was acked."""
    acked = False
    if gateway.wait_ready(_READY_S):
        for _ in range(_ROUNDS):
            fleet.sign_each(_EACH)
            acked = _wait_acked(gateway, fleet)
            if not acked:
                break
    if acked or gateway.code() is not None:
        return gateway.stop(), acked
    gateway.kill()
    return None, acked


def _wait_acked(gateway: Started, fleet: Fleet) -> bool:
    deadline = time.monotonic() + _ACK_S
    while time.monotonic() < deadline:
        if fleet.settle(0.1):
            return True
        if gateway.code() is not None:
            return False
    return False


@contextmanager
def _traced(
    gateway: Started, trace: Path, fault: Fault | None = None, *, wanted: Sequence[str] = CALLS, shown: int = 0
) -> Iterator[None]:
    """Attach strace to a held gateway, and let it go."""
    # A question mark lets strace pass over a call that this machine does not have.
    command = ["strace", "-f", "-qq", "-y", "-s", str(shown), "-p", str(gateway.pid), "-o", str(trace)]
    command += ["-e", "signal=none", "-e", "trace=" + ",".join(f"?{call}" for call in wanted)]
    if fault is not None:
        command += ["-e", fault.expression]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_traced(gateway.pid)
        gateway.release()
        yield
    finally:
        gateway.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            tracer.wait(_ATTACH_S)
        tracer.kill()
        tracer.wait()


def _wait_traced(pid: int) -> None:
    deadline = time.monotonic() + _ATTACH_S
    while time.monotonic() < deadline:
        if "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.005)
    raise RuntimeError("strace did not attach; may this user trace processes?")
