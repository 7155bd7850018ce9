"""Microchip ATECC608A/B over I2C: packets, sleep and time-outs, and the two commands that a running board needs.

Sources: ATECC608A-TNGTLS data sheet DS40002112 (I2C, wake, commands, ECDH), ATECC508A complete data sheet DS20005927
(packets, status codes); execution times as in CryptoAuthLib.

A packet is: count, content, CRC-16; the count includes itself and the CRC. Each use is a session: wake, commands,
sleep. The chip goes to sleep by itself 1.3 s after it woke, whatever it does; every session here ends before that, at
its slowest clock too. What goes wrong on the wire (nobody answers, damaged bytes, watchdog) is tried again, three times
in all; what the chip refuses is not.
"""

import time

from micropython import const

from trig.keys import SignerError

# Word addresses (DS40002112, I/O groups).
_RESET = const(0x00)
_SLEEP = const(0x01)
_COMMAND = const(0x03)

_NONCE = const(0x16)
_RANDOM = const(0x1B)
_GENKEY = const(0x40)
_SIGN = const(0x41)
_ECDH = const(0x43)

_NONCE_PASS_THROUGH = const(0x03)
_SIGN_EXTERNAL = const(0x80)
_ECDH_OUTPUT_CLEAR = const(0x0C)

# The longest time of a command of elliptic curves, opcodes from GenKey on, in ms: it depends on the clock divider
# (ChipMode bits 3 to 7). M0 is full speed; M1 and M2 take less current. All others used here take 23 ms or less.
_CURVE_MS = const((115, 220, 665))
_OTHER_MS = const(23)
_MARGIN_MS = const(50)
_POLL_MS = const(4)

_WAKE_MS = const(3)  # tWHI is 1.5 ms at most
_RETRY_MS = const(50)
_TRIES = const(3)
_READS = const(3)

# Status codes after which the same may succeed: fault in the curve arithmetic, just woken, watchdog about to expire,
# command arrived damaged. The commonest other is 0x0F: the slot's configuration forbids it, or it holds no key.
_TRY_AGAIN = const(b"\x05\x11\xee\xff")


class _LinkError(Exception):
    # What a further try may mend.
    pass


def crc16(data):
    """The CRC-16 of a packet: polynomial 0x8005, the lowest bit of each byte first; sent with its low byte first."""
    register = 0
    for byte in data:
        for _ in range(8):
            feedback = (byte ^ register >> 15) & 1
            register = register << 1 & 0xFFFF
            if feedback:
                register ^= 0x8005
            byte >>= 1
    return register


def unpack(answer, size):
    """The content of a response, ``size`` bytes or a status of one; None if the bytes are no whole packet."""
    count = answer[0]
    if count not in (size + 3, 4) or count > len(answer):
        return None
    crc = crc16(memoryview(answer)[: count - 2])
    if answer[count - 2] != crc & 0xFF or answer[count - 1] != crc >> 8:
        return None
    return answer[1 : count - 2]


class Atecc608:
    """One ATECC608 on an I2C bus of at most 100 kHz, which its wake pulse needs.

    Attributes:
        name: how errors call it.
        clock: its clock mode, 0 to 2 for M0 to M2; the slowest until somebody has looked.
    """

    def __init__(self, bus, address):
        """Take a ``machine.I2C`` and the 7-bit address; nothing is sent yet."""
        self.name = "secure element {:#04x}".format(address)
        self.clock = 2
        self._bus = bus
        self._address = address
        self._out = bytearray(72)
        self._in = bytearray(67)

    def sign(self, slot, digest):
        """Sign 32 bytes: r || s, 64 bytes, s as it comes. Raises SignerError."""
        return self.session(
            # CryptoAuthLib does the same: the seed of the nonces is renewed before each signature.
            (_RANDOM, 0, 0, b"", 32),
            (_NONCE, _NONCE_PASS_THROUGH, 0, digest, 1),
            (_SIGN, _SIGN_EXTERNAL, slot, b"", 64),
        )

    def ecdh(self, slot, x, y):
        """The x coordinate of the slot's private key times a point: 32 bytes. Raises SignerError."""
        return self.session((_ECDH, _ECDH_OUTPUT_CLEAR, slot, x + y, 32))

    def session(self, *commands):
        """Wake the chip, give it commands, and put it to sleep; return the last one's answer.

        Args:
            commands: each (opcode, mode, key id, data, size of its answer, 1 for a status).

        Raises:
            trig.keys.SignerError: it does not answer, refuses, or its answers stay damaged.
        """
        error = None
        for _ in range(_TRIES):
            try:
                self._wake()
                for command in commands:
                    content = self._run(*command)
                return content
            except _LinkError as failure:
                error = failure
                time.sleep_ms(_RETRY_MS)
            finally:
                try:
                    self._word(_SLEEP)
                except _LinkError:
                    pass
        raise SignerError("{}: {}".format(self.name, error))

    def _wake(self):
        # Eight low bits at 100 kHz hold SDA low for 80 us; the chip wants 60 (tWLO). Nobody acknowledges address 0.
        try:
            self._bus.writeto(0, b"\x00")
        except OSError:
            pass
        time.sleep_ms(_WAKE_MS)
        answer = self._read(4)
        if answer != b"\x04\x11\x33\x43":
            # It was awake with something else to say: asleep it forgets that, and the next try finds it so.
            raise _LinkError("woke up with " + answer.hex())

    def _word(self, word):
        self._out[0] = word
        self._write(1)

    def _write(self, size):
        try:
            self._bus.writeto(self._address, memoryview(self._out)[:size])
        except OSError:
            raise _LinkError("no answer on the bus")

    def _read(self, size):
        view = memoryview(self._in)[:size]
        try:
            self._bus.readfrom_into(self._address, view)
        except OSError:
            raise _LinkError("no answer on the bus")
        return bytes(view)

    def _run(self, opcode, mode, key, data, size):
        out = self._out
        count = 7 + len(data)
        out[0] = _COMMAND
        out[1] = count
        out[2] = opcode
        out[3] = mode
        out[4] = key
        out[5] = 0
        out[6 : count - 1] = data
        crc = crc16(memoryview(out)[1 : count - 1])
        out[count - 1] = crc & 0xFF
        out[count] = crc >> 8
        self._write(count + 1)
        limit_ms = _MARGIN_MS + (_CURVE_MS[self.clock] if opcode >= _GENKEY else _OTHER_MS)
        # While it computes, the chip does not acknowledge its address.
        began = time.ticks_ms()
        while True:
            time.sleep_ms(_POLL_MS)
            try:
                answer = self._read(size + 3)
                break
            except _LinkError:
                if time.ticks_diff(time.ticks_ms(), began) > limit_ms:
                    raise _LinkError("no answer within {} ms".format(limit_ms))
        content = unpack(answer, size)
        for _ in range(_READS):
            if content is not None:
                break
            # Damaged on its way: the chip keeps the answer, and tells it again from the start.
            self._word(_RESET)
            content = unpack(self._read(size + 3), size)
        if content is None:
            raise _LinkError("its answers arrive damaged")
        if len(content) == size and (size != 1 or content[0] == 0):
            return content
        text = "command {:#04x} ended with status {:#04x}".format(opcode, content[0])
        if content[0] in _TRY_AGAIN:
            raise _LinkError(text)
        raise SignerError("{}: {}".format(self.name, text))
