"""One bare P-256 verification, timed again and again beside a load: what the cost of a statement is set against.

Both are timed under the same load, because threads that share a core, and its caches, slow each other down. As a
program (`python -m trigpoint_tools.load.peer`) it goes on until its standard input ends, and prints the mean in seconds
of processor time.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

_STATEMENT = bytes(650)
_AT_ONCE = 100
_PAUSE_S = 0.2


class Peer:
    """Runs the program while it is open.

    Attributes:
        verification_s: seconds of processor time of one verification; known once it is closed.
    """

    def __enter__(self) -> Self:
        """Begin."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trigpoint_tools.load.peer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.verification_s = 0.0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and take note of the result."""
        output, _ = self._process.communicate()
        if kind is None:
            self.verification_s = float(output)


def main() -> None:
    """Measure until nobody is at the other end of standard input."""
    scheme = ec.ECDSA(hashes.SHA256())
    key = ec.derive_private_key(77, ec.SECP256R1())
    signature, public = key.sign(_STATEMENT, scheme), key.public_key()
    spent, number = 0.0, 0
    while True:
        began = time.process_time()
        for _ in range(_AT_ONCE):
            public.verify(signature, _STATEMENT, scheme)
        spent, number = spent + time.process_time() - began, number + _AT_ONCE
        if select.select([sys.stdin], [], [], _PAUSE_S)[0]:
            break
    print(spent / number)


if __name__ == "__main__":
    main()
