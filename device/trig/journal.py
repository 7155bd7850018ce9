"""The statements that the gateway has not yet said it keeps, on flash.

A journal is a folder of append-only segment files, ``00000000.seg``, ``00000001.seg`` and so on. Little-endian:

    segment header, 80 bytes   "TRJ1", first seq u32, first unacked seq u32, kid 32, prev 32, crc32 of the rest u32;
                               then the same again
    record                     head, statement, tail
    head or tail, 44 bytes     "TR" or "RT", length u16, seq u32, SHA-256 of the statement 32, crc32 of the rest u32
    ack mark                   a head of length 0, whose seq is the acked one; no tail

A record counts once its file is closed: littlefs makes that one atomic step, so a torn one is never seen there. The
hash is what the next statement calls ``prev``: a start-up reads heads alone. Head and tail say the same, so flipped
bits cost one statement and never its seq, which may have been published. A segment's header repeats where the chain
stands, so segments can go without taking the next seq and prev with them; it is there twice, for flipped bits in the
only one would cost the board its key.

Wear: to append, littlefs takes a fresh block and copies the last one's beginning into it, so a statement erases one
block of 4,096 bytes and a little for the directory, and its ack mark as much again. littlefs takes blocks in turn
from all that are free. Measured with ``python -m trigpoint_tools.bench``: journal_erased_bytes_per_statement.

A journal without a segment of this key is no journal: the caller must make a new key (docs/protocol.md, section 3).
"""

import os
import struct
from binascii import crc32
from hashlib import sha256

from micropython import const

_SEGMENT_BYTES = const(16384)
_SEGMENTS = const(16)
_MAX_BODY = const(4096)

_SEGMENT = const("<4sII32s32sI")
_SEGMENT_HEADER = const(80)
_SEGMENT_COPIES = const(2)
_SEGMENT_START = const(160)  # where its first record begins
_MARK = const("<2sHI32sI")
_MARK_BYTES = const(44)
_RECORD_OVERHEAD = const(88)
_SEGMENT_MAGIC = const(b"TRJ1")
_HEAD = const(b"TR")
_TAIL = const(b"RT")
_PIECE = const(512)

ZEROS = bytes(32)


class JournalError(Exception):
    """A statement that cannot be read back or taken in; the message says which and why."""


class Journal:
    """The board's memory of what it has signed.

    Attributes:
        next_seq: seq of the next statement.
        prev: 32 bytes, hash of the newest statement, zeros before the first.
        acked: the highest seq acked, -1 before the first ack.
        damaged: records found unreadable since start.
        dropped: statements given up unacked since start, because the journal was full or they were damaged.
    """

    def __init__(self, directory, kid, segment_bytes=_SEGMENT_BYTES, segments=_SEGMENTS):
        """Bind to a folder and a board id; nothing is read until ``recover`` or ``create``.

        Args:
            directory: the folder, made by ``create``.
            kid: the board id, 32 bytes.
            segment_bytes: where a segment ends; holds at least one statement of the largest size.
            segments: how many segments there may be, at least 2.
        """
        self._directory = directory
        self._kid = kid
        self._segment_bytes = segment_bytes
        self._max_segments = segments
        self._header = bytearray(_SEGMENT_HEADER)
        self._piece = memoryview(bytearray(_PIECE))
        self.damaged = 0
        self.dropped = 0
        self._clear()

    def _clear(self):
        self._numbers = []  # segment numbers, oldest first
        self._firsts = []  # the first seq that each may hold
        self._size = 0  # of the newest segment
        self._sealed = False  # the newest segment holds something unreadable: go on in a new one
        self._doubtful = False  # a write was broken off: flash knows better than we do
        self._cursor_seq = -1
        self._cursor_number = 0
        self._cursor_offset = 0
        self._lost_below = 0
        self.next_seq = 0
        self.prev = ZEROS
        self.acked = -1

    @property
    def oldest(self):
        """The lowest seq still held; the next seq when none is."""
        held = self._firsts[0] if self._firsts else self.next_seq
        return max(held, self._lost_below)

    @property
    def depth(self):
        """How many held statements wait for an ack."""
        return self.next_seq - max(self.oldest, self.acked + 1)

    @property
    def nearly_full(self):
        """Whether the last segment is in use, so that statements without an ack will soon be dropped."""
        return len(self._numbers) >= self._max_segments

    # -- life

    def create(self):
        """Start an empty journal, removing any other in the same folder.

        The first segment appears in one step; until then the folder holds no journal at all.
        """
        try:
            os.mkdir(self._directory)
        except OSError:
            pass
        for number in self._list():
            os.remove(self._path(number))
        self._clear()
        self._open_segment()

    def recover(self):
        """Find out from flash where the chain stands; return False if there is no journal of this key."""
        self._clear()
        self._doubtful = True  # until all is read, even if Ctrl-C comes
        ours = False
        for number in self._list():
            found = self._scan(number)
            if found is None:
                return False
            ours = ours or found
        self._doubtful = not ours
        return ours

    def _list(self):
        try:
            names = os.listdir(self._directory)
        except OSError:
            return []
        return sorted(int(name[:8], 16) for name in names if name.endswith(".seg"))

    def _path(self, number):
        return "{}/{:08x}.seg".format(self._directory, number)

    def _scan(self, number):
        """Take in one segment. Return whether its header is readable and ours, None if it is another key's."""
        path = self._path(number)
        size = os.stat(path)[6]
        header = self._header
        ours = False
        first = None
        with open(path, "rb") as file:
            for _ in range(_SEGMENT_COPIES):
                if file.readinto(header) != _SEGMENT_HEADER or not _crc_ok(header, _SEGMENT_HEADER):
                    continue
                magic, first, unacked, kid, prev, _ = struct.unpack(_SEGMENT, header)
                if magic != _SEGMENT_MAGIC or kid != self._kid:
                    return None
                ours = True
                self.acked = max(self.acked, unacked - 1)
                if first >= self.next_seq:
                    self.next_seq = first
                    self.prev = prev
                break
            sealed = not ours
            offset = _SEGMENT_START
            while 0 <= offset < size:
                mark = self._mark_at(file, offset, size)
                if mark is None:
                    sealed = True
                    offset = self._next_mark(file, offset + 1)
                    continue
                length, seq, entry, step = mark
                if length == 0:
                    self.acked = max(self.acked, seq)
                else:
                    first = seq if first is None else first
                    if seq >= self.next_seq:
                        self.next_seq = seq + 1
                        self.prev = entry
                offset += step
        if first is None:
            # Power went between making the file and writing its header, or nothing in it can be read.
            os.remove(path)
            self._sealed = True
            return False
        self.damaged += 1 if sealed else 0
        self._numbers.append(number)
        self._firsts.append(first)
        self._sealed = sealed
        self._size = size
        return ours

    def _mark_at(self, file, offset, size):
        """Return (length, seq, entry, bytes to the next mark), or None if there is no sound mark here."""
        mark = memoryview(self._header)[:_MARK_BYTES]
        file.seek(offset)
        if file.readinto(mark) != _MARK_BYTES or not _crc_ok(mark, _MARK_BYTES):
            return None
        magic, length, seq, entry, _ = struct.unpack(_MARK, mark)
        if length > _MAX_BODY or magic not in (_HEAD, _TAIL):
            return None
        step = _MARK_BYTES
        if magic == _HEAD and length:
            step = _RECORD_OVERHEAD + length
            if offset + step > size:
                return None
        return length, seq, entry, step

    @staticmethod
    def _next_mark(file, offset):
        """Return where the next head or tail may start, -1 if nowhere: only after damage."""
        while True:
            file.seek(offset)
            chunk = file.read(_PIECE)
            places = [at for at in (chunk.find(_HEAD), chunk.find(_TAIL)) if at >= 0]
            if places:
                return offset + min(places)
            if len(chunk) < _PIECE:
                return -1
            offset += _PIECE - 1

    # -- writing

    def make_room(self):
        """Drop the oldest segment if a largest statement might not fit, so that ``oldest`` is known before signing.

        Raises:
            JournalError: flash cannot be read any more.
            OSError: flash refused.
        """
        if self._doubtful:
            acked, lost_below = self.acked, self._lost_below
            if not self.recover():
                raise JournalError("the journal is gone from flash")
            self.acked = max(self.acked, acked)
            self._lost_below = lost_below
        full = self._sealed or self._size + _RECORD_OVERHEAD + _MAX_BODY > self._segment_bytes
        if full and len(self._numbers) >= self._max_segments:
            self.dropped += max(0, self._firsts[1] - max(self.oldest, self.acked + 1))
            self._remove_oldest()

    def append(self, data):
        """Keep a statement; on return it is on flash under seq ``next_seq``, which then moves on.

        Call ``make_room`` before signing it.

        Args:
            data: the statement's bytes, 1 to 4,096 of them (bytes or memoryview).

        Raises:
            JournalError: the length is out of bounds, or ``make_room`` was not called.
            OSError: flash refused. Whether the statement is kept is known after the next ``make_room``.
        """
        if not 0 < len(data) <= _MAX_BODY:
            raise JournalError("statement of {} bytes".format(len(data)))
        if self._doubtful:
            raise JournalError("append without make_room after a broken write")
        if self._sealed or self._size + _RECORD_OVERHEAD + len(data) > self._segment_bytes:
            if len(self._numbers) >= self._max_segments:
                raise JournalError("append without make_room")
            self._open_segment()
        entry = sha256(data).digest()
        self._write(self.next_seq, entry, data)
        self.prev = entry
        self.next_seq += 1

    def ack(self, seq):
        """Note that everything up to and including ``seq`` is on the gateway's disk, and drop what is no longer needed.

        The note is on flash before anything else follows from it: an ack replayed after a power cut stays old. (One
        case apart: there is no room for it, and what there is belongs to statements.)
        """
        if seq <= self.acked or seq >= self.next_seq:
            return
        self.acked = seq
        if not self._sealed and not self._doubtful:
            try:
                if self._size + _MARK_BYTES <= self._segment_bytes:
                    self._write(seq, ZEROS, b"")
                elif len(self._numbers) < self._max_segments:
                    self._open_segment()  # its header carries the note
            except OSError:
                pass  # the file system is full: what follows makes room
        while len(self._numbers) > 1 and self._firsts[1] <= self.acked + 1:
            self._remove_oldest()

    def abandon(self, seq):
        """Give up everything up to and including ``seq``: it cannot be read back. ``oldest`` then says so."""
        if seq >= self.oldest:
            self.dropped += seq + 1 - max(self.oldest, self.acked + 1)
            self._lost_below = seq + 1
            while len(self._numbers) > 1 and self._firsts[1] <= self._lost_below:
                self._remove_oldest()

    def _write(self, seq, entry, data):
        mark = memoryview(self._header)[:_MARK_BYTES]
        self._doubtful = True
        with open(self._path(self._numbers[-1]), "ab") as file:
            struct.pack_into(_MARK, mark, 0, _HEAD, len(data), seq, entry, 0)
            file.write(_seal(mark))
            self._size += _MARK_BYTES
            if data:
                file.write(data)
                struct.pack_into(_MARK, mark, 0, _TAIL, len(data), seq, entry, 0)
                file.write(_seal(mark))
                self._size += _MARK_BYTES + len(data)
        self._doubtful = False

    def _open_segment(self):
        number = self._numbers[-1] + 1 if self._numbers else 0
        header = self._header
        struct.pack_into(_SEGMENT, header, 0, _SEGMENT_MAGIC, self.next_seq, self.acked + 1, self._kid, self.prev, 0)
        self._doubtful = True
        with open(self._path(number), "wb") as file:
            file.write(_seal(header))
            file.write(header)
        self._numbers.append(number)
        self._firsts.append(self.next_seq)
        self._size = _SEGMENT_START
        self._sealed = False
        self._doubtful = False

    def _remove_oldest(self):
        os.remove(self._path(self._numbers[0]))
        self._numbers.pop(0)
        self._firsts.pop(0)

    # -- reading

    def stored(self, seq):
        """Return statement ``seq``, whose hash is right: a ``Stored``, good until this is called again.

        Raises:
            JournalError: it is not held, or its bytes are damaged.
        """
        if not self.oldest <= seq < self.next_seq:
            raise JournalError("statement {} is not held".format(seq))
        at = 0
        while at + 1 < len(self._firsts) and self._firsts[at + 1] <= seq:
            at += 1
        number = self._numbers[at]
        offset = _SEGMENT_START
        if self._cursor_number == number and 0 <= self._cursor_seq <= seq:
            offset = self._cursor_offset
        path = self._path(number)
        size = os.stat(path)[6]
        with open(path, "rb") as file:
            while 0 <= offset < size:
                mark = self._mark_at(file, offset, size)
                if mark is None:
                    offset = self._next_mark(file, offset + 1)
                    continue
                length, found, entry, step = mark
                if found == seq and step > _MARK_BYTES:
                    self._cursor_number, self._cursor_seq, self._cursor_offset = number, seq, offset
                    if self._digest(file, length) == entry:
                        return Stored(path, offset + _MARK_BYTES, length, self._piece)
                    break
                offset += step
        self.damaged += 1
        raise JournalError("statement {} is damaged".format(seq))

    def _digest(self, file, length):
        """SHA-256 of the next ``length`` bytes, None if there are fewer."""
        digest = sha256()
        while length:
            piece = self._piece[: min(length, _PIECE)]
            if file.readinto(piece) != len(piece):
                return None
            digest.update(piece)
            length -= len(piece)
        return digest.digest()


class Stored:
    """A statement where it lies on flash: it has a length, and slices of at most 512 bytes.

    A slice, [from:to], is a memoryview that is good until the next one is taken. The statement may leave the journal
    meanwhile.
    """

    def __init__(self, path, start, length, buffer):
        self._path = path
        self._start = start
        self._length = length
        self._buffer = buffer

    def __len__(self):
        return self._length

    def __getitem__(self, part):
        """Return the bytes from ``part.start`` to ``part.stop``, or to the end.

        Raises:
            JournalError: they are no longer there.
        """
        piece = self._buffer[: max(0, min(part.stop, self._length) - part.start)]
        try:
            with open(self._path, "rb") as file:
                file.seek(self._start + part.start)
                if file.readinto(piece) == len(piece):
                    return piece
        except OSError:
            pass
        raise JournalError("the statement is gone from flash")


def _seal(header):
    """Put the CRC-32 of all that goes before into the last four bytes; return the header."""
    end = len(header) - 4
    struct.pack_into("<I", header, end, crc32(memoryview(header)[:end]) & 0xFFFFFFFF)
    return header


def _crc_ok(header, length):
    stored = struct.unpack_from("<I", header, length - 4)[0]
    return stored == crc32(memoryview(header)[: length - 4]) & 0xFFFFFFFF
