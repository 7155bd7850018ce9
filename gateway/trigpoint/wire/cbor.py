"""Deterministic CBOR (RFC 8949 section 4.2.1), written and read strictly.

General CBOR libraries accept many spellings of one value, act on tags (dates, regular expressions, MIME
messages) and leave bounds to their callers. The wire has one spelling for each message, three tags and
no floats, so the codec is ours and small. What it accepts re-encodes to the same bytes, always.

Types: int (-2^64 to 2^64 - 1), bytes, str, list, dict, bool, None, Decimal (tag 4) and Tag (17 and 18).
"""

from __future__ import annotations

from dataclasses import dataclass

from trigpoint.wire.errors import WireError

TAG_DECIMAL = 4
TAG_MAC0 = 17
TAG_SIGN1 = 18

_SIMPLE: dict[int, bool | None] = {0xF4: False, 0xF5: True, 0xF6: None}


@dataclass(frozen=True)
class Decimal:
    """A decimal fraction, mantissa * 10 ** exponent, with its digits kept as written (RFC 8949 section 3.4.4)."""

    exponent: int
    mantissa: int


@dataclass(frozen=True)
class Tag:
    """A tagged item: COSE_Mac0 (17) or COSE_Sign1 (18)."""

    number: int
    value: object


def head(major: int, argument: int) -> bytes:
    """Encode the initial byte and shortest argument of an item.

    Args:
        major: major type, 0 to 7.
        argument: 0 to 2^64 - 1.
    """
    if argument < 24:
        return bytes((major << 5 | argument,))
    if argument < 0x100:
        return bytes((major << 5 | 24, argument))
    if argument < 0x10000:
        return bytes((major << 5 | 25,)) + argument.to_bytes(2, "big")
    if argument < 0x1_0000_0000:
        return bytes((major << 5 | 26,)) + argument.to_bytes(4, "big")
    return bytes((major << 5 | 27,)) + argument.to_bytes(8, "big")


def uint_at(data: bytes, position: int) -> tuple[int, int]:
    """Return the unsigned integer that stands at a position, and where it ends; nothing of it is checked.

    Raises:
        IndexError: the data ends before it begins.
    """
    first = data[position]
    if first < 24:
        return first, position + 1
    end = position + 1 + (1 << (first & 0x03))
    return int.from_bytes(data[position + 1 : end], "big"), end


def encode(item: object) -> bytes:
    """Encode one item deterministically.

    Raises:
        WireError: `shape`, for a type that the wire does not have or an integer beyond 64 bits.
    """
    if item is None or isinstance(item, bool):
        return b"\xf6" if item is None else b"\xf5" if item else b"\xf4"
    if isinstance(item, int):
        if not -(1 << 64) <= item < 1 << 64:
            raise WireError("shape", "cbor", f"integer {item.bit_length()} bits long, at most 64 can be written")
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, bytes):
        return head(2, len(item)) + item
    if isinstance(item, str):
        text = item.encode()
        return head(3, len(text)) + text
    if isinstance(item, (list, tuple)):
        return head(4, len(item)) + b"".join(map(encode, item))
    if isinstance(item, dict):
        pairs = sorted((encode(key), encode(value)) for key, value in item.items())
        return head(5, len(pairs)) + b"".join(key + value for key, value in pairs)
    if isinstance(item, Decimal):
        return head(6, TAG_DECIMAL) + encode([item.exponent, item.mantissa])
    if isinstance(item, Tag):
        return head(6, item.number) + encode(item.value)
    raise WireError("shape", "cbor", f"cannot write a {type(item).__name__}")


def decode(data: bytes, *, max_size: int = 16_384, max_depth: int = 8, max_items: int = 4_096) -> object:
    """Decode exactly one deterministically encoded item.

    Args:
        data: the whole encoding; bytes after the item are refused.
        max_size: most bytes accepted.
        max_depth: most arrays, maps and tags inside each other.
        max_items: most items in all, counting keys and values of maps each.

    Raises:
        WireError: `size` if there are none or too many bytes, `shape` for all else. A claimed length is compared
            with the bytes at hand before anything is made from it, so memory is bounded by `max_size`.
    """
    if not 1 <= len(data) <= max_size:
        raise WireError("size", "cbor", f"{len(data)} bytes, 1 to {max_size} allowed")
    reader = _Reader(data, max_depth, max_items)
    item = reader.item(0)
    if reader.position != len(data):
        raise reader.error(f"{len(data) - reader.position} bytes after the end of the item")
    return item


class _Reader:
    """A position in the bytes, and what may still be read."""

    def __init__(self, data: bytes, max_depth: int, max_items: int) -> None:
        self.data = data
        self.position = 0
        self.max_depth = max_depth
        self.items_left = max_items

    def error(self, problem: str) -> WireError:
        return WireError("shape", "cbor", f"{problem} (at byte {self.position})")

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise self.error(f"{count} bytes wanted, {len(self.data) - self.position} left")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise self.error("indefinite or reserved length")
        value = int.from_bytes(self.take(1 << info - 24), "big")
        if value < (24, 0x100, 0x10000, 0x1_0000_0000)[info - 24]:
            raise self.error("number or length not in its shortest form")
        return value

    def item(self, depth: int) -> object:
        self.items_left -= 1
        if self.items_left < 0:
            raise self.error("too many items")
        initial = self.take(1)[0]
        major = initial >> 5
        if major == 7:
            if initial not in _SIMPLE:
                raise self.error(f"simple value or float 0x{initial:02x}, which the wire does not have")
            return _SIMPLE[initial]
        value = self.argument(initial & 0x1F)
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major == 2:
            return self.take(value)
        if major == 3:
            try:
                return self.take(value).decode()
            except UnicodeDecodeError:
                raise self.error("text that is not UTF-8") from None
        if depth >= self.max_depth:
            raise self.error(f"nested deeper than {self.max_depth}")
        if major == 4:
            return self.array(value, depth + 1)
        if major == 5:
            return self.map(value, depth + 1)
        return self.tag(value, depth + 1)

    def array(self, count: int, depth: int) -> list[object]:
        if count > len(self.data) - self.position:
            raise self.error(f"array of {count} items in {len(self.data) - self.position} bytes")
        return [self.item(depth) for _ in range(count)]

    def map(self, count: int, depth: int) -> dict[object, object]:
        if 2 * count > len(self.data) - self.position:
            raise self.error(f"map of {count} pairs in {len(self.data) - self.position} bytes")
        pairs: dict[object, object] = {}
        last = b""
        for _ in range(count):
            start = self.position
            key = self.item(depth)
            if isinstance(key, bool) or not isinstance(key, (int, str, bytes)):
                raise self.error("map key is not an integer, text or byte string")
            encoded = self.data[start : self.position]
            if encoded <= last:
                raise self.error("map keys out of order or twice")
            last = encoded
            pairs[key] = self.item(depth)
        return pairs

    def tag(self, number: int, depth: int) -> object:
        if number in (TAG_MAC0, TAG_SIGN1):
            return Tag(number, self.item(depth))
        if number != TAG_DECIMAL:
            raise self.error(f"tag {number}, which the wire does not have")
        pair = self.item(depth)
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(part) is int for part in pair):
            raise self.error("decimal fraction is not [exponent, mantissa], both integers")
        return Decimal(exponent=pair[0], mantissa=pair[1])
