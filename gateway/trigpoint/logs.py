"""What the gateway writes about itself: one line an event, for people or for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from trigpoint.config import Logging

# These name the node's URL, which may hold an access token, in their warnings; paho tells each packet.
_QUIET = ("urllib3", "requests", "web3", "paho")


def start(settings: Logging, stream: TextIO | None = None) -> None:
    """Send what is logged from now on to `stream` (standard error if None), in the format that `settings` ask for."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if settings.format == "json"
        else TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(handlers=[handler], level=settings.level.upper(), force=True)
    for library in _QUIET:
        logging.getLogger(library).setLevel(logging.ERROR)


class TextFormatter(logging.Formatter):
    """Writes each record as one line, whatever is in it: a topic or a path may be a stranger's, a trace never is."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's own name)
        """Return the line, with what cannot be printed escaped: line ends, and what terminals obey."""
        line = super().formatMessage(record)
        if line.isprintable():
            return line
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class JsonFormatter(logging.Formatter):
    """Writes each record as one JSON object on one line: time (RFC 3339, UTC), level, logger, message, and trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)
