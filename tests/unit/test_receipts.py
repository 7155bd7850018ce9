"""Receipts from the database: under the log's signature at first, over the newest final anchor later."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from statements import TestBoard, enrol
from trigpoint import receipts
from trigpoint.errors import OperatorError
from trigpoint.ingest.batch import store
from trigpoint.ingest.message import Message
from trigpoint.store import chain, log
from trigpoint.store.chain import State, Transaction
from trigpoint.store.database import migrate, open_database
from trigpoint.store.fold import fold_log
from trigpoint.verify import verify_offline
from trigpoint.wire.errors import WireError
from trigpoint.wire.receipt import Anchor, parse
from trigpoint.wire.trust import Trust

LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC_KEY = LOG_KEY.public_key().public_bytes_raw()
TRUST = Trust(31337, b"r" * 20, b"t" * 20, b"i" * 32, PUBLIC_KEY)


@pytest.fixture
def board():
    return TestBoard(1)


@pytest.fixture
def connection(tmp_path, board):
    connection = open_database(tmp_path / "test.db")
    migrate(connection)
    enrol(connection, board)
    yield connection
    connection.close()


def add(connection, board, number):
    store(connection, [Message.of(board.topic, board.next(readings=3), 0) for _ in range(number)])


def head_as_anchor(connection):
    head = fold_log(connection)
    return Anchor(31337, TRUST.transparency_log, head.size, head.root, b"h" * 32, 7)


def checks(data):
    return {check.name: check.status for check in verify_offline(data, TRUST).checks}


def test_without_an_anchor_the_log_has_signed_and_no_more(connection, board):
    add(connection, board, 5)
    log.claim(connection, TRUST.log_id, PUBLIC_KEY)
    data = receipts.get(connection, LOG_KEY, kid=board.kid, seq=3)
    verdict = verify_offline(data, TRUST)
    assert not verdict.verified
    assert checks(data).pop("anchor") == "skipped"
    assert {status for name, status in checks(data).items() if name != "anchor"} == {"ok"}
    assert (verdict.receipt.size, verdict.receipt.index) == (5, 3)
    assert receipts.get(connection, LOG_KEY, index=3) == data


def test_once_an_anchor_covers_it_the_receipt_is_issued_over_that(connection, board, monkeypatch):
    add(connection, board, 300)
    log.claim(connection, TRUST.log_id, PUBLIC_KEY)
    anchor = head_as_anchor(connection)
    monkeypatch.setattr(receipts, "latest_final_anchor", lambda _: anchor)
    add(connection, board, 300)
    for seq in (0, 255, 256, 299):
        verdict = verify_offline(receipts.get(connection, LOG_KEY, kid=board.kid, seq=seq), TRUST)
        assert verdict.verified
        assert (verdict.receipt.anchor, verdict.receipt.size, verdict.receipt.index) == (anchor, 300, seq)
        assert verdict.receipt.statement.raw == board.sent[seq]
    for seq in (300, 599):
        verdict = verify_offline(receipts.get(connection, LOG_KEY, kid=board.kid, seq=seq), TRUST)
        assert (verdict.receipt.anchor, verdict.receipt.size) == (None, 600)


def anchor_head(connection, block, contract=TRUST.transparency_log):
    head = fold_log(connection)
    row = Transaction(
        0, 31337, contract, "anchor", head.size, head.root, State.FINAL, b"s" * 20, None, None, bytes([block]) * 32, 0,
        block=block, block_hash=b"b" * 32,
    )  # fmt: skip
    chain.adopt(connection, row)


def test_a_board_that_is_no_longer_active_is_proved_as_of_the_time_when_it_was(connection, board):
    """A verifier asks whether the board was active when the head was anchored; later heads are of no use to it."""
    log.claim(connection, TRUST.log_id, PUBLIC_KEY)
    add(connection, board, 2)
    anchor_head(connection, 6, contract=b"o" * 20)  # in a contract that was left since
    for block in (7, 8, 9):
        add(connection, board, 2)
        anchor_head(connection, block)

    def block_of(seq):
        verdict = verify_offline(receipts.get(connection, LOG_KEY, kid=board.kid, seq=seq), TRUST)
        assert verdict.verified
        return verdict.receipt.anchor.block

    assert [block_of(seq) for seq in range(8)] == [9] * 8
    connection.execute("UPDATE boards SET active_until = 1")
    assert [block_of(seq) for seq in range(8)] == [7, 7, 7, 7, 8, 8, 9, 9]


def test_a_receipt_that_is_damaged_is_issued_anew(connection, board):
    """Whatever byte it is that changed: what upgrade leaves as it is can be verified."""
    log.claim(connection, TRUST.log_id, PUBLIC_KEY)
    add(connection, board, 5)
    anchor_head(connection, 7)
    whole = receipts.get(connection, LOG_KEY, kid=board.kid, seq=3)
    assert receipts.upgrade(connection, LOG_KEY, parse(whole)) is None
    mended = 0
    for place in range(len(whole)):
        try:
            held = parse(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            issued = receipts.upgrade(connection, LOG_KEY, held)
        except (WireError, OperatorError):
            continue  # no receipt of this log's statement any more
        assert issued is not None and issued.data == whole, place
        mended += 1
    assert mended > 100  # the path, the anchor, both keys' bytes and the signature


def test_what_is_not_stored_has_no_receipt(connection, board):
    with pytest.raises(OperatorError, match="no such statement"):
        receipts.get(connection, LOG_KEY, kid=board.kid, seq=0)
    add(connection, board, 1)
    with pytest.raises(OperatorError, match="run the gateway once"):
        receipts.get(connection, LOG_KEY, kid=board.kid, seq=0)
    log.claim(connection, TRUST.log_id, PUBLIC_KEY)
    with pytest.raises(OperatorError, match="no such statement"):
        receipts.get(connection, LOG_KEY, index=1)
    # An error leaves no transaction open, or the reader would see the past for ever.
    assert not connection.in_transaction
