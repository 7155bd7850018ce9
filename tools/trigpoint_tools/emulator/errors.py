"""What can go wrong with an emulated board."""

from __future__ import annotations


class EmulatorError(Exception):
    """An emulated board cannot be made, started or asked; the message says why and what to do."""


class BoardError(EmulatorError):
    """Code on a board ended badly.

    Attributes:
        output: what the board printed, the traceback included.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(f"{message}\n{output}" if output else message)
        self.output = output


class HardwareError(OSError):
    """The board's code asked its hardware for something that fails; it reaches the board as OSError(code, text)."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
