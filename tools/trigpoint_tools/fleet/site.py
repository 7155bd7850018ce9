"""What a fleet sends to: a chain with the contracts, a broker, a gateway. Real programs, on free loopback ports."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from eth_account.signers.local import LocalAccount
from trigpoint.chain.deploy import Deployment, deploy
from trigpoint.chain.keys import load_signer
from trigpoint.chain.registration import LARGEST_BATCH, register_batch
from trigpoint.clock import WorldClock
from trigpoint.commands.gateway import link_key_hex
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.init import Answers, create
from trigpoint.wire.permit import Permit

from trigpoint_tools.demo import processes
from trigpoint_tools.localchain import LocalChain

_COIN = 10**20
_PERMIT_LIFE_S = 24 * 3600
_POLL_S = 2
_NO_BROKER_S = 15.0  # how long after the broker's return a gateway may still end for the want of it


class Site:
    """One gateway's surroundings, as a context manager: whatever was started has ended when it is left.

    Args:
        directory: where the gateway lives; made as needed.
        logs: where the programs' output goes.
        origin: the world's moment, in seconds since 1970, at which the site is entered.
        speed: seconds of the world in one of ours.
        anchor_every_s: seconds of the world between two anchors.

    Attributes:
        chain: the chain.
        deployment: the contracts on it.
        config: the gateway's.
        clock: the world's.
        broker, gateway: the programs that faults hit.
        broker_port: where the broker listens, whenever it does.
        register_gas: what registrations have taken.
    """

    chain: LocalChain
    deployment: Deployment
    config: Config
    clock: WorldClock
    broker: processes.Child
    gateway: processes.Child

    def __init__(self, directory: Path, logs: Path, *, origin: int, speed: float, anchor_every_s: int) -> None:
        self._directory = directory
        self._logs = logs
        self._origin = origin
        self._speed = speed
        self._anchor_every_s = anchor_every_s
        self._stack = ExitStack()
        self._operator: LocalAccount
        self.broker_port = 0
        self.register_gas = 0
        self._no_broker_at = -_NO_BROKER_S

    def __enter__(self) -> Self:
        """Start all of it, and return once the gateway is ready.

        Raises:
            OperatorError: a program did not come up; the message says which and where its log is.
        """
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all of it, last started first."""
        self._stack.close()

    @property
    def link_key(self) -> str:
        """The gateway's link key as boards' configurations have it."""
        return link_key_hex(self.config)

    @property
    def owner(self) -> bytes:
        """The address that boards are registered for, 20 bytes."""
        return bytes.fromhex(self._operator.address[2:])

    @property
    def registry(self) -> bytes:
        """The address of the DeviceRegistry, 20 bytes."""
        return bytes.fromhex(self.deployment.device_registry[2:])

    def permit_deadline(self) -> int:
        """Return the chain's time, in seconds since 1970, until which a permit signed now should be good."""
        return int(self.chain.web3.eth.get_block("latest")["timestamp"]) + _PERMIT_LIFE_S

    def register(self, permits: Sequence[Permit]) -> None:
        """Put boards on the chain, as many in one transaction as fit."""
        for first in range(0, len(permits), LARGEST_BATCH):
            batch = permits[first : first + LARGEST_BATCH]
            done = register_batch(self.chain.web3, self._operator, self.registry, batch)
            self.register_gas += done.gas_used

    def start_broker(self) -> None:
        """Start the broker, or start it again on the same port; OperatorError if it does not come up."""
        self.broker.start()
        processes.wait_for_port(self.broker_port, self.broker)

    def check(self, *, broker: bool, gateway: bool) -> None:
        """Make sure that what is meant to run does; OperatorError if it has ended by itself.

        A gateway that finds no broker when it starts ends with an error, and is started again, as its service manager
        would (Restart=always in packaging/systemd).
        """
        if broker:
            self.broker.check()
        else:
            self._no_broker_at = time.monotonic()
        if not gateway:
            return
        try:
            self.gateway.check()
        except OperatorError:
            if time.monotonic() - self._no_broker_at > _NO_BROKER_S:
                raise
            self.gateway.start()

    def _start(self, stack: ExitStack) -> None:
        self.chain = stack.enter_context(LocalChain())
        self._operator = self.chain.account()
        self.deployment = deploy(self.chain.web3, self._operator)
        self.broker_port = processes.free_port()
        self.clock = WorldClock(self._origin, time.time(), self._speed)
        self.config = create(
            self._directory,
            Answers(
                broker_host="127.0.0.1",
                broker_port=self.broker_port,
                broker_tls=False,
                rpc_url=self.chain.url,
                chain_id=self.deployment.chain_id,
                device_registry=self.deployment.device_registry,
                transparency_log=self.deployment.transparency_log,
                deploy_block=self.deployment.block,
                confirmations=0,
                poll_s=_POLL_S,
                anchor_every_s=self._anchor_every_s,
                world=(self.clock.origin, self.clock.real_origin, self.clock.speed),
            ),
        )
        self.chain.rpc("anvil_setBalance", load_signer(self.config.chain).address, hex(_COIN))
        self.broker = processes.broker(self.broker_port, self._logs / "broker.log")
        stack.callback(self.broker.stop)
        self.start_broker()
        self.gateway = processes.gateway(self._directory, self._logs / "gateway.log")
        stack.callback(self.gateway.stop)
        self.gateway.start()
        processes.wait_for_file(self.config.public / "trust.json", self.gateway)
