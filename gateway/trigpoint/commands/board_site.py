"""`trigpoint board site`: the page that sets boards up from a browser, as a folder for any web server."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer


def site(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Where to put it: a new folder, or an older site.", show_default=False),
    ],
    *,
    chip: Annotated[
        list[str] | None,
        typer.Option(
            "--chip",
            metavar="CHIP",
            help="A chip to offer; may be repeated.  [default: all whose release is pinned]",
            show_default=False,
        ),
    ] = None,
    firmware: Annotated[
        list[str] | None,
        typer.Option(
            "--firmware",
            metavar="FILE|VERSION",
            help="MicroPython: a release of micropython.org for all chips, or a file for each chip, in their order.",
            show_default=False,
        ),
    ] = None,
    gateway_url: Annotated[
        str,
        typer.Option(
            "--gateway-url",
            metavar="ORIGIN",
            help="Where the gateway's API is, such as https://gateway.example, if another host serves the page.",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Make the page with which a browser flashes and enrols boards (docs/browser.md).

    A folder of static files: a gateway serves it (api.board_page), or any web server over HTTPS. It holds no secret.

    Example: trigpoint board site page

    Example: trigpoint board site page --chip esp32c3 --firmware ESP32_GENERIC_C3-20260824-v1.29.0.bin
    """
    from rich.console import Console
    from trigpoint_tools.serial import firmware as images
    from trigpoint_tools.serial import install
    from trigpoint_tools.serial.site import FAMILIES, build

    from trigpoint.errors import OperatorError

    chips = chip or list(images.shipped()[images.LATEST].sha256)
    wanted = firmware or [images.LATEST]
    releases = len(wanted) == 1 and images.is_version(wanted[0]) and not Path(wanted[0]).exists()
    if not releases and len(wanted) != len(chips):
        raise OperatorError(
            f"{len(chips)} chips and {len(wanted)} firmware files: give one file for each --chip, in their order"
        )
    with Console(stderr=True, quiet=as_json).status("looks for MicroPython"):
        cache = images.Cache(images.cache_directory())
        found = [
            cache.release(wanted[0], name) if releases else images.load(Path(wanted[number]), name)
            for number, name in enumerate(chips)
        ]
    written = build(directory, found, install.application(), gateway_url)
    size = sum((directory / name).stat().st_size for name in written)
    if as_json:
        listed = [{"chip": image.chip, "micropython": image.version, "sha256": image.sha256} for image in found]
        typer.echo(json.dumps({"directory": str(directory), "firmware": listed, "bytes": size}, indent=2))
        return
    typer.echo(
        f"Made the page for {', '.join(FAMILIES[image.chip] for image in found)} in {directory} ({size / 1e6:.1f} MB)."
    )
    typer.echo(
        f'Next: put board_page = "{directory.absolute()}" into the [api] section of a gateway, or serve the folder'
    )
    typer.echo(f"yourself: python3 -m http.server -d {shlex.quote(str(directory))} --bind 127.0.0.1 8080")
