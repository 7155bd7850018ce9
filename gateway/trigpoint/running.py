"""Whether a gateway runs on a data directory, told without disturbing it."""

from __future__ import annotations

from pathlib import Path

LOCK_NAME = "lock"
"""The file in the data directory that a running gateway holds locked."""

_LOCKS = Path("/proc/locks")


def is_running(data: Path, locks: Path = _LOCKS) -> bool | None:
    """Tell whether a process holds the lock of the data directory; None if the system does not say.

    To try the lock would be simpler, but a gateway that starts at that moment would find it taken.
    """
    try:
        lock = (data / LOCK_NAME).stat()
        held = locks.read_text(encoding="ascii")
    except FileNotFoundError as error:
        return None if error.filename == str(locks) else False
    except OSError:
        return None
    # Such as `1: FLOCK  ADVISORY  WRITE 4711 fe:01:131201 0 EOF`. The inode must do: on btrfs and overlays the device
    # here is not that of stat(2).
    inode = f":{lock.st_ino} "
    return any(" FLOCK " in line and inode in line for line in held.splitlines())
