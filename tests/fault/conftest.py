"""Gives the tests of this folder their brokers and their chain."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anvil import _deployed, anvil, contracts
from brokers import broker, embedded_broker, mosquitto
from chaingateway import gateway
from faultynode import faulty
from trigpoint_tools.crash.site import Ground

__all__ = ["_deployed", "anvil", "broker", "contracts", "embedded_broker", "faulty", "gateway", "mosquitto"]


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """A chain, a broker and a starter of gateways, shared by the session."""
    with Ground() as ready:
        yield ready


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Gives real file systems of a few KiB: `small_disk(kilobytes)`, or mounted where one wants it."""
    mounted = []

    def mount(kilobytes: int, directory: Path | None = None) -> Path:
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small file system")
        directory = directory or tmp_path / f"disk-{len(mounted)}"
        directory.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(directory)],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
        mounted.append(directory)
        return directory

    yield mount
    for directory in mounted:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
