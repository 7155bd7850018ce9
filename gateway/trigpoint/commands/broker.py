"""`trigpoint gateway broker`: the set-up of Mosquitto, and who may log in there."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

broker = typer.Typer(no_args_is_help=True, help="Set up Mosquitto: certificate, passwords, access list.")

Directory = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The gateway's directory, as `gateway init` made it.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
NewPassword = Annotated[bool, typer.Option("--new-password", help="Make a new password though there is one.")]


@broker.command()
def renew(
    directory: Directory,
    *,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="A further name or address under which it is reached.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the broker's certificate anew, or the whole set-up if there is none yet.

    The authority and the passwords stay, so nothing changes for boards and gateway. A name that the certificate has
    already stays in it.

    Example: trigpoint gateway broker renew gw --name 192.168.1.20
    """
    from trigpoint.broker import folder
    from trigpoint.commands.gateway import load_config

    settings = load_config(directory).broker
    place = directory / folder.FOLDER
    names = [*folder.own_names(settings.host), *(name or [])]
    address = settings.gateway_address or folder.gateway_address(settings.host, settings.port)
    made = folder.make(place, names, settings.port, folder.today(), gateway=address, renew=True)
    gateway_password = folder.add_user(place, "gateway")
    folder.add_user(place, "owner")
    if as_json:
        typer.echo(json.dumps({"names": made.names, "until": made.until.isoformat(), "new_authority": made.authority}))
        return
    typer.echo(f"Made a certificate for {', '.join(made.names)}, until {made.until:%Y-%m-%d}.")
    if made.authority:
        typer.echo(f"The authority {place / folder.AUTHORITY} is new: the gateway and each board need it.")
    typer.echo(f"Next: install it as {place / 'README.md'} says.")
    lines = [] if settings.gateway_address else [f'gateway_address = "{address}"']
    if settings.password_file is None:
        lines += [f'ca = "{folder.FOLDER}/{folder.AUTHORITY}"', 'username = "gateway"']
        lines.append(f'password_file = "{gateway_password.relative_to(directory)}"')
    if lines:
        typer.echo("Then put this into the [broker] section of gateway.toml, and start the gateway again:\n")
        for line in lines:
            typer.echo(line)


@broker.command("add-board")
def add_board(
    directory: Directory,
    board: Annotated[str, typer.Argument(metavar="BOARD", help="The board's id, 64 hexadecimal digits.")],
    *,
    new_password: NewPassword = False,
    as_json: AsJson = False,
) -> None:
    """Give a board a password at the broker. Without one it cannot connect.

    A board that has a password keeps it. The password itself is never printed: it is in a file that only you can read.

    Example: trigpoint gateway broker add-board gw 6d0a…
    """
    _add(directory, board.lower(), new_password=new_password, as_json=as_json, what="goes into the board's config.json")


@broker.command("add-user")
def add_user(
    directory: Directory,
    user: Annotated[str, typer.Argument(metavar="USER", help="gateway, owner or homeassistant.")],
    *,
    new_password: NewPassword = False,
    as_json: AsJson = False,
) -> None:
    """Give a user that is no board a password: the gateway, the owner who sends commands, or Home Assistant.

    Example: trigpoint gateway broker add-user gw homeassistant
    """
    from trigpoint.broker.passwords import SERVICES
    from trigpoint.errors import OperatorError

    if user not in SERVICES:
        raise OperatorError(f"{user!r} is none of {', '.join(SERVICES)}; for a board use `gateway broker add-board`")
    _add(directory, user, new_password=new_password, as_json=as_json, what=f"is for whoever is to log in as {user}")


@broker.command()
def remove(
    directory: Directory,
    user: Annotated[str, typer.Argument(metavar="USER", help="A board's id, or one of the other users.")],
) -> None:
    """Take a user's password away. It is out once the broker has the new list and has been told to reload.

    A board that is to be believed no more is revoked on the chain; this only keeps it off the broker.

    Example: trigpoint gateway broker remove gw 6d0a…
    """
    from trigpoint.broker import folder

    known = folder.remove_user(_place(directory), user)
    typer.echo(f"Removed {user}." if known else f"{user} had no password.")
    _say_install(directory)


@broker.command("list")
def list_users(directory: Directory, *, as_json: AsJson = False) -> None:
    """List who has a password at the broker.

    Example: trigpoint gateway broker list gw
    """
    from trigpoint.broker import folder

    found = folder.users(_place(directory))
    if as_json:
        typer.echo(json.dumps(found))
        return
    for user in found:
        typer.echo(user)


def _add(directory: Path, user: str, *, new_password: bool, as_json: bool, what: str) -> None:
    from trigpoint.broker import folder

    path = folder.add_user(_place(directory), user, replace=new_password)
    if as_json:
        typer.echo(json.dumps({"user": user, "password_file": str(path)}))
        return
    typer.echo(f"The password of {user} is in {path}: it {what}.")
    _say_install(directory)


def _say_install(directory: Path) -> None:
    from trigpoint.broker import folder

    typer.echo("Next, for the broker to know of it:")
    lists = [shlex.quote(str(_place(directory) / name)) for name in (folder.BOARDS_LIST, folder.GATEWAY_LIST)]
    typer.echo(f"  sudo install -o root -g mosquitto -m 640 {' '.join(lists)} /etc/mosquitto/trigpoint/")
    typer.echo("  sudo systemctl reload mosquitto")


def _place(directory: Path) -> Path:
    from trigpoint.broker.folder import FOLDER

    return directory / FOLDER
