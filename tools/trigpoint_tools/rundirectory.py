"""A folder in which one run at a time keeps its files, and an end by signal that lets a run clear up."""

from __future__ import annotations

import fcntl
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trigpoint.errors import OperatorError


@contextmanager
def fresh(directory: Path, what: str, left_behind: Sequence[str] = ()) -> Iterator[tuple[Path, Path]]:
    """Make the run's folder and the one for logs, without anything of an earlier run, and keep them from a second one.

    Args:
        directory: holds both, as `run` and `logs`.
        what: the kind of run, such as "demo".
        left_behind: names of files in `directory` that an earlier run has made and that are to go.

    Raises:
        OperatorError: such a run is going on there, there is a folder `run` that none has made, or the disk refuses.
    """
    run_directory, logs = directory / "run", directory / "logs"
    marker = run_directory / f"made-by-trigpoint-{what}"
    with ExitStack() as held:
        try:
            if run_directory.exists():
                if not marker.exists():
                    raise OperatorError(f"{run_directory} was not made by the {what}; choose another folder")
                _lock(marker, held)
                shutil.rmtree(run_directory)
                shutil.rmtree(logs, ignore_errors=True)
            for name in left_behind:
                (directory / name).unlink(missing_ok=True)
            run_directory.mkdir(parents=True)
            _lock(marker, held)
            logs.mkdir(exist_ok=True)
        except BlockingIOError as error:
            raise OperatorError(
                f"another {what} runs in {directory}; wait for its end, or choose another folder"
            ) from error
        except OSError as error:
            raise OperatorError(f"cannot use {directory}: {error.strerror}; choose another folder") from error
        yield run_directory, logs


@contextmanager
def stopped_by_signal() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does, and let neither disturb the clearing up that follows."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def interrupt(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _lock(path: Path, held: ExitStack) -> None:
    """Make the file if need be and lock it until `held` ends. Raises BlockingIOError if another program has it."""
    file = held.enter_context(path.open("ab"))
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
