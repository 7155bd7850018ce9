"""The chain: reachable, the right one, with the right contracts, and money for the anchors to come."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass

from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.client import check_contracts, connect
from trigpoint.chain.errors import ChainUnavailableError
from trigpoint.chain.keys import load_signer
from trigpoint.chain.node import Node, address_bytes, checksum
from trigpoint.chain.presets import BY_CHAIN_ID
from trigpoint.chain.spending import coins
from trigpoint.config import Config
from trigpoint.doctor import clock
from trigpoint.doctor.finding import Finding, fail, ok, unknown, warn
from trigpoint.errors import OperatorError
from trigpoint.words import counted

_ANCHOR_GAS = 60_000
"""What an anchor uses (docs: bench figure anchor_gas_1m), until there are some of our own to go by."""

_RECENT = 50
_DAY_S = 86_400
_LAG_BLOCKS = 100
_LOW_DAYS, _EMPTY_DAYS = 30, 3
_LONG_DAYS = 3653
"""Ten years: prices do not hold that long, so a figure would say nothing."""


@dataclass(frozen=True)
class Anchored:
    """What the database knows of the chain.

    Attributes:
        log_id: 32 bytes; None before the gateway's first run.
        mirrored: the block up to which the registry is mirrored; None before the first run.
        cost: the mean cost of recent anchors, in wei; None while there are none.
        per_day: anchors a day, of late; None while there are fewer than two.
    """

    log_id: bytes | None = None
    mirrored: int | None = None
    cost: int | None = None
    per_day: float | None = None


def look(connection: sqlite3.Connection) -> Anchored:
    """Read what the database knows. Raises sqlite3.Error, as from a schema that is older than this Trigpoint's."""
    (log_id,) = connection.execute("SELECT log_id FROM log_state").fetchone()
    cursor = connection.execute("SELECT block FROM registry_cursor").fetchone()
    rows = connection.execute(
        "SELECT cost, prepared_ms FROM transactions WHERE purpose = 'anchor' AND cost IS NOT NULL"
        " ORDER BY id DESC LIMIT ?",
        (_RECENT,),
    ).fetchall()
    cost = sum(int(paid) for paid, _ in rows) // len(rows) if rows else None
    per_day = None
    if len(rows) > 1 and rows[0][1] > rows[-1][1]:
        per_day = (len(rows) - 1) * _DAY_S * 1000 / (rows[0][1] - rows[-1][1])
    return Anchored(log_id, cursor[0] if cursor else None, cost, per_day)


def examine(config: Config, known: Anchored) -> Iterator[Finding]:
    """Ask the node. A gateway that lives in an emulated world has a clock of its own, which is not compared."""
    settings = config.chain
    node_key = "chain.rpc_url"
    try:
        web3 = connect(settings.rpc_url, settings.chain_id)
        node = Node(web3)
        head = node.block()
    except ChainUnavailableError as error:
        yield fail("chain", "node", str(error), f"check {node_key}; what is stored meanwhile is anchored later")
        return
    except OperatorError as error:
        yield fail("chain", "node", str(error), f"correct {node_key} or chain.chain_id")
        return
    preset = BY_CHAIN_ID.get(settings.chain_id)
    name = preset.title if preset else f"chain {settings.chain_id}"
    if head is None:
        yield warn("chain", "node", f"{node.place} has no block yet", "wait until it has started")
        return
    yield ok("chain", "node", f"{name} at {node.place}, block {head.number:,}")
    if config.clock is None:
        yield clock.judge_skew(int(time.time()), head.time, preset.block_s if preset else 12)
    if known.mirrored is not None:
        yield judge_lag(head.number - known.mirrored, settings.confirmations)
    try:
        yield from _examine_contracts(config, node, known)
        yield from _examine_funds(config, node, known, preset.coin if preset else "coins")
    except OperatorError as error:
        yield fail("chain", "node", str(error), f"check {node_key}")


def judge_lag(behind: int, confirmations: int) -> Finding:
    """Judge by how many blocks the registry's mirror is behind the newest block."""
    what = "registry mirror"
    if behind < 0:
        return warn(
            "chain", what, f"the node is {counted(-behind, 'block')} behind what was mirrored", "use another node"
        )
    if behind > confirmations + _LAG_BLOCKS:
        return warn(
            "chain",
            what,
            f"{counted(behind, 'block')} behind: boards enrolled since are refused",
            "start the gateway, or wait until it has caught up; a node that limits requests makes it slow",
        )
    return ok("chain", what, f"{counted(behind, 'block')} behind, {confirmations} of them to be sure")


def anchors_per_day(config: Config, seen: float | None) -> float:
    """Return how many anchors a day are to be paid for, at most.

    Args:
        config: the gateway's; in an emulated world its clock runs faster than ours, and so do anchors.
        seen: how many there were of late in one of the gateway's days; None if that is not known.
    """
    most = _DAY_S / config.anchor.every_s
    speed = config.clock.speed if config.clock else 1.0
    return min(min(seen or most, most) * speed, _DAY_S / config.chain.poll_s)


def judge_funds(balance: int, cost: int, per_day: float, coin: str) -> Finding:
    """Judge how long the account pays for anchors; amounts in wei."""
    what = "days left"
    if balance < cost:
        return fail(
            "funds",
            what,
            f"{_short(balance)} {coin} does not pay one anchor of {_short(cost)}",
            "send the account some; statements are stored meanwhile, and anchored later",
        )
    days = balance / (cost * per_day) if cost and per_day else None
    if days is None:
        return ok("funds", what, f"{_short(balance)} {coin}")
    left = f"{days:,.0f}" if days < _LONG_DAYS else "more than ten years"
    text = f"{left} with {_short(balance)} {coin}, at {per_day:,.1f} anchors a day of {_short(cost)} each"
    if days < _LOW_DAYS:
        remedy = "send the account some, or anchor less often (anchor.every_s)"
        return fail("funds", what, text, remedy) if days < _EMPTY_DAYS else warn("funds", what, text, remedy)
    return ok("funds", what, text)


def _examine_contracts(config: Config, node: Node, known: Anchored) -> Iterator[Finding]:
    settings = config.chain
    if not settings.device_registry or not settings.transparency_log:
        yield fail("contracts", "addresses", "not in the configuration", "run `trigpoint chain deploy --gateway DIR`")
        return
    registry, log = address_bytes(settings.device_registry), address_bytes(settings.transparency_log)
    try:
        check_contracts(node.web3, registry, log)
    except ChainUnavailableError:
        raise
    except OperatorError as error:
        reason, _, remedy = str(error).partition(": ")
        yield fail("contracts", "code", reason, remedy or "correct the addresses in gateway.toml")
        return
    yield ok("contracts", "code", f"registry {checksum(registry)}, log {checksum(log)}")
    if known.log_id is None:
        yield unknown("contracts", "log's writer", "the log is opened when the gateway runs for the first time")
        return
    opener, _ = node.call(TRANSPARENCY_LOG, log, "logs", known.log_id)
    if int(opener, 16) == 0:
        yield unknown("contracts", "log's writer", "the log is not open yet; the gateway opens it")
        return
    writer, size, _, _ = node.call(TRANSPARENCY_LOG, log, "heads", known.log_id)
    account = address_bytes(str(load_signer(settings).address))
    if address_bytes(writer) != account:
        yield fail(
            "contracts",
            "log's writer",
            f"it is {checksum(address_bytes(writer))}, not this gateway's account",
            "let the opener call setWriter, or bring back the chain.key_file that the log was begun with",
        )
        return
    yield ok("contracts", "log's writer", f"this gateway; {counted(size, 'leaf')} anchored")


def _examine_funds(config: Config, node: Node, known: Anchored, coin: str) -> Iterator[Finding]:
    try:
        account = str(load_signer(config.chain).address)
    except OperatorError:
        return  # said where keys are looked at
    balance = node.balance(address_bytes(account))
    yield ok("funds", "account", account)
    cost = known.cost if known.cost is not None else _ANCHOR_GAS * node.gas_price()
    yield judge_funds(balance, cost, anchors_per_day(config, known.per_day), coin)


def _short(wei: int) -> str:
    """Return an amount with four digits that count."""
    if wei == 0:
        return "0"
    drop = max(0, len(str(wei)) - 4)
    return coins(wei // 10**drop * 10**drop)
