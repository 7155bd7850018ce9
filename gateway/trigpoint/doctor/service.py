"""The service unit: does the gateway start with the machine, and has it been ended."""

from __future__ import annotations

import subprocess
from pathlib import Path

from trigpoint.doctor.finding import Finding, fail, ok, unknown, warn
from trigpoint.words import counted

UNIT = "trigpoint-gateway.service"
_PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "NRestarts", "Result")
_BOOTED = Path("/run/systemd/system")


def look() -> dict[str, str] | None:
    """Return what systemd says of the unit; None where systemd does not run."""
    if not _BOOTED.exists():
        return None
    try:
        done = subprocess.run(
            ["systemctl", "show", UNIT, "--property=" + ",".join(_PROPERTIES)],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def judge(properties: dict[str, str] | None, running: bool | None) -> Finding:
    """Judge what systemd says; `running` is whether a gateway runs on this data directory, however it was started."""
    what = "service"
    if properties is None:
        text = "no systemd here" + (", and the gateway runs" if running else "")
        return unknown("service", what, text)
    if properties.get("LoadState") != "loaded":
        return warn(
            "service",
            what,
            "there is no unit, so nothing starts the gateway with the machine",
            "install the Debian package, or packaging/systemd as docs/operating.md says",
        )
    state = properties.get("ActiveState", "")
    if state == "failed":
        return fail(
            "service",
            what,
            f"it ended: {properties.get('Result', '')}",
            f"journalctl -u {UNIT} -n 50, then sudo systemctl restart {UNIT}",
        )
    if properties.get("UnitFileState") != "enabled":
        return warn("service", what, f"{state}, and not enabled", f"sudo systemctl enable --now {UNIT}")
    restarts = properties.get("NRestarts", "0")
    return ok(
        "service",
        what,
        f"{state}, enabled" + ("" if restarts == "0" else f", restarted {counted(int(restarts), 'time')}"),
    )
