"""The committed ABIs and bytecode are what the contracts' sources compile to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trigpoint_tools import artifacts

# Built once: one process has all of these tests.
pytestmark = pytest.mark.xdist_group("forge")

FORGE = artifacts.ROOT / "contracts" / "node_modules" / ".bin" / "forge"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of the sources alone, from nothing, in a folder of its own."""
    assert FORGE.exists(), "forge is missing: run `make setup`"
    folder = tmp_path_factory.mktemp("forge")
    out = folder / "out"
    subprocess.run(
        [str(FORGE), "build", "src", "--out", str(out), "--cache-path", str(folder / "cache")],
        cwd=artifacts.ROOT / "contracts",
        env={
            **os.environ,
            "FOUNDRY_OFFLINE": "true",
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
        },
        check=True,
        capture_output=True,
        timeout=240,
    )
    return out


@pytest.mark.parametrize("name", artifacts.CONTRACTS)
def test_exported_artifacts_are_what_the_sources_compile_to(built: Path, name: str) -> None:
    committed = (artifacts.EXPORTED / f"{name}.json").read_text(encoding="utf-8")
    assert committed == artifacts.render(built, name), "stale: run `make contracts` and commit the result"


def test_export_writes_every_contract(built: Path, tmp_path: Path) -> None:
    written = artifacts.export(built, tmp_path / "new" / "folder")
    assert [path.stem for path in written] == list(artifacts.CONTRACTS)
    for path in written:
        artifact = json.loads(path.read_text(encoding="utf-8"))
        assert set(artifact) == {"abi", "bytecode"}
        assert len(bytes.fromhex(artifact["bytecode"].removeprefix("0x"))) > 1_000


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"abi": [], "bytecode": {"object": "0x00"}}', '{"abi": []}'])
def test_unusable_build_output_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "DeviceRegistry.sol" / "DeviceRegistry.json"
    with pytest.raises(artifacts.ArtifactError, match="make contracts"):
        artifacts.render(tmp_path, "DeviceRegistry")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(artifacts.ArtifactError, match="make contracts"):
        artifacts.render(tmp_path, "DeviceRegistry")


def test_bytecode_that_needs_a_library_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "DeviceRegistry.sol" / "DeviceRegistry.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"abi": [], "bytecode": {"object": "0x__$", "linkReferences": {"a.sol": {}}}}))
    with pytest.raises(artifacts.ArtifactError, match="linking"):
        artifacts.render(tmp_path, "DeviceRegistry")
