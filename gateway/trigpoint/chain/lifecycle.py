"""How a transaction goes on: the states, the table of moves, and nothing that touches chain, key or database.

A transaction is given a nonce once. Offered again at a higher price it is the same transaction in another variant, a
row of its own with the same nonce, and since a block takes a nonce once, no two variants ever take effect. One variant
is pursued, all others are `replaced`; whichever a block takes is the one that counts.

                      +-------------- a block took it after all -------------+
                      |                                                      v
      prepared ---> sent <----------- reorganised <--- left the chain --- mined ---> final
                    |  |                   ^  |                            ^           |
    a higher price  |  |                   |  |                            |           |
    in its place    v  |                   |  +----------------------------+           |
             replaced  |                   +--- left the chain all the same (reported) +
                       |
                       +---> abandoned        its nonce was used by another, or it was reverted; believed
                                              after as many blocks as a final one

Where an arrow is drawn from `sent` it holds for `reorganised` too, and what is `replaced` can still be mined, which
makes the variant that was pursued until then `replaced`. `abandoned` goes to `reorganised` if a deep reorganisation
frees its nonce. Nothing else is possible: `MOVES` says it to programs.

`decide` makes every move from the stored rows and one look at the chain. `Submitter` looks, stores, and only then acts.
The one act is to send stored bytes, which does no harm twice: equal bytes are one transaction. So a crash between any
two instructions leaves rows from which the next look goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from trigpoint.store.chain import LIVE, State, Transaction

MOVES: Final = {
    State.PREPARED: {State.SENT, State.MINED, State.FINAL, State.REPLACED, State.ABANDONED},
    State.SENT: {State.MINED, State.FINAL, State.REPLACED, State.ABANDONED},
    State.MINED: {State.FINAL, State.REORGANISED, State.REPLACED, State.ABANDONED},
    State.REORGANISED: {State.SENT, State.MINED, State.FINAL, State.REPLACED, State.ABANDONED},
    State.REPLACED: {State.MINED, State.FINAL, State.ABANDONED},
    State.ABANDONED: {State.REORGANISED},
    State.FINAL: {State.REORGANISED},
}
"""From each state, those that may follow in one look: much can have happened since the last."""

_MOST_DOUBLINGS = 4


@dataclass(frozen=True)
class Inclusion:
    """A transaction in a block. `took_effect`: it emitted the event that it was made for. `cost` is in wei."""

    block: int
    block_hash: bytes
    gas_used: int
    cost: int
    took_effect: bool


@dataclass(frozen=True)
class Sighting:
    """What the chain says of one variant: where it is, or None; and whether the node has it, in a block or waiting."""

    inclusion: Inclusion | None
    known: bool


@dataclass(frozen=True)
class Look:
    """One look at the chain for a transaction with all its variants.

    Attributes:
        head: number of the newest block.
        nonce_used: whether a block has used its nonce.
        variants: by the row's id.
    """

    head: int
    nonce_used: bool
    variants: Mapping[int, Sighting]


@dataclass(frozen=True)
class Decision:
    """What follows.

    Attributes:
        changed: rows with a new state, to be stored in this order in one piece.
        send: the variant whose bytes are to be sent after that, or None.
        stuck: the variant that is in no block for too long and wants a higher price, or None.
    """

    changed: tuple[Transaction, ...] = ()
    send: Transaction | None = None
    stuck: Transaction | None = None


def decide(
    variants: Sequence[Transaction], look: Look, *, confirmations: int, now_ms: int, patience_ms: int
) -> Decision:
    """Decide how a transaction goes on.

    Args:
        variants: of one live transaction, oldest first; one of them is live, the others replaced.
        look: what the chain says now.
        confirmations: blocks on top of a block before it is believed.
        now_ms: milliseconds since 1970.
        patience_ms: how long it may be in no block before it is stuck; each variant doubles it, up to 16-fold.
    """
    pursued = next(variant for variant in variants if variant.state in LIVE)
    taken = [(variant, seen) for variant in variants if (seen := look.variants[variant.id].inclusion) is not None]
    if taken:
        # An honest chain shows one at most; of two, the one with an effect is the better guess.
        return _taken(*max(taken, key=lambda pair: pair[1].took_effect), pursued, look.head, confirmations)
    if pursued.raw is None:
        # Another gateway's, found on the chain: there are no bytes to send again.
        state = State.REORGANISED if pursued.state is State.MINED else State.ABANDONED
        return Decision(changed=(_outside(pursued, state, "its block left the chain"),))
    if look.nonce_used:
        return _nonce_used(pursued, look.head, confirmations)
    if pursued.state is State.MINED:
        return Decision(changed=(_outside(pursued, State.REORGANISED, "its block left the chain"),))
    known = look.variants[pursued.id].known
    if pursued.state is not State.SENT:
        sent = replace(_outside(pursued, State.SENT, ""), sent_ms=now_ms)
        return Decision(changed=(sent,), send=None if known else sent)
    clean = pursued if pursued.passed_at is None else _outside(pursued, State.SENT, "")
    waited_ms = now_ms - (clean.sent_ms or 0)
    doublings = min(len(variants) - 1, _MOST_DOUBLINGS)
    # A clock that was set back says nothing of the time since; better one price too high than stuck until it is right.
    stuck = not 0 <= waited_ms < patience_ms << doublings
    return Decision(
        changed=() if clean == pursued else (clean,), send=None if known else clean, stuck=clean if stuck else None
    )


def _taken(variant: Transaction, where: Inclusion, pursued: Transaction, head: int, confirmations: int) -> Decision:
    """A block has taken one of the variants."""
    deep = head - where.block >= confirmations
    if not where.took_effect and not deep:
        # The block may yet leave the chain, and the transaction take effect in another one.
        note = f"reverted in block {where.block}"
        waiting = _outside(pursued, _still_out(pursued.state), note)
        return Decision(changed=() if waiting == pursued else (waiting,))
    settled = State.FINAL if where.took_effect else State.ABANDONED
    inside = replace(
        variant,
        state=settled if deep else State.MINED,
        block=where.block,
        block_hash=where.block_hash,
        gas_used=where.gas_used,
        cost=where.cost,
        passed_at=None,
        note="" if where.took_effect else f"reverted in block {where.block}",
    )
    changed = [inside] if inside != variant else []
    if variant.id != pursued.id:
        changed.insert(0, _outside(pursued, State.REPLACED, "another variant was mined"))
    return Decision(changed=tuple(changed))


def _nonce_used(pursued: Transaction, head: int, confirmations: int) -> Decision:
    """A block has used the nonce, and none of the variants is in it: another program used the key.

    That block may yet leave the chain; or the node is behind with receipts.
    """
    since = head if pursued.passed_at is None else min(pursued.passed_at, head)
    deep = head - since >= confirmations
    state = State.ABANDONED if deep else _still_out(pursued.state)
    passed = replace(_outside(pursued, state, "another transaction took its nonce"), passed_at=since)
    return Decision(changed=() if passed == pursued else (passed,))


def _still_out(state: State) -> State:
    """Return the state of a live transaction that no block counts for, although it has left this process."""
    return {State.MINED: State.REORGANISED, State.PREPARED: State.SENT}.get(state, state)


def _outside(transaction: Transaction, state: State, note: str) -> Transaction:
    return replace(
        transaction,
        state=state,
        block=None,
        block_hash=None,
        gas_used=None,
        cost=None,
        passed_at=None,
        note=note,
    )
