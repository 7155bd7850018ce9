"""The options by which a command is told of a node of the chain, without its access token in the list of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MAX_URL = 4_096

NodeUrl = Annotated[
    str | None,
    typer.Option(
        "--rpc",
        metavar="URL",
        envvar="TRIGPOINT_RPC",
        help="A node of the chain, JSON-RPC over HTTP. All users of this machine see it here.",
        show_default=False,
    ),
]
NodeUrlFile = Annotated[
    Path | None,
    typer.Option(
        "--rpc-file", metavar="FILE", help="A file with that URL, for one that holds a token.", show_default=False
    ),
]


def node_url(rpc: str | None, rpc_file: Path | None) -> str | None:
    """Return the node's URL, or None if neither option is given; the file wins over the environment.

    Raises:
        OperatorError: the file cannot be read, or holds no URL of HTTP. The URL itself is not repeated.
    """
    from trigpoint.errors import OperatorError

    if rpc_file is None:
        return rpc
    try:
        with rpc_file.open("rb") as file:
            url = file.read(_MAX_URL + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise OperatorError(f"cannot read {rpc_file}: {reason}; --rpc-file wants a file with a node's URL") from error
    if not url.startswith(("http://", "https://")) or len(url.split()) != 1 or len(url) > _MAX_URL:
        raise OperatorError(f"{rpc_file} does not hold a node's address: one line, http://HOST:PORT or https://HOST")
    return url
