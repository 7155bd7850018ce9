"""The terminal between a serial cable and MicroPython's prompt: what has to happen so that the Unix port behaves as a
board does.

The Unix port reads its prompt from a terminal, and shows by that terminal's settings what it does: while it reads, it
has switched the signals of control keys off; while it runs code, they are as it found them. Three things differ from a
board, and are made good here:

- Ctrl-C must interrupt running code. As a signal it may hit any machine instruction, also in the middle of a request
  to the emulated hardware; so it goes over the emulator's wire first, and only code that neither waits nor uses its
  hardware gets the signal.
- Code that came by raw paste runs with the signals off, so what came and went has to be watched.
- At a soft reset (Ctrl-D) the process ends. A board says "MPY: soft reboot", starts again, and stays in the raw mode if
  it was in it, without main.py.

- A board ends its lines with CR and LF, but for bytes that a program writes to `sys.stdout.buffer`. Which of the two it
  is cannot be seen here. So lines get their CR at the friendly prompt, where people read, and not at the raw one; and
  not any more after the byte 0x18, with which each request of mpremote's `mount` begins; nor in an Improv frame.

And the banner names the board, where the Unix port names the compiler that it was built with.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import termios
from collections.abc import Callable
from dataclasses import dataclass

SOFT_REBOOT = b"MPY: soft reboot\r\n"
RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n>"

_PASTE_ACCEPTED = b"R\x01\x80\x00\x01"
_TAIL = 64
_BANNER = re.compile(
    rb'(MicroPython [^\r\n]{0,60}; )[^\r\n]{0,60}(\r\n(?:Type "help\(\)" for|Use Ctrl-D to)[^\r\n]{0,60}\r\n)(?=>>> )'
)
_NAME = b"MicroPython "
_BEGUN_BANNER = re.compile(
    rb"(?:MicroPython [^>]{0,200}>{0,3}|" + b"|".join(_NAME[:end] for end in range(len(_NAME) - 1, 0, -1)) + rb")\Z"
)
_PROMPT = b"\n>>> "
_CTRL_C = b"\x03"
_MOUNT = b"\x18"
_LONE_LF = re.compile(rb"(?<!\r)\n")
_FRAME = b"\nIMPROV\x01"
_FRAME_HEAD = 10  # with its new line, type and length
_PATIENCE_S = 0.4
_BANNER_S = 0.05
_AT_ONCE = 65536


@dataclass
class PromptWatch:
    """Follows the raw prompt from what passes by.

    What a program prints can look like a prompt; so each change of mode counts only after the key that asks for it.

    Attributes:
        raw: whether the prompt is the raw one.
        pasted: whether code that came by raw paste is running.
        prompts: how many prompts, of either kind, have come up.
    """

    raw: bool = False
    pasted: bool = False
    prompts: int = 0
    _wanted: bool | None = None  # which prompt was asked for last: whether the raw one
    _pasting: bool = False
    _tail: bytes = b""

    def typed(self, data: bytes) -> None:
        """Take what goes to the board."""
        if self._pasting:
            if b"\x04" in data:
                self._pasting, self.pasted = False, True
        elif (raw_at := data.rfind(b"\x01")) != (friendly_at := data.rfind(b"\x02")):
            # Both at once, if one program leaves the raw prompt and the next one enters it.
            self._wanted = raw_at > friendly_at

    def printed(self, data: bytes) -> None:
        """Take what the board prints."""
        seen = self._tail + data
        raw_at, friendly_at = seen.rfind(RAW_BANNER), seen.rfind(_PROMPT)
        if raw_at > friendly_at and self._wanted and not self.raw:
            self._now(True)
            seen = seen[raw_at + len(RAW_BANNER) :]
        elif friendly_at >= 0 and (not self.raw or self._wanted is False):
            self._now(False)
            seen = seen[friendly_at + len(_PROMPT) :]
        elif self.raw and not self.pasted and seen.endswith(_PASTE_ACCEPTED):
            self._pasting = True
        elif self.raw and seen.endswith(b"\x04>"):  # stdout, EOT, stderr, EOT, prompt
            self.pasted = False
            self.prompts += 1
        self._tail = seen[-_TAIL:]

    def _now(self, raw: bool) -> None:
        if raw != self.raw:
            self._wanted = None
        self.raw = raw
        self.pasted = self._pasting = False
        self.prompts += 1


@dataclass
class Banner:
    """Puts the board's name into the banner that the friendly prompt begins with.

    Attributes:
        board: the name.
        kept: the end of what was printed, which may be the beginning of a banner.
    """

    board: bytes
    kept: bytes = b""

    def pass_on(self, data: bytes) -> bytes:
        """Take what is printed; return what of it can be shown already."""
        seen = self.kept + data
        whole = list(_BANNER.finditer(seen))
        begun = _BEGUN_BANNER.search(seen, whole[-1].end() if whole else 0)
        at = begun.start() if begun else len(seen)
        shown, self.kept = seen[:at], seen[at:]
        return _BANNER.sub(lambda found: found[1] + self.board + found[2], shown + b">>> ")[:-4] if whole else shown

    def flush(self) -> bytes:
        """Return what was kept: it was no banner."""
        kept, self.kept = self.kept, b""
        return kept


@dataclass
class LineEnds:
    """Puts a CR before each LF that has none."""

    _after_cr: bool = False
    _over: bool = False
    _frame: int = 0  # bytes of an Improv frame that are still to come

    def pass_on(self, data: bytes, *, raw: bool) -> bytes:
        """Take what is printed, and whether the prompt is the raw one; return what is to be shown."""
        shown, data = data[: self._frame], data[self._frame :]
        self._frame -= len(shown)
        while not raw and (at := data.find(_FRAME)) >= 0:
            # A frame is written at once, so its head is whole.
            size = _FRAME_HEAD + sum(data[at + _FRAME_HEAD - 1 : at + _FRAME_HEAD]) + 2
            shown += self._lines(data[:at], raw=raw) + data[at : at + size]
            self._frame = max(0, at + size - len(data))
            data = data[at + size :]
        return shown + self._lines(data, raw=raw)

    def _lines(self, data: bytes, *, raw: bool) -> bytes:
        self._over = self._over or _MOUNT in data
        if not (raw or self._over):
            data = _LONE_LF.sub(b"\r\n", data if not self._after_cr else b"\r" + data)[self._after_cr :]
        self._after_cr = data.endswith(b"\r") if data else self._after_cr
        return data


@dataclass
class _Hidden:
    """Brings a fresh prompt into the raw mode and hides that it was not there from the start.

    Attributes:
        over: whether it is there.
    """

    over: bool = False
    _seen: bytes = b""
    _asked: bool = False

    def pass_on(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what is printed; return what of it is to be shown, and what is to be typed."""
        self._seen += data
        if self._asked:
            if not self._seen.endswith(RAW_BANNER):
                return b"", b""
            self.over = True
            return RAW_BANNER, b""
        banner = _BANNER.search(self._seen)
        if banner and self._seen.endswith(b">>> "):
            shown, self._seen, self._asked = self._seen[: banner.start()].removesuffix(b"\r\n"), b"", True
            return shown, b"\x01"
        begun = _BEGUN_BANNER.search(self._seen)
        at = begun.start() if begun else len(self._seen)
        shown, self._seen = self._seen[:at], self._seen[at:]
        return shown, b""


class Terminal:
    """The board's end of the cable while MicroPython runs. All methods run in the emulator's event loop.

    Args:
        output: takes what the board prints.
        interrupt: raises KeyboardInterrupt where the board's code waits; with True at once, wherever it is.
        heeds: returns whether Ctrl-C is more than a byte to what runs.
        raw: whether the board is to come up with its raw prompt, as after a soft reset from there.
        board: what the banner calls the board.
    """

    def __init__(
        self,
        output: Callable[[bytes], None],
        interrupt: Callable[[bool], None],
        heeds: Callable[[], bool],
        *,
        raw: bool,
        board: str,
    ) -> None:
        self._output = output
        self._heeds = heeds
        self._hidden = _Hidden() if raw else None
        self._interrupt = interrupt
        self._watch = PromptWatch()
        self._line_ends = LineEnds()
        self._banner = Banner(board.encode())
        self._flushes: asyncio.TimerHandle | None = None
        self._over = False
        self._master, self.slave = _open()
        self._keys: asyncio.WriteTransport | None = None
        self._early = b""

    @property
    def raw(self) -> bool:
        """Whether the prompt is the raw one."""
        return self._watch.raw

    async def run(self) -> None:
        """Pass on what is printed until the process that has the slave has ended."""
        os.close(self.slave)
        loop = asyncio.get_running_loop()
        printed = asyncio.StreamReader()
        keys = os.fdopen(os.dup(self._master), "wb", buffering=0)
        self._keys, _ = await loop.connect_write_pipe(asyncio.Protocol, keys)
        screen = os.fdopen(self._master, "rb", buffering=0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(printed), screen)
        if self._early:
            self._keys.write(self._early)
        # At its end a terminal gives no end of file but an I/O error.
        with contextlib.suppress(OSError):
            while data := await printed.read(_AT_ONCE):
                self._watch.printed(data)
                self._show(data)
        self._over = True
        self._keys.close()
        self._flush()

    def type(self, data: bytes) -> None:
        """Take what the host sent. A Ctrl-C interrupts what runs; at the prompt it is a key like others."""
        *before, after = data.split(_CTRL_C)
        for keys in before:
            self._type(keys)
            if self._runs() and self._heeds():
                self._interrupt(False)
                asyncio.get_running_loop().call_later(_PATIENCE_S, self._insist, self._watch.prompts)
            else:
                self._type(_CTRL_C)
        self._type(after)

    def _show(self, data: bytes) -> None:
        if self._hidden is not None:
            data, keys = self._hidden.pass_on(data)
            if self._hidden.over:
                self._hidden = None
            self._type(keys)
        if self._flushes is not None:
            self._flushes.cancel()
        if data := self._line_ends.pass_on(self._banner.pass_on(data), raw=self._watch.raw):
            self._output(data)
        if self._banner.kept:
            self._flushes = asyncio.get_running_loop().call_later(_BANNER_S, self._flush)

    def _flush(self) -> None:
        if data := self._line_ends.pass_on(self._banner.flush(), raw=self._watch.raw):
            self._output(data)

    def _type(self, data: bytes) -> None:
        if not data:
            return
        self._watch.typed(data)
        if self._keys is None:
            self._early += data
        elif not self._keys.is_closing():
            self._keys.write(data)

    def _runs(self) -> bool:
        if self._keys is None:
            return True
        if self._over:
            return False
        with contextlib.suppress(termios.error, OSError):
            return self._watch.pasted or bool(termios.tcgetattr(self._master)[3] & termios.ISIG)
        return False

    def _insist(self, prompts: int) -> None:
        # After a prompt it is other code that runs now, which nobody wanted interrupted.
        if self._watch.prompts == prompts and self._runs():
            self._interrupt(True)


def _open() -> tuple[int, int]:
    """Return master and slave of a terminal that changes no byte and echoes none.

    Its signals are on: that they are off shows that MicroPython reads. But no key makes one: a board's code that has
    switched Ctrl-C off is to get it as a byte like others.
    """
    master, slave = os.openpty()
    settings = termios.tcgetattr(slave)
    settings[0] &= ~(termios.ICRNL | termios.IXON)
    settings[1] &= ~termios.OPOST
    settings[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    for key in (termios.VINTR, termios.VQUIT, termios.VSUSP):
        settings[6][key] = bytes((os.fpathconf(slave, "PC_VDISABLE"),))
    termios.tcsetattr(slave, termios.TCSANOW, settings)
    os.set_blocking(master, False)
    return master, slave
