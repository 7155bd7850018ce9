"""Whole CBOR values on the board, for tests: the board itself reads and writes item by item (trig.cbor)."""

from trig.cbor import CborError, Reader, Writer

_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(7)


class Tagged:
    """A value under a CBOR tag."""

    def __init__(self, tag, value):
        self.tag = tag
        self.value = value


class ValueWriter(Writer):
    """Writes values."""

    def value(self, value):
        """Append an int, bytes, str, list, tuple, dict or Tagged with all it holds; the keys of a dict are sorted."""
        if isinstance(value, int):  # which a bool is not, in MicroPython
            self.integer(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.byte_string(value)
        elif isinstance(value, str):
            self.text(value)
        elif isinstance(value, (list, tuple)):
            self.array(len(value))
            for item in value:
                self.value(item)
        elif isinstance(value, dict):
            self.map(len(value))
            for encoded, key in sorted([(_encode_key(key), key) for key in value]):
                self.raw(encoded)
                self.value(value[key])
        elif isinstance(value, Tagged):
            self.tag(value.tag)
            self.value(value.value)
        else:
            raise CborError("no encoding for " + type(value).__name__)


def _encode_key(key):
    if not isinstance(key, (int, str, bytes)):
        raise CborError("no encoding for a map key that is " + type(key).__name__)
    return encode(key, 9 if isinstance(key, int) else 9 + 4 * len(key))


def encode(value, limit=4096):
    """The encoding of a value (see Writer.value), at most `limit` bytes. Raises CborError."""
    writer = ValueWriter(bytearray(limit))
    writer.value(value)
    return bytes(writer.buffer[: writer.length])


class ValueReader(Reader):
    """Reads values."""

    def value(self, max_depth, max_items):
        """Any item as int, bytes, str, list, dict or Tagged, `max_depth` deep and of `max_items` in all at most."""
        return self._value(max_depth, [max_items])

    def _value(self, depth, left):
        at = self.at
        kind = self.kind()
        left[0] -= 1
        if left[0] < 0:
            raise CborError(f"too many items at byte {at}")
        if kind in {_UINT, _NINT}:
            return self.integer()
        if kind == _BYTES:
            return bytes(self.byte_string())
        if kind == _TEXT:
            return self.text()
        if kind > _TAG:
            raise CborError(f"simple value or float at byte {at}")
        if depth <= 0:
            raise CborError(f"too deep at byte {at}")
        count = self._head(kind)
        if kind == _TAG:
            return Tagged(count, self._value(depth - 1, left))
        if count > left[0]:
            raise CborError(f"too many items at byte {at}")
        if kind == _MAP:
            return self._map(count, depth, left)
        # No comprehension: it would make a closure's cells out of this method's variables, on every call.
        items = []
        for _ in range(count):
            items.append(self._value(depth - 1, left))
        return items

    def _map(self, count, depth, left):
        result = {}
        last = b""
        for _ in range(count):
            at = self.at
            if self.kind() > _TEXT:
                raise CborError(f"map key at byte {at} is neither number nor string")
            key = self._value(depth - 1, left)
            encoded = bytes(self._data[at : self.at])
            if encoded <= last:
                raise CborError(f"map key at byte {at} is out of order or twice there")
            last = encoded
            result[key] = self._value(depth - 1, left)
        return result


def decode(data, max_size=4096, max_depth=8, max_items=512):
    """The one item that `data` encodes (see Reader.value). Raises CborError, also if bytes follow it."""
    reader = ValueReader(data, max_size)
    value = reader.value(max_depth, max_items)
    reader.end()
    return value
