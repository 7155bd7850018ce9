"""Where a gateway is put to the test: a chain, a broker, registered boards, and the gateway's own directory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from trigpoint import keyfiles
from trigpoint.chain.deploy import deploy
from trigpoint.chain.keys import load_signer
from trigpoint.chain.registration import register_batch
from trigpoint.config import Config
from trigpoint.init import Answers, create
from trigpoint.wire import permit
from trigpoint.wire.keys import ORDER
from trigpoint.wire.permit import Permit

from trigpoint_tools.crash.fleet import Board, Fleet
from trigpoint_tools.crash.starter import Changes, Started, Starter
from trigpoint_tools.demo import processes
from trigpoint_tools.localchain import LocalChain

_COIN = 10**20


@dataclass
class Site:
    """One gateway's surroundings.

    Attributes:
        directory: the gateway's.
        config: as loaded from there.
        chain: a running Anvil with the contracts.
        boards: registered on the chain.
        starter: starts the gateway.
    """

    directory: Path
    config: Config
    chain: LocalChain
    boards: list[Board]
    starter: Starter

    @property
    def log(self) -> Path:
        """Where the gateway's output goes, one run after the other."""
        return self.directory / "gateway.log"

    def start(self, *, changes: Changes | None = None, hold: bool = False) -> Started:
        """Start the gateway."""
        return self.starter.start(self.directory / "gateway.toml", self.log, changes=changes, hold=hold)

    def fleet(self, *, flowing: bool = True) -> Fleet:
        """Return the boards, not sending yet."""
        link_key = keyfiles.load_link_key(self.config.link.key_file)
        return Fleet(self.config.broker.port, link_key, self.boards, flowing=flowing)


class Ground:
    """What the gateways of many sites can share: a chain with the contracts, a broker, a starter. A context manager.

    Everything is on free loopback ports, and ends with it.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._boards = 0

    def __enter__(self) -> Self:
        """Start all of it."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trigpoint-crash-")))
            self._port = processes.free_port()
            self._broker = processes.broker(self._port, folder / "broker.log")
            stack.callback(self._broker.stop)
            self._broker.start()
            self._starter = stack.enter_context(Starter())
            self._chain = stack.enter_context(LocalChain())
            self._operator = self._chain.account()
            self._deployment = deploy(self._chain.web3, self._operator)
            processes.wait_for_port(self._port, self._broker)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all of it."""
        self._stack.close()

    def site(self, directory: Path, *, boards: int = 8, anchor_every_s: int = 3600) -> Site:
        """Make a gateway's directory, with keys of its own, and register boards that no other site has.

        Args:
            directory: where; made as needed.
            boards: how many.
            anchor_every_s: seconds between two anchors.
        """
        deployment = self._deployment
        config = create(
            directory,
            Answers(
                broker_host="127.0.0.1",
                broker_port=self._port,
                broker_tls=False,
                broker_client_id=f"gateway-{self._boards}",
                rpc_url=self._chain.url,
                chain_id=deployment.chain_id,
                device_registry=deployment.device_registry,
                transparency_log=deployment.transparency_log,
                deploy_block=deployment.block,
                confirmations=0,
                poll_s=1,
                anchor_every_s=anchor_every_s,
            ),
        )
        self._chain.rpc("anvil_setBalance", load_signer(config.chain).address, hex(_COIN))
        made = [Board(number) for number in range(self._boards, self._boards + boards)]
        self._boards += boards
        registry = bytes.fromhex(deployment.device_registry[2:])
        owner = bytes.fromhex(self._operator.address[2:])
        signed = permits(made, deployment.chain_id, registry, owner)
        register_batch(self._chain.web3, self._operator, registry, signed)
        return Site(directory, config, self._chain, made, self._starter)


def permits(boards: Sequence[Board], chain_id: int, registry: bytes, owner: bytes) -> list[Permit]:
    """Return each board's permit, as its firmware would sign it."""
    signed = []
    for board in boards:
        bare = Permit(owner, board.public.x, board.public.y, bytes(32), 2**40, bytes(32), bytes(32))
        digest = permit.digest(chain_id, registry, bare)
        r, s = decode_dss_signature(board.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        signed.append(replace(bare, r=r.to_bytes(32, "big"), s=min(s, ORDER - s).to_bytes(32, "big")))
    return signed
