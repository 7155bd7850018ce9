"""Which files the board page is made of, and what a browser may do on it.

Third-party files are served as npm has them, unbundled: what is shipped can be compared with what was published. An
import map in the page gives them the names by which they ask for each other.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Final

from trigpoint.errors import OperatorError
from trigpoint.join import FORMAT, MOST_BYTES

HERE: Final = Path(__file__).parent
PAGE: Final = HERE / "page"
"""The page's own files."""
VENDOR: Final = HERE / "vendor"
"""Where `make setup` puts the third-party files, and with them the folder in a wheel."""

NOTICE: Final = "NOTICE.txt"
"""Name of the file in VENDOR with the licences of all that is in it."""

THIRD_PARTY: Final = {
    "esp-web-tools/flash.js": "esp-web-tools/dist/flash.js",
    "esp-web-tools/util/sleep.js": "esp-web-tools/dist/util/sleep.js",
    "esptool-js/bundle.js": "esptool-js/bundle.js",
    "improv-wifi-serial-sdk/const.js": "improv-wifi-serial-sdk/dist/const.js",
    "improv-wifi-serial-sdk/serial.js": "improv-wifi-serial-sdk/dist/serial.js",
    "improv-wifi-serial-sdk/util/hex-formatter.js": "improv-wifi-serial-sdk/dist/util/hex-formatter.js",
    "improv-wifi-serial-sdk/util/to-hex.js": "improv-wifi-serial-sdk/dist/util/to-hex.js",
}
"""Path below VENDOR to path below node_modules."""

LICENSED: Final = ("esp-web-tools", "esptool-js", "improv-wifi-serial-sdk", "atob-lite", "pako", "tslib")
"""The npm packages whose code is in these files; esptool-js's bundle holds the last three."""

TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".bin": "application/octet-stream",
}
"""Media types of a site's files, by suffix."""

_MOST_FILES = 256
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
_IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)
_HASH = "@IMPORT-MAP@"
_GATEWAY = "@GATEWAY@"


def page_files(gateway_origin: str = "") -> dict[str, bytes]:
    """Return the page's files, third-party ones among them: path to content.

    Args:
        gateway_origin: the origin of the gateway's API, such as https://gw.example, if another host serves the page;
            the page may then ask there too.

    Raises:
        OperatorError: the third-party files are not there.
    """
    files = {path.relative_to(PAGE).as_posix(): path.read_bytes() for path in sorted(PAGE.rglob("*")) if path.is_file()}
    for name in (*THIRD_PARTY, NOTICE):
        path = VENDOR / name
        if not path.is_file():
            raise OperatorError(
                "the page's third-party files are missing: run `make setup` in the checkout, or install a release"
            )
        files[f"vendor/{name}"] = path.read_bytes()
    files["index.html"] = _index(files["index.html"].decode(), gateway_origin).encode()
    return files


def site_files(directory: Path) -> tuple[str, dict[str, Path]]:
    """Return the policy and the files, by path, of a folder that `trigpoint board site` made.

    Raises:
        OperatorError: it holds no such site.
    """
    try:
        policy = policy_of((directory / "index.html").read_text())
        found = [path for path in sorted(directory.rglob("*")) if path.is_file() and path.suffix in TYPES]
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"{directory} holds no page for boards: make it with `trigpoint board site {directory}`, or empty"
            " api.board_page"
        ) from error
    for path in found:
        if path.suffix == ".json" and path.stat().st_size <= MOST_BYTES and FORMAT.encode() in path.read_bytes():
            raise OperatorError(f"{path} is a join file, and everybody may fetch what is in {directory}: move it away")
    if len(found) > _MOST_FILES:
        raise OperatorError(f"{directory} holds more than {_MOST_FILES} files: it is no page for boards")
    return policy, {path.relative_to(directory).as_posix(): path for path in found}


def policy_of(index: str) -> str:
    """Return the Content-Security-Policy that a page names. Raises ValueError if it names none."""
    found = _POLICY.search(index)
    if found is None:
        raise ValueError("no policy")
    return found[1]


def _index(text: str, gateway_origin: str) -> str:
    """Fill the import map's hash and the gateway's origin into the page's policy."""
    found = _IMPORT_MAP.search(text)
    assert found is not None
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    return text.replace(_HASH, f"'sha256-{digest}'").replace(_GATEWAY, gateway_origin)
