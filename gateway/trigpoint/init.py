"""Makes a gateway's directory: its keys, where they will be used, and a configuration that explains itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from trigpoint import keyfiles
from trigpoint.chain.presets import Preset
from trigpoint.config import Config, check, load
from trigpoint.configfile import render
from trigpoint.errors import OperatorError

CONFIG_NAME = "gateway.toml"
CHAIN_KEY = "keys/chain.key"
KEY_MAKERS: dict[str, Callable[[Path], None]] = {
    "keys/log.pem": keyfiles.create_log_key,
    "keys/link.pem": keyfiles.create_link_key,
    CHAIN_KEY: keyfiles.create_chain_key,
}


@dataclass(frozen=True)
class Answers:
    """What `gateway init` asks; each has the meaning of the key of the same name in `trigpoint.config`."""

    broker_host: str = "localhost"
    broker_port: int = 8883
    broker_gateway_address: str = ""
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
    max_spend_per_day: str = "0.1"
    owners: tuple[str, ...] = ()
    anchor_every_s: int = 3600
    metrics_listen: str = ""
    world: tuple[int, float, float] | None = None

    def suited_to(self, preset: Preset) -> Answers:
        """Return these answers with what suits a chain that we know: how often to look, and what to spend."""
        return replace(
            self,
            poll_s=preset.poll_s,
            max_fee_gwei=preset.max_fee_gwei,
            max_spend_per_day=preset.max_spend_per_day,
        )


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
    text = configuration(answers)
    create_keys(directory)
    try:
        keyfiles.write_private(path, text.encode())
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}; check the path") from error
    return load(path)


def record_contracts(path: Path, device_registry: str, transparency_log: str, deploy_block: int) -> Config:
    """Put the addresses of freshly deployed contracts into the configuration file `path`, and load it again.

    Only the three values change; comments and all else stay as the operator left them.

    Raises:
        OperatorError: the file cannot be read or written, or has no such keys.
    """
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


def configuration(answers: Answers) -> str:
    """Return the text of the configuration file that `answers` make. Raises OperatorError if one of them is wrong."""
    sections: dict[str, object] = {
        "data": "data",
        "broker": {
            "host": answers.broker_host,
            "port": answers.broker_port,
            "gateway_address": answers.broker_gateway_address,
            "tls": answers.broker_tls,
            "ca": answers.broker_ca,
            "username": answers.broker_username,
            "password_file": answers.broker_password_file,
            "client_id": answers.broker_client_id,
        },
        "chain": {
            "rpc_url": answers.rpc_url,
            "chain_id": answers.chain_id,
            "device_registry": answers.device_registry,
            "transparency_log": answers.transparency_log,
            "deploy_block": answers.deploy_block,
            "confirmations": answers.confirmations,
            "poll_s": answers.poll_s,
            "max_fee_gwei": answers.max_fee_gwei,
            "max_spend_per_day": answers.max_spend_per_day,
            "key_file": CHAIN_KEY,
        },
        "log": {"key_file": "keys/log.pem"},
        "link": {"key_file": "keys/link.pem"},
        "ingest": {"owners": answers.owners},
        "anchor": {"every_s": answers.anchor_every_s},
        "metrics": {"listen": answers.metrics_listen},
    }
    if answers.world is not None:
        origin, real_origin, speed = answers.world
        sections["clock"] = {"origin": origin, "real_origin": float(real_origin), "speed": float(speed)}
    return render(check(sections, CONFIG_NAME), secrets=True)
