"""Deterministic CBOR (RFC 8949 section 4.2.1): a writer into a given buffer and a bounded, strict reader.

Integers of 64 bits, byte strings, text, arrays, maps and tags. No floats, no simple values, no indefinite lengths: the
board has no use for them, and a reader that knows less has less to get wrong.
"""

from micropython import const

_UINT = const(0)
_NINT = const(1)
_BYTES = const(2)
_TEXT = const(3)
_ARRAY = const(4)
_MAP = const(5)
_TAG = const(6)

_KINDS = const(("unsigned integer", "negative integer", "byte string", "text", "array", "map", "tag", "simple value"))


class CborError(ValueError):
    """Bytes that are not the one deterministic encoding expected, or an item that does not fit. Says what and where."""


class Writer:
    """Appends items to a buffer that the caller owns; `length` bytes of it are in use.

    Every method raises CborError if the item does not fit. Whoever writes a map owes the order of its keys.
    """

    def __init__(self, buffer, start=0):
        self.buffer = memoryview(buffer)
        self.length = start

    def raw(self, data):
        """Append bytes that are encoded already."""
        end = self.length + len(data)
        if end > len(self.buffer):
            raise CborError("buffer full at byte %d" % self.length)
        self.buffer[self.length : end] = data
        self.length = end

    def _head(self, major, argument):
        size = 0 if argument < 24 else 1 if argument < 0x100 else 2 if argument < 0x10000 else 4
        if size == 4 and argument > 0xFFFFFFFF:
            size = 8
            if argument > 0xFFFFFFFFFFFFFFFF:
                raise CborError("integer beyond 64 bits")
        at = self.length
        end = at + 1 + size
        buffer = self.buffer
        if end > len(buffer):
            raise CborError("buffer full at byte %d" % at)
        major <<= 5
        if size == 0:
            buffer[at] = major | argument
        elif size == 1:
            buffer[at] = major | 24
            buffer[at + 1] = argument
        elif size == 2:
            buffer[at] = major | 25
            buffer[at + 1] = argument >> 8
            buffer[at + 2] = argument & 0xFF
        else:
            buffer[at] = major | (26 if size == 4 else 27)
            buffer[at + 1 : end] = argument.to_bytes(size, "big")
        self.length = end

    def integer(self, value):
        """Append an integer, -2^64 to 2^64 - 1."""
        if value >= 0:
            self._head(_UINT, value)
        else:
            self._head(_NINT, -1 - value)

    def byte_string(self, data):
        """Append a byte string."""
        self._head(_BYTES, len(data))
        self.raw(data)

    def text(self, string):
        """Append a text string."""
        data = string.encode()
        self._head(_TEXT, len(data))
        self.raw(data)

    def array(self, count):
        """Append the head of an array; the caller then writes `count` items."""
        self._head(_ARRAY, count)

    def map(self, count):
        """Append the head of a map; the caller then writes `count` keys, sorted, each with its value."""
        self._head(_MAP, count)

    def tag(self, number):
        """Append a tag; the caller then writes the item under it."""
        self._head(_TAG, number)

    def open_bytes(self):
        """Begin a byte string whose content is written next. Returns the mark that `close_bytes` wants."""
        mark = self.length
        # Room for the longest head that a statement needs: 0x59 and two bytes.
        self.raw(b"\x59\0\0")
        return mark

    def close_bytes(self, mark):
        """End the byte string begun at `mark`: set its length and close the gap that a shorter head leaves."""
        start = mark + 3
        size = self.length - start
        if size > 0xFFFF:
            raise CborError("byte string longer than 65535")
        self.length = mark
        self._head(_BYTES, size)
        if self.length != start:
            self.buffer[self.length : self.length + size] = self.buffer[start : start + size]
        self.length += size


class Reader:
    """Reads items from bytes of at most `max_size`, one call an item, copying nothing; `at` is the next byte's place.

    Each method reads one item, or one head, of the kind it is named after; it raises CborError if another kind is
    there, if the encoding is not the deterministic one, or if the bytes end early. After an error the reader is of no
    further use.
    """

    def __init__(self, data, max_size=4096):
        if len(data) > max_size:
            raise CborError("longer than %d bytes" % max_size)
        self._data = memoryview(data)
        self.at = 0

    def _head(self, wanted):
        data = self._data
        at = self.at
        if at >= len(data):
            raise CborError("ends early at byte %d" % at)
        first = data[at]
        if first >> 5 != wanted:
            raise CborError("%s at byte %d, want %s" % (_KINDS[first >> 5], at, _KINDS[wanted]))
        argument = first & 0x1F
        at += 1
        if argument >= 24:
            if argument > 27:
                raise CborError("indefinite or reserved length at byte %d" % (at - 1))
            size = 1 << (argument - 24)
            if at + size > len(data):
                raise CborError("ends early at byte %d" % at)
            argument = int.from_bytes(data[at : at + size], "big")
            # The value must need this size: at least 24, 2^8, 2^16 or 2^32.
            if argument < 24 or (size > 1 and argument >> (4 * size) == 0):
                raise CborError("number not in its shortest form at byte %d" % (at - 1))
            at += size
        self.at = at
        return argument

    def _slice(self, size):
        at = self.at
        # Compared this way round because a claimed size can be far beyond what the sum of two small integers holds.
        if size > len(self._data) - at:
            raise CborError("ends early: %d bytes claimed at byte %d" % (size, at))
        self.at = at + size
        return self._data[at : at + size]

    def kind(self):
        """The major type of the next item, 0 to 7, which is not read. Raises CborError at the end."""
        if self.at >= len(self._data):
            raise CborError("ends early at byte %d" % self.at)
        return self._data[self.at] >> 5

    def unsigned(self):
        """An integer, 0 to 2^64 - 1."""
        return self._head(_UINT)

    def integer(self):
        """An integer, -2^64 to 2^64 - 1."""
        if self.kind() == _NINT:
            return -1 - self._head(_NINT)
        return self._head(_UINT)

    def byte_string(self):
        """A byte string, as a memoryview into the input."""
        return self._slice(self._head(_BYTES))

    def text(self):
        """A text string. Raises CborError if it is not UTF-8."""
        at = self.at
        data = self._slice(self._head(_TEXT))
        try:
            string = str(data, "utf-8")
        except ValueError:
            raise CborError("text at byte %d is not UTF-8" % at)
        # MicroPython's decoder lets overlong forms and surrogates pass: count what the characters should have taken.
        size = 0
        for character in string:
            code = ord(character)
            if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
                raise CborError("text at byte %d is not UTF-8" % at)
            size += 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
        if size != len(data):
            raise CborError("text at byte %d is not UTF-8" % at)
        return string

    def array(self):
        """The head of an array: how many items follow."""
        return self._head(_ARRAY)

    def map(self):
        """The head of a map: how many keys with values follow. The caller checks that the keys are those it wants."""
        return self._head(_MAP)

    def tag(self):
        """A tag's number; the item under it follows."""
        return self._head(_TAG)

    def end(self):
        """Raises CborError unless all bytes are read."""
        if self.at != len(self._data):
            raise CborError("%d bytes too many" % (len(self._data) - self.at))
