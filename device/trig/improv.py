"""Improv Serial (https://www.improv-wifi.com/serial/): the frames, without a port under them.

    "IMPROV" | version 1 | type | length | data | checksum

The checksum is the low byte of the sum of all bytes before it. A command's data is its number, the length of what
follows, and that; a result's is the same with a list of texts, each after its length.

A frame shares the console with people and with mpremote. Every command holds the byte 3, which is its type, and outside
a frame 3 is Ctrl-C. So the console's own Ctrl-C has to be off while frames are read, and the parser says which it was.
"""

from micropython import const

# What Parser.feed returns.
NOTHING = const(0)
COMMAND = const(1)
INVALID = const(2)
CTRL_C = const(3)

# Types of frames that are known here.
RPC = const(3)
_RESULT = const(4)

HEADER = b"IMPROV\x01"
_TYPE = const(7)
_LENGTH = const(8)
_DATA = const(9)
_SKIP = const(-1)
_MAX_DATA = const(255)


class Parser:
    """Finds frames among the bytes of a console. It allocates nothing after it was made.

    Attributes:
        data: buffer that begins with the newest frame's data, after COMMAND until the next byte is fed.
        length: how many bytes of it that are.
    """

    def __init__(self):
        """Begin between two frames."""
        self.data = bytearray(_MAX_DATA)
        self.reset()

    def reset(self):
        """Forget a frame that has begun: there was silence in the middle of it."""
        self._at = 0
        self._sum = 0
        self._type = 0
        self.length = 0

    def feed(self, byte):
        """Take one byte, 0 to 255.

        Returns:
            COMMAND at the end of a command, INVALID at the end or at the first sign of a bad one, CTRL_C for that key
            between frames, else NOTHING. Of a bad frame the rest is passed over up to a new line or to ``reset``.
        """
        at = self._at
        if at < _TYPE:
            return self._begin(at, byte)
        self._at = at + 1
        if at == _DATA + self.length:
            good = self._sum & 255 == byte
            kind = self._type
            self._at = self._sum = 0
            if kind != RPC:
                return NOTHING
            return COMMAND if good else INVALID
        self._sum += byte
        if at == _TYPE:
            self._type = byte
        elif at == _LENGTH:
            self.length = byte
            if self._type == RPC and byte < 2:
                return self._invalid()
        else:
            self.data[at - _DATA] = byte
            if at == _DATA + 1 and self._type == RPC and byte != self.length - 2:
                return self._invalid()
        return NOTHING

    def _begin(self, at, byte):
        if at == _SKIP:
            if byte == 10:
                self._at = 0
        elif byte == HEADER[at]:
            self._at = at + 1
            self._sum += byte
        else:
            # The header has its first letter only once, so nothing of what was seen can begin another.
            self._at = self._sum = 0
            if byte == HEADER[0]:
                return self._begin(0, byte)
            if byte == 3:
                return CTRL_C
        return NOTHING

    def _invalid(self):
        self._at = _SKIP
        self._sum = 0
        return INVALID


def settings(data):
    """Return network and password of what a command with settings carries, None if they cannot be ones.

    Args:
        data: what follows the command's length: network and password, each after its length in bytes.
    """
    fields = []
    at = 0
    for _ in range(2):
        if at >= len(data):
            return None
        end = at + 1 + data[at]
        if end > len(data):
            return None
        try:
            fields.append(str(bytes(data[at + 1 : end]), "utf-8"))
        except ValueError:
            return None
        at = end
    ssid, password = fields
    if at != len(data) or not 1 <= len(ssid.encode()) <= 32:
        return None
    if password and not 8 <= len(password.encode()) <= 64:
        return None
    return ssid, password


def frame(kind, data):
    """Return a frame of at most 255 bytes of data, as a line of its own whatever stood before it."""
    head = HEADER + bytes((kind, len(data)))
    return b"\n" + head + data + bytes(((sum(head) + sum(data)) & 255, 10))


def result(command, texts=()):
    """Return the frame that answers a command with texts, together at most 253 bytes with a length for each."""
    data = b""
    for text in texts:
        text = text.encode()
        data += bytes((len(text),)) + text
    return frame(_RESULT, bytes((command, len(data))) + data)
