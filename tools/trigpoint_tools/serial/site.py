"""The board page as a folder of static files: the page, MicroPython for each chip, the application, what it must know.

    index.html ...       the page and its libraries (trigpoint.web)
    manifest.json        firmware by chip, in the format of esp-web-tools
    firmware/            its pieces: before and behind NVS, where a board keeps its key
    application.json     what `board flash` installs: path, SHA-256, content
    site.json            versions, scripts, pins, the registry's selectors

The application is not part of the flash images: how large a board's file system is depends on its flash, and an image
of one would take configuration and journal of a board that has them. So the page does what `trigpoint board flash`
does: MicroPython first, then the files that differ, at the prompt.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eth_utils.abi import function_abi_to_4byte_selector
from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.errors import OperatorError
from trigpoint.web.files import page_files

from trigpoint_tools.serial import firmware, questions, session, settings
from trigpoint_tools.serial.firmware import Firmware
from trigpoint_tools.serial.image import LEAST

MARK = "site.json"
"""Name of the file by which a folder is known to hold a site."""

_MOST_MARK = 1 << 20
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?|https?://\[[0-9A-Fa-f:]+\](:\d{1,5})?")
FAMILIES = {
    "esp32": "ESP32",
    "esp32s2": "ESP32-S2",
    "esp32s3": "ESP32-S3",
    "esp32c3": "ESP32-C3",
    "esp32c6": "ESP32-C6",
}
_CALLS = ("register", "activeAt")


def build(
    directory: Path, images: Sequence[Firmware], application: Mapping[str, bytes], gateway: str = ""
) -> list[str]:
    """Make the site in `directory`, which is new, empty, or holds an older site; return the paths written.

    Args:
        directory: where.
        images: MicroPython, one file a chip.
        application: as `install.application` gives it.
        gateway: origin of the gateway's API if another host than it serves the site, such as https://gw.example.

    Raises:
        OperatorError: the folder holds other things, an image occurs twice, or the page's libraries are missing.
    """
    if gateway and not _ORIGIN.fullmatch(gateway):
        raise OperatorError(f"{gateway!r} is not an origin: write it like https://gateway.example, without a path")
    chips = [image.chip for image in images]
    if len(set(chips)) < len(chips):
        raise OperatorError("two firmware files are for the same chip: give one of them")
    if directory.exists() and not directory.is_dir():
        raise OperatorError(f"{directory} is a file; give a folder for the site")
    directory = directory.resolve()
    if directory.exists() and any(directory.iterdir()) and not _is_site(directory):
        raise OperatorError(f"{directory} holds other things than a site: choose a folder that is new or empty")
    files = dict(page_files(gateway))
    files |= _firmware(images)
    files["application.json"] = _json(_application(application))
    files[MARK] = _json(_site(gateway))
    directory.parent.mkdir(parents=True, exist_ok=True)
    # A folder that nobody else has, for the old site goes, and whatever were in a folder of a fixed name would go too.
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as drafts:
        draft = Path(drafts) / directory.name
        for name, content in files.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        shutil.rmtree(directory, ignore_errors=True)
        draft.rename(directory)
    return sorted(files)


def _is_site(directory: Path) -> bool:
    """Return whether a folder holds a site of ours: other things, too, have a file of that name."""
    try:
        with (directory / MARK).open("rb") as file:
            marked = json.loads(file.read(_MOST_MARK))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(marked, dict) and {"micropython", "scripts", "registry"} <= marked.keys()


def _firmware(images: Sequence[Firmware]) -> dict[str, bytes]:
    """Return the manifest and the pieces it names: path to content."""
    files: dict[str, bytes] = {}
    builds = []
    for image in images:
        parts = []
        for offset, content in firmware.pieces(image, image.path.read_bytes()):
            name = f"firmware/{image.chip}-{offset:#x}.bin"
            files[name] = content
            parts.append({"path": name, "offset": offset})
        builds.append({"chipFamily": FAMILIES[image.chip], "parts": parts})
    manifest = {
        "name": "Trigpoint",
        "version": version("trigpoint"),
        "new_install_prompt_erase": True,
        "new_install_improv_wait_time": 0,  # at this point there is only MicroPython on it
        "builds": builds,
    }
    return {"manifest.json": _json(manifest), **files}


def _application(files: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "version": version("trigpoint"),
        "files": [
            {
                "path": path,
                "sha256": hashlib.sha256(content).hexdigest(),
                "content": base64.b64encode(content).decode(),
            }
            for path, content in sorted(files.items())
        ],
    }


def _site(gateway: str) -> dict[str, Any]:
    named = {item["name"]: item for item in DEVICE_REGISTRY.items if item["type"] == "function"}
    errors = (item for item in DEVICE_REGISTRY.items if item["type"] == "error")
    return {
        "version": version("trigpoint"),
        "micropython": LEAST,
        "gateway": gateway,
        "scripts": {
            "status": questions.STATUS,
            "sensors": questions.SENSORS,
            "way": questions.WAY,
            "hashes": session.HASHES,
            "folders": session.MAKE_FOLDERS,
        },
        "sensors": {chip: {kind: settings.default_sensor(kind, chip) for kind in settings.READY} for chip in FAMILIES},
        "registry": {
            **{name: _selector(named[name]) for name in _CALLS},
            "errors": {_selector(item): item["name"] for item in errors},
        },
    }


def _selector(item: dict[str, Any]) -> str:
    return "0x" + function_abi_to_4byte_selector(item).hex()  # type: ignore[arg-type]


def _json(data: object) -> bytes:
    return json.dumps(data, indent=1).encode()
