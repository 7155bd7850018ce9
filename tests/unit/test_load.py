"""The load that figures are measured with is what boards would have signed."""

from contextlib import closing

from trigpoint.store import log, queries, statements
from trigpoint.store.database import open_database
from trigpoint.wire import statement
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import NO_PREV
from trigpoint_tools.load.fill import fill
from trigpoint_tools.load.statements import Shape, register, supply


def test_statements_are_signed_chained_and_kept_for_the_next_run(tmp_path):
    shape, said = Shape(boards=3, each=4, readings=7), []
    loads = supply(tmp_path, shape, said.append)
    assert said
    again = supply(tmp_path, shape, lambda line: said.append("again"))
    assert "again" not in said
    assert (again.points, again.rounds) == (loads.points, loads.rounds)
    for number, (kid, point) in enumerate(zip(loads.kids, loads.points, strict=True)):
        prev = NO_PREV
        for seq in range(4):
            one = statement.parse(loads.rounds[seq][number])
            assert (one.kid, one.seq, one.prev, len(one.readings)) == (kid, seq, prev, 7)
            assert PublicKey(point[:32], point[32:]).verify(one.signature, one.to_be_signed())
            prev = one.entry
    register(tmp_path / "test.db", loads)
    with closing(open_database(tmp_path / "test.db", read_only=True)) as connection:
        assert {board.kid for board in queries.boards(connection) if board.active} == set(loads.kids)


def test_a_history_is_folded_as_the_gateway_would(tmp_path):
    fill(tmp_path / "test.db", 2_500, 3, lambda line: None)
    with closing(open_database(tmp_path / "test.db", read_only=True)) as connection:
        assert statements.size(connection) == statements.folded(connection) == log.head(connection).size == 2_500
        assert connection.execute("SELECT sum(readings) FROM hours").fetchone() == (7_500,)
