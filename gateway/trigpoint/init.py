"""Makes a gateway's directory: its keys, where they will be used, and a configuration that explains itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trigpoint import keyfiles
from trigpoint.config import Config, load
from trigpoint.errors import OperatorError

CONFIG_NAME = "gateway.toml"
KEY_MAKERS: dict[str, Callable[[Path], None]] = {
    "keys/log.pem": keyfiles.create_log_key,
    "keys/link.pem": keyfiles.create_link_key,
    "keys/chain.key": keyfiles.create_chain_key,
}


@dataclass(frozen=True)
class Answers:
    """What `gateway init` asks; each has the meaning of the key of the same name in `trigpoint.config`."""

    broker_host: str = "localhost"
    broker_port: int = 8883
    broker_tls: bool = True
    broker_ca: str = ""
    broker_username: str = ""
    broker_password_file: str = ""
    broker_client_id: str = "trigpoint-gateway"
    rpc_url: str = "http://127.0.0.1:8545"
    chain_id: int = 31337
    device_registry: str = ""
    transparency_log: str = ""
    deploy_block: int = 0
    confirmations: int = 12
    poll_s: int = 2
    max_fee_gwei: int = 500
    anchor_every_s: int = 3600
    world: tuple[int, float, float] | None = None


def create_keys(directory: Path) -> list[Path]:
    """Make the keys that are not there yet under `directory`/keys, and return the paths of those made.

    A key that exists is left as it is: to replace one is never what a second `init` means.

    Raises:
        OperatorError: the directory cannot be written.
    """
    made = []
    try:
        (directory / "keys").mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, make in KEY_MAKERS.items():
            path = directory / name
            if not path.exists():
                make(path)
                made.append(path)
    except OSError as error:
        raise OperatorError(f"cannot make keys in {directory}: {error.strerror}; check the path") from error
    return made


def create(directory: Path, answers: Answers) -> Config:
    """Make the missing keys and `directory`/gateway.toml, and return the configuration as loaded from there.

    Raises:
        OperatorError: there is a gateway.toml already, an answer is wrong, or the directory cannot be written.
    """
    path = directory / CONFIG_NAME
    if path.exists():
        raise OperatorError(f"{path} exists already; edit it, or choose another directory")
    create_keys(directory)
    try:
        keyfiles.write_private(path, _render(answers).encode())
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}; check the path") from error
    try:
        return load(path)
    except OperatorError:
        path.unlink()
        raise


def record_contracts(path: Path, device_registry: str, transparency_log: str, deploy_block: int) -> Config:
    """Put the addresses of freshly deployed contracts into the configuration file `path`, and load it again.

    Only the three values change; comments and all else stay as the operator left them.

    Raises:
        OperatorError: the file cannot be read or written, or has no such keys, or they name other contracts already.
    """
    config = load(path)
    if config.chain.device_registry or config.chain.transparency_log:
        raise OperatorError(f"{path} names contracts already; empty chain.device_registry and chain.transparency_log")
    text = path.read_text(encoding="utf-8")
    for key, value in (
        ("device_registry", device_registry),
        ("transparency_log", transparency_log),
        ("deploy_block", deploy_block),
    ):
        line = f"{key} = {json.dumps(value)}"
        text, count = re.subn(rf"(?m)^{key}\s*=.*$", line, text)
        if count != 1:
            raise OperatorError(f"{path} has no line of its own for {key}: write there `{line}`")
    changed = path.with_name(path.name + ".changed")
    try:
        changed.unlink(missing_ok=True)
        keyfiles.write_private(changed, text.encode())
        changed.replace(path)
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}; check its permissions") from error
    return load(path)


def _render(answers: Answers) -> str:
    # A JSON string is a TOML basic string, but for DEL, which only TOML wants escaped; booleans and numbers are equal.
    quoted = {
        name: json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        for name, value in vars(answers).items()
        if name != "world"
    }
    text = _TEMPLATE.format_map(quoted)
    if answers.world is not None:
        origin, real_origin, speed = answers.world
        text += _WORLD.format(origin=origin, real_origin=float(real_origin), speed=float(speed))
    return text


_TEMPLATE = """\
# Trigpoint gateway. Relative paths start from the directory of this file.
# After a change, stop the gateway and start it again: `trigpoint gateway run <this directory>`.

# The database, and under public/ the files that anyone may fetch (checkpoint, tiles, trust.json).
# Back this directory up: it is the only thing here besides keys/ that cannot be made again.
data = "data"

[broker]
# The MQTT broker that the boards publish to. It is trusted to be there, and with nothing else.
host = {broker_host}
port = {broker_port}
# With TLS the broker's certificate is always verified: against ca (a PEM file), or the system's list if ca is empty.
tls = {broker_tls}
ca = {broker_ca}
# Leave both empty for a broker that asks for no password. The file holds the password on one line, mode 0600.
username = {broker_username}
password_file = {broker_password_file}
# The broker keeps messages for this name while the gateway is away. Two running gateways must not share it.
client_id = {broker_client_id}

[chain]
# A node of the chain, JSON-RPC over HTTP. It may hold an access token: it never appears in a log.
rpc_url = {rpc_url}
# The node must be on this chain; the gateway refuses to start otherwise. 31337 is a local Anvil.
chain_id = {chain_id}
# Where the two contracts are. Empty until `trigpoint chain deploy` has put them on the chain and written them here.
device_registry = {device_registry}
transparency_log = {transparency_log}
# The block of the deployment: registry events are read from there on.
deploy_block = {deploy_block}
# Blocks that must lie on top of a block before the gateway believes it. More is safer and slower; 0 for a local chain.
confirmations = {confirmations}
# Seconds between two looks at the chain, for boards newly enrolled and for anchors under way.
poll_s = {poll_s}
# Most that an anchor may pay for one gas, in billionths of the coin. Fees are the node's word: without a bound, one
# that lies could spend the whole account at once. Chains with a cheap coin ask for more.
max_fee_gwei = {max_fee_gwei}
# The gateway's account: it opens the log and pays for anchors. Send it some of the chain's coin.
key_file = "keys/chain.key"

[log]
# Signs checkpoints and receipts (Ed25519). Lose it and the log cannot go on; leak it and others can sign for it.
key_file = "keys/log.pem"

[link]
# Boards and gateway derive the keys of their acks from it (P-256). Its public half is in each board's config.json.
key_file = "keys/link.pem"

[anchor]
# Seconds between two anchors, at least. Each costs gas; until its anchor, a receipt is signed by the log alone.
every_s = {anchor_every_s}
"""

_WORLD = """
[clock]
# This gateway lives in an emulated world: its clock started at `origin` (seconds since 1970) when the machine's
# clock said `real_origin`, and runs `speed` times as fast. A real gateway has no such section.
origin = {origin}
real_origin = {real_origin!r}
speed = {speed!r}
"""
