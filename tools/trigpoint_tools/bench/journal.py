"""The journal: power cuts at each operation of its flash, and what a statement wears away."""

from __future__ import annotations

import json
from collections.abc import Callable

from trigpoint_tools import powercut

STATEMENTS = 3000
STATEMENT_BYTES = 600

# On a flash of an ESP32's size, with as much on it as the firmware takes; each statement is acked before the next.
_WEAR = f"""
import json
flash = fresh(512)
for number in range(30):
    write("/flash/%d.py" % number, bytes(5000))
j, _ = open_journal()
j.create()
flash.erases = [0] * 512
for seq in range({STATEMENTS}):
    j.make_room()
    j.append(body(seq, 0, {STATEMENT_BYTES}))
    j.ack(seq)
erases = [count for count in flash.erases if count]
print(json.dumps([sum(erases) * 4096, max(erases) * len(erases), sum(erases)]))
"""


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Cut the journal's power everywhere, and count its erases; `report` is told what goes on.

    Returns:
        powercut_points: runs whose power was cut, each at another program or erase, once after it and once inside it.
        powercut_failures: those after which something was lost, signed twice, or forked.
        journal_erased_bytes_per_statement: bytes of flash erased to keep a statement of 600 bytes and then its ack.
        journal_wear_spread: how often the most worn block was erased, over the mean of all that were.

    Raises:
        EmulatorError: MicroPython or the board's files are missing.
        RuntimeError: the board's code failed.
    """
    outcome = powercut.cut_everywhere()
    report(f"power cut {outcome.points:,} times in a run of {outcome.operations} programs and erases")
    for failure in outcome.failures[:5]:
        report(failure)
    erased, most, total = json.loads(powercut.micropython(powercut.FLASH + _WEAR, heap="8m"))
    report(f"{STATEMENTS:,} statements of {STATEMENT_BYTES} bytes, each acked, on a flash of 512 blocks")
    return {
        "powercut_points": outcome.points,
        "powercut_failures": len(outcome.failures),
        "journal_erased_bytes_per_statement": round(erased / STATEMENTS),
        "journal_wear_spread": round(most / total, 2),
    }
