"""Puts the board page's third-party files where the gateway serves them from: python -m trigpoint_tools.pagevendor

`make setup` runs it after npm. Files are copied as they are; beside them come the licences of what is in them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from trigpoint.web.files import HERE, LICENSED, NOTICE, THIRD_PARTY, VENDOR


def main() -> None:
    """Copy what is served from node_modules to the page's vendor folder, and write its notice last."""
    modules = HERE / "node_modules"
    shutil.rmtree(VENDOR, ignore_errors=True)
    for target, source in THIRD_PARTY.items():
        path = VENDOR / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(modules / source, path)
    (VENDOR / NOTICE).write_text("\n".join(map(_notice, (modules / name for name in LICENSED))))


def _notice(package: Path) -> str:
    facts = json.loads((package / "package.json").read_text())
    (licence,) = package.glob("LICENSE*")
    title = f"{facts['name']} {facts['version']} ({facts['license']})"
    return f"{title}\n{'=' * len(title)}\n\n{licence.read_text().strip()}\n"


if __name__ == "__main__":
    main()
