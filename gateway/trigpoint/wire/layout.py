"""Messages that differ in nothing but their numbers, read without being parsed again.

A board sends the same message again and again with other values in it. Once one has been parsed it is known where its
numbers are, and the next of that layout is read by a few operations on the whole of it, taken as one large integer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Generic, NamedTuple, TypeVar

_T = TypeVar("_T")

# By the bytes that an argument has beside the first byte of its integer (RFC 8949 section 4.2.1).
_CODES = {0: "B", 1: "B", 2: "H", 4: "I", 8: "Q"}
_LEAST = {0: 0, 1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}
_MOST = {0: 23, 1: (1 << 8) - 1, 2: (1 << 16) - 1, 4: (1 << 32) - 1, 8: (1 << 64) - 1}

_LEARNED_ONE_IN = 32
_KEPT = 128
_KEPT_OF_A_LENGTH = 8


class Number(NamedTuple):
    """Where an integer stands in a message, and what its argument may be.

    Attributes:
        start: of its first byte, which holds major type and length.
        stop: behind its last byte.
        least: lowest argument that is allowed there.
        most: highest argument that is allowed there.
    """

    start: int
    stop: int
    least: int
    most: int


class Layout:
    """All messages that are like one in every byte, but for the arguments of these integers and for some free bytes.

    An integer keeps its length and its sign from one to the next.

    Args:
        example: a message that is allowed.
        numbers: its integers, in their order.
        free: begin and end of what may be anything.

    Attributes:
        size: bytes of a message.
    """

    def __init__(self, example: bytes, numbers: Sequence[Number], free: Iterable[tuple[int, int]]) -> None:
        self.size = size = len(example)
        fixed, arguments = bytearray(b"\xff" * size), bytearray(size)
        for start, stop in free:
            fixed[start:stop] = bytes(stop - start)
        self._below = self._above = self._carries = 0
        end, format_ = 0, ">"
        for start, stop, least, most in numbers:
            length = stop - start - 1
            at = start + 1 if length else start  # an argument below 24 stands in the first byte, beside the major type
            fixed[at:stop], arguments[at:stop] = (bytes(length), b"\xff" * length) if length else (b"\xe0", b"\x1f")
            bits, shift = 8 * length or 5, 8 * (size - stop)
            # Added to an argument, the first carries out of it if that is at least the least, the second if it is
            # more than the most.
            self._below |= (1 << bits) - max(least, _LEAST[length]) << shift
            self._above |= (1 << bits) - 1 - min(most, _MOST[length]) << shift
            self._carries |= 1 << bits + shift
            format_ += f"{at - end}x{_CODES[length]}"
            end = stop
        self._fixed, self._arguments = int.from_bytes(fixed, "big"), int.from_bytes(arguments, "big")
        self._constant = int.from_bytes(example, "big") & self._fixed
        self._struct = Struct(f"{format_}{size - end}x")
        self._negative = [place for place, number in enumerate(numbers) if example[number.start] & 0x20]

    def read(self, message: int) -> Sequence[int] | None:
        """Return the values of the integers; None if the message is not of this layout.

        Args:
            message: as many bytes as the example has, big-endian.
        """
        if message & self._fixed != self._constant:
            return None
        # All bounds at once: what an argument carries goes to the bit above it, which is zero here, and no further.
        arguments, carries = message & self._arguments, self._carries
        if (arguments + self._below) & carries != carries or (arguments + self._above) & carries:
            return None
        values = self._struct.unpack(arguments.to_bytes(self.size, "big"))
        if not self._negative:
            return values
        signed = list(values)
        for place in self._negative:
            signed[place] = ~signed[place]
        return signed


class Layouts(Generic[_T]):
    """The layouts that are met again and again, each with what else is known of its messages.

    Of messages of no known layout one in 32 is learned from. So what is frequent is soon known, and what is rare,
    perhaps on purpose, costs little. And only so many layouts are kept, of one length and in all.
    """

    def __init__(self) -> None:
        self._of_length: dict[int, tuple[tuple[Layout, _T], ...]] = {}
        self._learned = 0
        self._unknown = 0

    def read(self, raw: bytes) -> tuple[Sequence[int], _T] | None:
        """Return the values of a message's integers, and what was learned with its layout; None if that is unknown."""
        known = self._of_length.get(len(raw))
        if known is not None:
            message = int.from_bytes(raw, "big")
            for layout, more in known:
                values = layout.read(message)
                if values is not None:
                    return values, more
        return None

    def is_worth_learning(self) -> bool:
        """Tell whether to learn from a message whose layout is not known."""
        self._unknown += 1
        return self._unknown % _LEARNED_ONE_IN == 0

    def learn(self, layout: Layout, more: _T) -> None:
        """Keep a layout, with what shall be known of its messages."""
        if self._learned >= _KEPT:  # not ==, for threads that learn at once may count past it
            self._of_length, self._learned = {}, 0
        others = self._of_length.get(layout.size, ())
        self._of_length[layout.size] = ((layout, more), *others[: _KEPT_OF_A_LENGTH - 1])
        self._learned += 1
