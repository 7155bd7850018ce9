"""Where a gateway is put to the test: a chain, a broker, registered boards, and the gateway's own directory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

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
        broker: running, on `config.broker.port`.
        boards: registered on the chain.
        starter: starts the gateway.
    """

    directory: Path
    config: Config
    chain: LocalChain
    broker: processes.Child
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


@contextmanager
def make(directory: Path | None = None, *, boards: int = 8, anchor_every_s: int = 3600) -> Iterator[Site]:
    """Build a site on free loopback ports, and take all of it down again.

    Args:
        directory: where; a folder that is removed afterwards if it is None.
        boards: how many to register.
        anchor_every_s: seconds between two anchors.
    """
    with ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trigpoint-crash-")))
        chain = stack.enter_context(LocalChain())
        operator = chain.account()
        deployment = deploy(chain.web3, operator)
        port = processes.free_port()
        broker = processes.broker(port, directory / "broker.log")
        stack.callback(broker.stop)
        broker.start()
        config = create(
            directory / "gateway",
            Answers(
                broker_host="127.0.0.1",
                broker_port=port,
                broker_tls=False,
                rpc_url=chain.url,
                chain_id=deployment.chain_id,
                device_registry=deployment.device_registry,
                transparency_log=deployment.transparency_log,
                deploy_block=deployment.block,
                confirmations=0,
                poll_s=1,
                anchor_every_s=anchor_every_s,
            ),
        )
        chain.rpc("anvil_setBalance", load_signer(config.chain).address, hex(_COIN))
        made = [Board(number) for number in range(boards)]
        registry = bytes.fromhex(deployment.device_registry[2:])
        owner = bytes.fromhex(operator.address[2:])
        register_batch(chain.web3, operator, registry, permits(made, deployment.chain_id, registry, owner))
        starter = stack.enter_context(Starter())
        processes.wait_for_port(port, broker)
        yield Site(directory / "gateway", config, chain, broker, made, starter)


def permits(boards: Sequence[Board], chain_id: int, registry: bytes, owner: bytes) -> list[Permit]:
    """Return each board's permit, as its firmware would sign it."""
    signed = []
    for board in boards:
        bare = Permit(owner, board.public.x, board.public.y, bytes(32), 2**40, bytes(32), bytes(32))
        digest = permit.digest(chain_id, registry, bare)
        r, s = decode_dss_signature(board.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        signed.append(replace(bare, r=r.to_bytes(32, "big"), s=min(s, ORDER - s).to_bytes(32, "big")))
    return signed
