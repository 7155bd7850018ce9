"""SenML packs in CBOR (RFC 8428) within the bounds of the protocol, section 4. Integers only."""

from array import array

from micropython import const

MAX_SIZE = const(3900)  # bytes of a pack: what a statement of 4,096 has room for
_MAX_RECORDS = const(255)
_READING = const(21)  # bytes beside the texts at most: map head 1, labels 4, text heads 3, value 8, time 5
_HEAD = const(12)  # the array's head and the first record's base time, at their longest
_MAX_SPAN = const(0x0FFFFFFF)  # seconds between a pack's first and last reading, 2^28 - 1
_MIN_BASE = const(0x10000000)  # RFC 8428 section 4.5.3: times below 2^28 are relative
_MAX_MANTISSA = const(0x7FFFFFFF)
_MAX_TEXT = const(64)
_MAX_UNIT = const(16)
_MIN_EXPONENT = const(-18)

_N = const(0)
_U = const(1)
_V = const(2)
_T = const(6)
_BT = const(-3)
_DECIMAL_FRACTION = const(4)


class SenmlError(ValueError):
    """A reading outside the protocol's bounds, or times that cannot be written. Names the field."""


class PackFull(SenmlError):
    """No room for one more reading: encode and clear the pack, then add it again."""


def _check_name(name):
    if not 1 <= len(name) <= _MAX_TEXT:
        raise SenmlError("name is not 1 to 64 characters")
    for i in range(len(name)):
        character = name[i]
        if "a" <= character <= "z" or "A" <= character <= "Z" or "0" <= character <= "9":
            continue
        if i == 0 or character not in "-:./_":
            raise SenmlError("name has a character that SenML forbids there")


def _check_unit(unit):
    if not 1 <= len(unit) <= _MAX_UNIT:
        raise SenmlError("unit is not 1 to 16 characters")
    for character in unit:
        if not " " <= character <= "~":
            raise SenmlError("unit is not printable ASCII")


def room(channels, samples):
    """Return (readings, encoded bytes at most) of so many samples of all channels, bounded as a pack is.

    ``channels``: (name, unit, exponent) of each.
    """
    size = 0
    for name, unit, _ in channels:
        size += len(name) + len(unit) + _READING
    return max(1, min(_MAX_RECORDS, len(channels) * samples)), min(MAX_SIZE, _HEAD + size * samples)


class Pack:
    """The readings of one statement, kept until it is signed.

    Times are whole seconds on any count that never runs back (the board's own, not the wall clock), so that a clock set
    between two readings moves neither.
    """

    def __init__(self, capacity=_MAX_RECORDS, max_size=MAX_SIZE):
        """Hold up to ``capacity`` readings, that take up to ``max_size`` bytes encoded."""
        if not 1 <= capacity <= _MAX_RECORDS:
            raise SenmlError("capacity is not 1 to 255")
        # A board has few channels and many readings: lists of texts for each would be the largest things on the heap.
        self._kinds = []
        self._kind = bytearray(capacity)
        self._mantissas = array("i", bytes(4 * capacity))
        self._exponents = array("b", bytes(capacity))
        self._times = array("i", bytes(4 * capacity))
        self._max_size = max_size
        self.clear()

    def clear(self):
        """Forget all readings."""
        self._kinds.clear()
        self.count = 0
        self.first_time = 0
        self._size = _HEAD

    def __len__(self):
        return self.count

    def add(self, name, unit, mantissa, exponent, time):
        """Add the reading mantissa * 10^exponent. `time` is not before that of the reading added last.

        Raises PackFull if there is no room and SenmlError if a field is out of bounds; either way nothing changes.
        """
        _check_name(name)
        _check_unit(unit)
        if not -_MAX_MANTISSA <= mantissa <= _MAX_MANTISSA:
            raise SenmlError("mantissa does not fit 32 bits")
        if not _MIN_EXPONENT <= exponent <= 0:
            raise SenmlError("exponent is not -18 to 0")
        count = self.count
        offset = time - self.first_time if count else 0
        if offset < (self._times[count - 1] if count else 0):
            raise SenmlError("time runs back")
        size = self._size + len(name) + len(unit) + _READING
        if count == len(self._kind) or size > self._max_size or offset > _MAX_SPAN:
            raise PackFull("pack holds %d readings" % count)
        if not count:
            self.first_time = time
        kinds = self._kinds
        kind = 0
        while kind < len(kinds) and kinds[kind] != (name, unit):
            kind += 1
        if kind == len(kinds):
            kinds.append((name, unit))
        self._kind[count] = kind
        self._mantissas[count] = mantissa
        self._exponents[count] = exponent
        self._times[count] = offset
        self._size = size
        self.count = count + 1

    def encode(self, writer, base_time, now=None):
        """Write the pack. Raises SenmlError if the times cannot be written, CborError if the writer's buffer is full.

        With a clock: `base_time` is the first reading's time, seconds since 1970. Without: `base_time` is None and
        `now` is the moment of signing on the count that the readings' times are on.
        """
        count = self.count
        if not count:
            raise SenmlError("pack is empty")
        shift = 0
        if base_time is None:
            shift = self.first_time - now
            if not -_MAX_SPAN <= shift <= -self._times[count - 1]:
                raise SenmlError("now is before a reading's time or too long after it")
        elif base_time < _MIN_BASE or base_time >> 33:
            raise SenmlError("base time is not between 2^28 and 2^33")
        writer.array(count)
        for i in range(count):
            time = self._times[i] + shift
            based = i == 0 and base_time is not None
            writer.map(3 + (time != 0) + based)
            writer.integer(_N)
            name, unit = self._kinds[self._kind[i]]
            writer.text(name)
            writer.integer(_U)
            writer.text(unit)
            writer.integer(_V)
            if self._exponents[i]:
                writer.tag(_DECIMAL_FRACTION)
                writer.array(2)
                writer.integer(self._exponents[i])
            writer.integer(self._mantissas[i])
            if time:
                writer.integer(_T)
                writer.integer(time)
            if based:
                writer.integer(_BT)
                writer.integer(base_time)
