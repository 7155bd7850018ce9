"""The gateway's side of the chain as one part: checked at the start, then looked at every few seconds in a thread."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trigpoint.chain.anchoring import Anchorer
from trigpoint.chain.client import check_chain, check_contracts, open_node, prefer_first, turn_to_next
from trigpoint.chain.errors import ChainUnavailableError, WrongChainError
from trigpoint.chain.heads import LogForkError
from trigpoint.chain.keys import load_signer
from trigpoint.chain.node import address_bytes
from trigpoint.chain.registry import RegistrySync
from trigpoint.chain.spending import wei
from trigpoint.chain.submitter import Limits
from trigpoint.clock import Clock
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.log import checkpoint
from trigpoint.store import log
from trigpoint.store import registry as mirror
from trigpoint.store.chain import InFlightError
from trigpoint.store.locks import check_locks
from trigpoint.store.writer import Writer
from trigpoint.wire.trust import Trust

_log = logging.getLogger(__name__)

STALLS_S: Final = 600.0
"""Longer than a round takes with a node that answers each question only just in time."""

_BACK_OFF_MAX_S = 60.0
_STOP_S = 5.0
_SAY_AGAIN_S = 3600.0
_GWEI = 10**9


class ChainLoop:
    """Mirrors the registry, settles transactions, anchors the log.

    What goes wrong there is logged and tried again with back-off, while statements go on being stored. Only a chain
    that contradicts the log stops the gateway.

    Args:
        config: the gateway's.
        log_key: the log's.
        writer: the database.
        clock: the gateway's clock.
        failed: told of an error that no part of the gateway can mend.
        moved: told that the thread is not stuck.
        publish: returns once so many leaves of the log are published.

    Attributes:
        account: the gateway's, 0x and 40 hexadecimal digits.

    Raises:
        OperatorError: the account's key cannot be read, or the database belongs to another log key.
    """

    def __init__(
        self,
        config: Config,
        log_key: Ed25519PrivateKey,
        writer: Writer,
        clock: Clock,
        *,
        failed: Callable[[Exception], None],
        moved: Callable[[], None],
        publish: Callable[[int], None],
    ) -> None:
        settings = config.chain
        signer = load_signer(settings)
        self.account = str(signer.address)
        self._chain_id = settings.chain_id
        self._contracts = address_bytes(settings.device_registry), address_bytes(settings.transparency_log)
        self._web3 = open_node(settings.rpc_url, *settings.fallback_rpc_urls)
        self._nodes = 1 + len(settings.fallback_rpc_urls)
        self._poll_s = settings.poll_s
        self._writer = writer
        self._failed = failed
        self._moved = moved
        self._said: dict[str, tuple[type[Exception], float]] = {}
        self._checked = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chain", daemon=True)

        public_key = log_key.public_key().public_bytes_raw()
        own_id = checkpoint.log_id(address_bytes(signer.address), public_key)
        log_id = writer.submit(lambda connection: log.claim(connection, own_id, public_key))
        self.trust = Trust(self._chain_id, *self._contracts, log_id, public_key)
        self._registry = RegistrySync(
            self._web3,
            self._contracts[0],
            settings.deploy_block,
            settings.confirmations,
            writer,
            chain_id=settings.chain_id,
        )
        self._anchorer = Anchorer(
            self._web3,
            writer,
            signer=signer,
            chain_id=settings.chain_id,
            contract=self._contracts[1],
            log_id=log_id,
            log_key=public_key,
            limits=Limits(
                confirmations=settings.confirmations,
                max_fee_wei=settings.max_fee_gwei * _GWEI,
                max_spend_wei=wei(settings.max_spend_per_day),
                reprice_after_s=settings.reprice_after_s,
            ),
            every_s=config.anchor.every_s,
            clock=clock,
            publish=publish,
        )

    def check(self) -> bool:
        """Check the chain before the first statement; return False if no node answers, and that has to wait.

        It has to wait only if the registry was mirrored before: a gateway whose power comes back before its line to the
        world does must take what the boards have. Whoever puts an old backup in place sees to it that this check is
        made (`trigpoint gateway restore` does); and it is made before anything is anchored.

        Raises:
            LogForkError: the chain contradicts the log.
            ChainUnavailableError: no node answers, and this gateway has never seen the chain.
            OperatorError: the nodes are on another chain, or the contracts are not there.
        """
        for last in [False] * (self._nodes - 1) + [True]:
            try:
                self._check()
            except (ChainUnavailableError, WrongChainError) as error:
                if not last:
                    turn_to_next(self._web3)
                    continue
                cursor = self._writer.submit(mirror.cursor)
                known = cursor is not None and (cursor.chain_id, cursor.registry) == (
                    self._chain_id,
                    self._contracts[0],
                )
                if not known or isinstance(error, WrongChainError):
                    raise
                _log.error("%s; statements are taken, and the chain is checked when it answers", error)
                return False
            return True
        raise AssertionError("the last round returns or raises")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop soon: a question to a node that does not answer is left behind."""
        self._stopping.set()
        self._thread.join(_STOP_S)

    def _check(self) -> None:
        check_chain(self._web3, self._chain_id)
        check_contracts(self._web3, *self._contracts)
        # Before the first message: or a board that has been registered meanwhile would be refused.
        self._catch_up()
        self._anchorer.settle()
        self._checked = True

    def _catch_up(self) -> None:
        """Mirror all that the chain has by now. A node that is behind what is mirrored already has nothing to add."""
        reached = None
        while not (progress := self._registry.step()).caught_up and progress.block != reached:
            reached = progress.block
            self._moved()

    def _run(self) -> None:
        pause_s: float = self._poll_s
        try:
            while not self._stopping.wait(pause_s):
                self._moved()
                prefer_first(self._web3)
                pause_s = self._poll_s if self._round() else min(2 * pause_s, _BACK_OFF_MAX_S)
        except Exception as error:
            if not self._stopping.is_set():
                self._failed(error)

    def _round(self) -> bool:
        if not self._checked and not self._try("check", self._check):
            return False
        # Trouble with anchors, such as an empty account, must not keep boards from being enrolled.
        well = [
            self._try("registry", self._catch_up),
            self._try("registry check", self._registry.cross_check),
            self._try("anchor", self._anchorer.step),
        ]
        return all(well)

    def _try(self, what: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except LogForkError:
            raise
        except (OperatorError, InFlightError, sqlite3.OperationalError) as error:
            if isinstance(error, sqlite3.OperationalError):
                check_locks(error)
            self._say(what, error)
            if isinstance(error, ChainUnavailableError | WrongChainError):
                turn_to_next(self._web3)
            return False
        if self._said.pop(what, None):
            _log.info("chain %s: well again", what)
        return True

    def _say(self, what: str, error: Exception) -> None:
        """Log trouble once when it begins, and then once an hour: an empty account is not news every minute."""
        kind, since = self._said.get(what, (None, 0.0))
        now = time.monotonic()
        if kind is not type(error) or now - since >= _SAY_AGAIN_S:
            self._said[what] = (type(error), now)
            _log.error("chain %s: %s; it is tried again", what, error)
        else:
            _log.debug("chain %s: %s", what, error)
