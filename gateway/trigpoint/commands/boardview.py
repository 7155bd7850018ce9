"""How a board is shown to people: what it is and how it does, as rows of a name and a text.

What a board says is another's data: it is shown as plain text, never as markup or control characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from trigpoint.commands.status import duration
from trigpoint.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from trigpoint.commands.boardtarget import Known

TROUBLE = {
    "last_error": "sensor",
    "wifi_error": "Wi-Fi",
    "link_error": "last connection",
    "ntp_error": "NTP",
    "bad_command": "command",
    "bad_end": "last end",
}
"""What of a board's health tells of trouble, and what the trouble is with."""


class Row(NamedTuple):
    """One line: its name, its text and a style of rich."""

    name: str
    text: str
    style: str = ""


def clean(value: object) -> str:
    """Return a value that comes from a board as one line of printable text."""
    return "".join(char if char.isprintable() else "?" for char in str(value))


def of_cable(facts: Mapping[str, Any]) -> list[Row]:
    """Return what a board says of itself over a cable; see `questions.status`."""
    rows = [Row("board", clean(facts.get("board") or "it has made no key yet"), "" if facts.get("board") else "yellow")]
    rows.append(Row("chip", f"{clean(facts.get('machine'))}, MicroPython {clean(facts.get('micropython'))}"))
    if facts.get("slot") is None:
        rows.append(Row("firmware", "Trigpoint is not on it: `trigpoint board flash`", "yellow"))
    else:
        rows.append(Row("firmware", f"slot {clean(facts['slot'])}, {_release(facts.get('release'))}"))
    settings = {"none": "no config.json: `trigpoint board enroll`", "bad": "config.json cannot be read"}
    if facts.get("config") in settings:
        rows.append(Row("settings", settings[str(facts["config"])], "yellow"))
    else:
        rows.append(Row("Wi-Fi", ", ".join(map(clean, facts.get("wifi") or ()))))
        rows.append(Row("broker", clean(facts.get("broker", ""))))
        every = f", every {duration(facts['sample_s'])}" if isinstance(facts.get("sample_s"), int) else ""
        rows.append(Row("sensors", ", ".join(map(clean, facts.get("sensors") or ())) + every))
    rows.append(
        Row("free", f"{_number(facts.get('heap_free'))} bytes of heap, {_number(facts.get('flash_free'))} of flash")
    )
    if facts.get("safe_modes"):
        rows.append(Row("safe mode", f"{_number(facts['safe_modes'])} times", "yellow"))
    if facts.get("bad_end"):
        rows.append(Row("last end", clean(facts["bad_end"]), "yellow"))
    return rows


def of_gateway(board: Known, now_ms: int) -> list[Row]:
    """Return what a gateway knows of a board; `now_ms` is its clock."""
    rows = [Row("owner", "0x" + board.owner.hex())]
    if board.cloned:
        rows.append(Row("registry", "two boards sign with this key", "red bold"))
    elif not board.active:
        rows.append(Row("registry", "revoked", "red"))
    newest = "" if board.newest_ms is None else f", the newest {duration(max(0, now_ms - board.newest_ms) / 1000)} ago"
    rows.append(Row("stored", counted(board.statements, "statement") + newest))
    if board.lost:
        rows.append(Row("lost", f"{counted(board.lost, 'statement')}, as it declared itself", "yellow"))
    return rows


def of_health(health: Mapping[str, Any]) -> list[Row]:
    """Return what a board says of itself over the network (device/README.md, Health)."""
    if not health.get("online"):
        return [Row("health", "offline: the broker has lost it", "yellow")]
    rows = [
        Row(
            "firmware",
            f"{clean(health.get('version'))}, slot {clean(health.get('slot'))}, {_release(health.get('release'))}",
        ),
        Row("runs", f"for {_duration(health.get('uptime_s'))}, since {_cause(health.get('reset_cause'))}"),
    ]
    signal = f", {clean(health['rssi'])} dBm" if health.get("rssi") is not None else ""
    rows.append(Row("Wi-Fi", f"{clean(health.get('ssid'))}{signal}"))
    rows.append(
        Row("journal", f"{_number(health.get('unacked'))} not acked yet, next seq {_number(health.get('next_seq'))}")
    )
    by = {"ack": " by its gateway's acks", "ntp": " by NTP", "rtc": " before the last reset"}
    source = by.get(str(health.get("clock_source")), "")
    rows.append(
        Row(
            "clock",
            f"set{source}" if health.get("clock_set") else "not set yet",
            _warn(not health.get("clock_set")),
        )
    )
    rows.append(
        Row("heap", f"{_number(health.get('heap_free'))} bytes free, {_number(health.get('heap_low'))} at the least")
    )
    command = health.get("command")
    if isinstance(command, dict) and command.get("counter"):
        why = f": {clean(command['reason'])}" if command.get("reason") else ""
        bad = command.get("state") in ("refused", "rolled back")
        rows.append(Row("command", f"{clean(command.get('kind'))} {clean(command.get('state'))}{why}", _warn(bad)))
    return rows + troubles(health)


def troubles(health: Mapping[str, Any]) -> list[Row]:
    """Return what of a board's health tells of trouble since it was started, a row for each."""
    rows = []
    errors = health.get("sensor_errors")
    if isinstance(errors, dict):
        rows += [
            Row("trouble", f"{clean(part)}: {_number(count)} failed readings", "yellow")
            for part, count in errors.items()
        ]
    # At each start a board reaches for its broker before its Wi-Fi is up; its first connection proves that to be past.
    past = {"link_error"} if health.get("online") and health.get("connections") == 1 else set()
    for name, what in TROUBLE.items():
        if health.get(name) and name not in past:
            rows.append(Row("trouble", f"{what}: {clean(health[name])}", "yellow"))
    for name, what in (
        ("dropped", "statements dropped, the journal was full"),
        ("damaged", "statements damaged by flash"),
        ("crashes", "crashes since the flash was made"),
    ):
        if isinstance(health.get(name), int) and health[name]:
            rows.append(Row("trouble", f"{health[name]:,} {what}", "yellow"))
    crash = health.get("crash")
    if isinstance(crash, dict):
        rows.append(Row("crash", clean(crash.get("text", "")), "yellow"))
    return rows


def show(console: Console, rows: list[Row]) -> None:
    """Print rows, their names in a column."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(row.name, Text(row.text, row.style))
    console.print(table)


def _warn(bad: bool) -> str:
    return "yellow" if bad else ""


def _release(number: object) -> str:
    return f"release {clean(number)}" if number else "installed by cable"


def _cause(word: object) -> str:
    causes = {"power_on": "power on", "hard": "a reset", "watchdog": "a reset by the watchdog", "soft": "a soft reset"}
    return causes.get(str(word), clean(word).replace("_", " "))


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def _duration(seconds: object) -> str:
    return duration(seconds) if isinstance(seconds, int) else "?"
