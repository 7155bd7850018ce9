"""The disk: room, speed, kind and wear."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from trigpoint.doctor.finding import Finding, fail, ok, unknown, warn

_SYNCS = 9
_BLOCK = 4_096
_SLOW_SYNC_MS = 250
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs"}
_VOLATILE = {"tmpfs", "ramfs", "overlay"}
_NO_OWNERS = {"vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk"}
_WRITES_PER_CAPACITY = 500
"""How often a cheap card can be written full, cautiously: vendors of plain cards promise nothing."""


@dataclass(frozen=True)
class Disk:
    """Facts about the disk that holds the data directory.

    Attributes:
        total: bytes.
        free: bytes, for this user.
        kind: of its file system, such as ext4; empty if unknown.
        device: name of the block device, such as mmcblk0; empty if unknown.
        sync_ms: the median time to make 4 KiB durable; None if it could not be measured.
        life_used: tenths of its life that an eMMC says are used, 1 to 11; None where the device does not say.
    """

    total: int
    free: int
    kind: str
    device: str
    sync_ms: float | None
    life_used: int | None


def look(data: Path) -> Disk:
    """Gather the facts. Raises OSError if the directory cannot be read."""
    usage = shutil.disk_usage(data)
    kind, device = _mount(data, Path("/proc/self/mountinfo"), Path("/sys/dev/block"))
    return Disk(usage.total, usage.free, kind, device, _sync_ms(data), _life_used(device))


def judge(disk: Disk, written_per_day: float | None) -> list[Finding]:
    """Judge the facts; `written_per_day` is what the gateway writes, in bytes, or None if that is not known."""
    found = [_judge_room(disk, written_per_day), _judge_kind(disk), _judge_speed(disk)]
    wear = _judge_wear(disk, written_per_day)
    return [*found, wear] if wear else found


def _judge_room(disk: Disk, written_per_day: float | None) -> Finding:
    share = disk.free / disk.total if disk.total else 0
    text = f"{size(disk.free)} free of {size(disk.total)}"
    remedy = "make room, or move the data directory to a larger disk; a full one stops acks, and loses nothing"
    if disk.free < 64 << 20:
        return fail("disk", "room", text, remedy)
    days = disk.free / written_per_day if written_per_day else None
    if share < 0.05 or (days is not None and days < 60):
        until = f", {days:,.0f} days at the present rate" if days is not None else ""
        return warn("disk", "room", text + until, remedy)
    return ok("disk", "room", text)


def _judge_kind(disk: Disk) -> Finding:
    what, where = "file system", f"{disk.kind} on {disk.device}" if disk.device else disk.kind
    if disk.kind in _NETWORK:
        return fail(
            "disk",
            what,
            f"{disk.kind} comes over the network, where SQLite's log cannot be shared safely",
            "move the data directory to a disk of this machine",
        )
    if disk.kind in _VOLATILE:
        return warn(
            "disk",
            what,
            f"{disk.kind} may be gone after a restart of the machine or container",
            "move the data directory to a disk that stays",
        )
    if disk.kind in _NO_OWNERS:
        return warn(
            "disk",
            what,
            f"{disk.kind} knows no owners, so keys and database cannot be kept from others",
            "use a disk formatted with ext4, f2fs or btrfs",
        )
    return ok("disk", what, where) if disk.kind else unknown("disk", what, "this system does not say")


def _judge_speed(disk: Disk) -> Finding:
    what = "durable write"
    if disk.sync_ms is None:
        if disk.free < _BLOCK:
            return fail("disk", what, "there is no room for it", "make room, as above")
        return fail(
            "disk", what, "cannot write to the data directory", "check its owner; the gateway and you need the same"
        )
    text = f"{disk.sync_ms:.1f} ms until it is on the disk"
    if disk.sync_ms > _SLOW_SYNC_MS:
        return warn(
            "disk",
            what,
            f"{text}; each commit takes that, and boards wait for their acks",
            "use a card of class A1 or A2, or better an SSD on USB",
        )
    if disk.sync_ms < 0.05:
        return warn(
            "disk",
            what,
            f"{text}: no disk is that fast, so writes are not made durable",
            "check the mount options (nobarrier) and the virtual machine's disk cache",
        )
    return ok("disk", what, text)


def _judge_wear(disk: Disk, written_per_day: float | None) -> Finding | None:
    what = "wear"
    if disk.life_used is not None:
        text = f"{disk.device} says that {min(disk.life_used, 10) * 10} % of its life is used"
        if disk.life_used >= 9:
            return warn("disk", what, text, "back up (`trigpoint gateway backup`) and replace it soon")
        return ok("disk", what, text)
    if not written_per_day or not disk.device.startswith("mmcblk"):
        return None
    years = disk.total * _WRITES_PER_CAPACITY / written_per_day / 365
    text = f"about {size(written_per_day)} written a day: some {min(years, 100):,.0f} years for a card of this size"
    if years < 3:
        return warn("disk", what, text, "use a larger card or an SSD on USB, or let boards send larger statements")
    return ok("disk", what, text)


def size(number: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1_000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1_000
    return f"{number:,.1f} TB"


def _sync_ms(data: Path) -> float | None:
    """Return the median time in which a disk makes 4 KiB durable, in milliseconds; None if it cannot be written."""
    times = []
    try:
        with tempfile.TemporaryFile(dir=data) as file:
            for _ in range(_SYNCS):
                started = time.perf_counter()
                os.pwrite(file.fileno(), os.urandom(_BLOCK), 0)
                os.fsync(file.fileno())
                times.append(time.perf_counter() - started)
    except OSError:
        return None
    return statistics.median(times) * 1000


def _mount(path: Path, table: Path, devices: Path) -> tuple[str, str]:
    """Return the kind of file system that holds `path` and the name of its disk, from mountinfo (proc(5))."""
    best, kind, number = "", "", ""
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", ""
    real = str(path.resolve())
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, more = left.split(), right.split()
        if len(fields) < 5 or not more:
            continue
        point = fields[4].replace("\\040", " ")
        inside = point in ("/", real) or real.startswith(point + "/")
        if inside and len(point) >= len(best):
            best, kind, number = point, more[0], fields[2]
    device = devices / number
    if not number or not device.exists():
        return kind, ""
    block = device.resolve()
    return kind, block.parent.name if (block / "partition").exists() else block.name


def _life_used(device: str) -> int | None:
    """Return what an eMMC says of its life (JEDEC 84-B51, DEVICE_LIFE_TIME_EST): the worse of its two figures."""
    try:
        values = [int(value, 16) for value in (Path("/sys/block") / device / "device/life_time").read_text().split()]
    except (OSError, ValueError):
        return None
    return max(values, default=0) or None
