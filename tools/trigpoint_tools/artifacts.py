"""Bring the contracts' ABIs and bytecode from Foundry's output into the Python package.

`make contracts` runs this after `forge build`. The files are committed, so that the gateway needs neither Node nor
a compiler; tests/unit/test_artifacts.py fails when they are not what the sources compile to.
"""

import json
import sys
from pathlib import Path

CONTRACTS = ("DeviceRegistry", "TransparencyLog")
ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "contracts" / "out"
EXPORTED = ROOT / "gateway" / "trigpoint" / "chain" / "contracts"


class ArtifactError(Exception):
    """Foundry's output is missing or is not what this module expects; the message names the file and the remedy."""


def render(built: Path, name: str) -> str:
    """Return the text `{"abi": [...], "bytecode": "0x..."}` of contract `name` in Foundry's output folder `built`.

    Raises ArtifactError if the contract was not built, or if its bytecode still has a library to be linked.
    """
    path = built / f"{name}.sol" / f"{name}.json"
    try:
        artifact = json.loads(path.read_text(encoding="utf-8"))
        abi, bytecode = artifact["abi"], artifact["bytecode"]
        code, links = bytecode["object"], bytecode["linkReferences"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: no usable build output ({error!r}); run `make contracts`") from error
    if links:
        raise ArtifactError(f"{path}: bytecode needs linking; make the library's functions internal")
    return json.dumps({"abi": abi, "bytecode": code}, indent=1) + "\n"


def export(built: Path = BUILT, exported: Path = EXPORTED) -> list[Path]:
    """Write one JSON file per contract into `exported`; return their paths. Raises ArtifactError as `render` does."""
    texts = {exported / f"{name}.json": render(built, name) for name in CONTRACTS}
    exported.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def main() -> int:
    """Export, say what was written, and return the exit code."""
    try:
        for path in export():
            print(f"wrote {path.relative_to(ROOT)}")
    except ArtifactError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
