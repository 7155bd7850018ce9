"""The owner's side of a board: signed commands, and an update's files, piece by piece.

Nothing here speaks MQTT: bytes go in and come out, so that any client can carry them. The key is a file of mode 0600
(trigpoint.keyfiles, create_owner_key).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.wire import manifest
from trigpoint.wire.command import Command, Kind, seal
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.manifest import File, Manifest, Request


def owner_key_hex(owner: ec.EllipticCurvePrivateKey) -> str:
    """Return the public half as config.json wants it: x and y, 128 hexadecimal digits."""
    public = PublicKey.of(owner)
    return (public.x + public.y).hex()


def set_configuration(owner: ec.EllipticCurvePrivateKey, board: bytes, counter: int, config: bytes) -> bytes:
    """Return the command that gives a board a new config.json.

    Raises:
        WireError: a field is out of range, or the command would be more than 4,096 bytes.
    """
    return seal(owner, Command(board, counter, Kind.CONFIGURATION, config))


def update(owner: ec.EllipticCurvePrivateKey, board: bytes, counter: int, application: Manifest) -> bytes:
    """Return the command that has a board fetch and try an application.

    Raises:
        WireError: a field is out of range, or the command would be more than 4,096 bytes.
    """
    return seal(owner, Command(board, counter, Kind.UPDATE, application.encode()))


def describe(
    files: Mapping[str, bytes], *, version: int, family: str, micropython: tuple[int, int, int], follows: int = 0
) -> Manifest:
    """Return the manifest of an application.

    Args:
        files: path under the slot, such as `trig/app.mpy`, to content.
        version: above every version that the boards have confirmed.
        family: as the boards' health gives it.
        micropython: the lowest version that it runs on.
        follows: the lowest version that it may come after.

    Raises:
        WireError: `shape`, with the field at fault.
    """
    listed = tuple(File.of(path, files[path]) for path in sorted(files))
    return Manifest(version, family, micropython, follows, listed)


class Shelf:
    """The files of an update, found by their hashes, for whoever answers the boards' requests."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Take the same files as `describe`."""
        self._contents = {hashlib.sha256(content).digest(): content for content in files.values()}

    def answer(self, data: bytes) -> bytes | None:
        """Return the message for `p` that answers one from `u`; None if the file is another's or the message is bad."""
        try:
            request = Request.parse(data)
        except WireError:
            return None
        content = self._contents.get(request.digest)
        return None if content is None else manifest.piece(request, content)
