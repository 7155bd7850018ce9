"""The auditor against logs that are honest, interrupted, damaged, set back and forked."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from publishedlog import MemorySource, entries, only_tiles, published
from samples import LOG_KEY, LOG_PRIVATE, TRUST
from trigpoint.audit import auditor
from trigpoint.audit.auditor import Auditor
from trigpoint.audit.export import export
from trigpoint.audit.report import Report
from trigpoint.audit.source import DirectorySource, FetchError, Source
from trigpoint.audit.store import Mirror
from trigpoint.errors import OperatorError
from trigpoint.log import checkpoint
from trigpoint.log.fork import Fork
from trigpoint.log.merkle import node_hash

NAMES = ["trust file", "checkpoint", "history", "tree", "chain", "log on chain", "anchored head"]
LOG = entries(1_500)
SIZES = st.integers(0, 1_500) | st.sampled_from([1, 255, 256, 257, 512, 1_024, 1_280])


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What is synced, and when, is test_public's concern; here are thousands of files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def audit(files: dict[str, bytes] | Source, mirror: Mirror | None = None, trust=TRUST) -> Report:
    source = MemorySource(files) if isinstance(files, dict) else files
    report = Auditor(source, trust, mirror).run()
    assert [check.name for check in report.checks] == NAMES
    assert all(check.detail.endswith(".") for check in report.checks)
    json.dumps(report.as_dict())
    return report


def status(report: Report, name: str) -> str:
    return next(check.status for check in report.checks if check.name == name)


def kept(directory: Path) -> dict[str, bytes]:
    """All of the log's files in a mirror; its own notes left out."""
    names = [path.relative_to(directory) for path in directory.rglob("*") if path.is_file()]
    return {str(name): (directory / name).read_bytes() for name in names if name.parts[0] != "audit"}


def of_them(directory: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The files of these names in a mirror."""
    held = kept(directory)
    return {name: held[name] for name in names}


@settings(max_examples=20)
@given(st.lists(SIZES, min_size=1, max_size=4).map(sorted))
def test_a_mirror_of_an_honest_log_holds_what_the_log_publishes(tmp_path_factory, sizes: list[int]) -> None:
    directory = tmp_path_factory.mktemp("mirror")
    before = 0
    for number, size in enumerate(sizes):
        source = MemorySource(published(LOG, size))
        report = audit(source, Mirror(directory))
        assert report.passed and report.evidence is None
        assert (report.amount.leaves, report.earlier) == (size - before, sizes[number - 1] if number else None)
        assert status(report, "history") == ("ok" if number else "skipped")
        held = kept(directory)
        # Partial tiles of the heads between are there as well, until their full one is.
        assert {path: data for path, data in held.items() if path in source.files} == source.files
        for path in only_tiles(held) - set(source.files):
            assert path.partition(".p/")[0] not in held
        if before // 256 == size // 256 == 5:
            assert len(only_tiles(source.asked)) <= 4
        before = size
    assert audit(DirectorySource(directory)).passed


def test_a_log_of_three_levels_is_fetched_once(tmp_path: Path) -> None:
    logged = entries(132_000)
    for size, before in ((60_000, 0), (132_000, 60_000)):
        source = MemorySource(published(logged, size))
        report = audit(source, Mirror(tmp_path))
        assert report.passed and report.amount.leaves == size - before
        # To compare with the head seen before, the tile where that ended is fetched once more.
        assert len(source.asked) - len(set(source.asked)) <= bool(before)
        assert of_them(tmp_path, source.files) == source.files
    assert {"tile/1/000", "tile/1/001", "tile/1/002.p/3", "tile/2/000.p/2"} <= set(source.asked)


def test_partial_tiles_that_full_ones_have_replaced(tmp_path: Path) -> None:
    """C2SP tlog-tiles: a log may drop them while its older checkpoint is still about."""
    older, newer = published(LOG, 300), published(LOG, 600)
    files = {**newer, "checkpoint": older["checkpoint"], "tile/1/000.p/1": older["tile/1/000.p/1"]}
    assert "tile/0/001.p/44" not in files
    report = audit(files, Mirror(tmp_path))
    assert report.passed and report.amount.leaves == 300
    assert of_them(tmp_path, older) == older


def test_an_audit_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    files = published(LOG)
    runs = 0
    report = None
    while report is None or not report.passed:
        runs += 1
        source = MemorySource(files, gone_after=6)
        try:
            report = audit(source, Mirror(tmp_path))
        except FetchError:
            pytest.fail("six files are enough to begin")
        if report.passed:
            break
        assert status(report, "tree") == "failed" and not (tmp_path / "checkpoint").exists()
        assert "went away" in report.checks[3].detail and runs < 20
        assert {path: files[path] for path in only_tiles(kept(tmp_path))} == {
            path: data for path, data in kept(tmp_path).items() if path.startswith("tile/")
        }
    assert runs > 2
    assert kept(tmp_path) == files


def test_a_mirror_killed_at_any_write_is_true_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    honest = Mirror.write
    files, more = published(LOG, 700), published(LOG, 1_300)
    assert audit(files, Mirror(tmp_path)).passed
    for number in range(1, 40):
        writes = 0

        def write(self, path, data, number=number):
            nonlocal writes
            writes += 1
            if writes == number:
                (self.directory / f"{path}.unfinished").parent.mkdir(parents=True, exist_ok=True)
                (self.directory / f"{path}.unfinished").write_bytes(data[:9])
                raise Killed
            honest(self, path, data)

        monkeypatch.setattr(Mirror, "write", write)
        try:
            assert audit(more, Mirror(tmp_path)).passed
            break
        except Killed:
            assert kept(tmp_path)["checkpoint"] == files["checkpoint"]
    assert of_them(tmp_path, more) == more
    assert number > 3


def test_what_a_power_cut_left_broken_is_fetched_again(tmp_path: Path) -> None:
    """Until its checkpoint is there, nothing in a mirror is taken as whole."""
    files = published(LOG)
    audit(MemorySource(files, gone_after=9), Mirror(tmp_path))
    broken = only_tiles(kept(tmp_path))
    assert len(broken) > 3
    for path in broken:
        (tmp_path / path).write_bytes(b"")
    assert audit(files, Mirror(tmp_path)).passed
    assert kept(tmp_path) == files


LIES = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10_000)),
    st.tuples(st.just("cut"), st.integers(1, 10_000)),
    st.tuples(st.just("longer"), st.binary(min_size=1, max_size=64)),
    st.tuples(st.just("swap"), st.integers(1, 100)),
    st.tuples(st.just("gone"), st.none()),
    st.tuples(st.just("other"), st.binary(max_size=300)),
)


def lied(files: dict[str, bytes], path: str, lie: tuple[str, object]) -> dict[str, bytes]:
    """Return the files with one changed."""
    what, how = lie
    data = files[path]
    match what:
        case "flip":
            at = how % (8 * len(data))  # type: ignore[operator]
            changed = bytes(byte ^ (1 << at % 8) * (place == at // 8) for place, byte in enumerate(data))
        case "cut":
            changed = data[: -(1 + how % len(data))]  # type: ignore[operator]
        case "swap":
            others = sorted(files)
            changed = files[others[(others.index(path) + how) % len(others)]]  # type: ignore[operator]
        case "longer":
            changed = data + how  # type: ignore[operator]
        case "other":
            changed = how  # type: ignore[assignment]
        case _:
            return {other: files[other] for other in files if other != path}
    return {**files, path: changed}


def no_lie_passes(tmp_path_factory, size: int, more: int, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("mirror")
    old, files = published(LOG, min(size, more)), published(LOG, max(size, more))
    assert audit(old, Mirror(directory)).passed
    paths = sorted(set(files) - {"trust.json"})
    path = data.draw(st.sampled_from(paths))
    lies = lied(files, path, data.draw(LIES))
    source = MemorySource(lies)
    try:
        report = audit(source, Mirror(directory))
    except FetchError:
        assert path == "checkpoint"
        report = None
    same = lies.get(path) == files[path]
    unasked = path not in source.asked
    if report is not None and report.passed:
        assert same or unasked
    held = kept(directory)
    assert held["checkpoint"] == (files if report is not None and report.passed else old)["checkpoint"]
    for name in only_tiles(held):
        assert held[name] == {**old, **files}[name]
    # Nothing is spoilt: the same log, honest again, is taken in whole.
    assert audit(files, Mirror(directory)).passed
    assert of_them(directory, files) == files


@settings(max_examples=60)
@given(SIZES.filter(bool), SIZES, st.data())
def test_no_lie_about_any_file_passes_or_gets_into_the_mirror(tmp_path_factory, size, more, data) -> None:
    no_lie_passes(tmp_path_factory, size, more, data)


@pytest.mark.soak
@settings(max_examples=10_000)
@given(SIZES.filter(bool), SIZES, st.data())
def test_no_lie_passes_in_the_long_run(tmp_path_factory, size, more, data) -> None:
    no_lie_passes(tmp_path_factory, size, more, data)


def fork_of(report: Report) -> Fork:
    assert report.evidence is not None
    content = json.loads(json.dumps(report.evidence.content))
    return Fork(
        content["older"]["checkpoint"],
        content["newer"]["checkpoint"],
        bytes.fromhex(content["root_of_newer_at_that_size"]),
        [bytes.fromhex(node) for node in content["consistency_proof"]],
    )


@settings(max_examples=30)
@given(SIZES.filter(bool), SIZES.filter(bool), st.data())
def test_a_forked_log_is_proved_to_have(tmp_path_factory, size: int, other: int, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("mirror")
    mirror = Mirror(directory)
    assert audit(published(LOG, size), mirror).passed
    before = kept(directory)
    at = data.draw(st.integers(0, min(size, other) - 1))
    report = audit(published(entries(other, b"another ", at)), mirror)
    assert not report.passed and status(report, "history") == "failed"
    assert fork_of(report).holds(TRUST.log_id, LOG_KEY)
    assert kept(directory) == before
    assert audit(published(LOG), mirror).passed


@settings(max_examples=20)
@given(SIZES, st.integers(1, 600))
def test_a_log_that_goes_back_is_noticed_and_not_called_forked(tmp_path_factory, size: int, less: int) -> None:
    mirror = Mirror(tmp_path_factory.mktemp("mirror"))
    assert audit(published(LOG, min(size + less, 1_500)), mirror).passed
    older = min(size, 1_500 - less)
    report = audit(published(LOG, older), mirror)
    went_back = older < min(size + less, 1_500)
    assert report.passed != went_back and report.evidence is None
    if went_back:
        assert status(report, "history") == "failed" and "went back" in report.checks[2].detail


def test_what_was_seen_is_held_against_the_log_even_if_it_could_not_be_fetched(tmp_path: Path) -> None:
    """A log must not get out of a head that it showed by withholding its tiles."""
    mirror = Mirror(tmp_path)
    assert audit(published(LOG, 300), mirror).passed
    shown = MemorySource(published(entries(900, b"secret ", 300)), gone_after=6)
    assert status(audit(shown, mirror), "tree") == "failed"
    assert kept(tmp_path)["checkpoint"] == published(LOG, 300)["checkpoint"]
    report = audit(published(LOG, 1_000), mirror)
    assert fork_of(report).holds(TRUST.log_id, LOG_KEY)


def test_a_damaged_mirror_is_no_fault_of_the_log(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    assert audit(published(LOG), mirror).passed
    (tmp_path / "tile/0/000").write_bytes(b"x" * 8192)
    assert audit(published(LOG), mirror).passed  # what was verified before is not read again
    with pytest.raises(OperatorError, match="mirror is damaged"):
        audit(published(LOG, 100), mirror)
    assert status(audit(DirectorySource(tmp_path)), "tree") == "failed"


def test_only_the_log_s_own_signature_counts(tmp_path: Path) -> None:
    files = published(LOG, 300)
    head = checkpoint.parse(files["checkpoint"].decode())
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    for text in (
        checkpoint.sign(TRUST.log_id, other, head.size, head.root),
        checkpoint.sign(bytes(32), LOG_PRIVATE, head.size, head.root),
        "",
        "\xff",
    ):
        report = audit({**files, "checkpoint": text.encode("latin-1", "replace")}, Mirror(tmp_path))
        assert status(report, "checkpoint") == "failed" and report.head is None
        assert not only_tiles(kept(tmp_path))
    witnessed = files["checkpoint"] + "— witness.example/w QUJDREVGRw==\n".encode()
    assert audit({**files, "checkpoint": witnessed}, Mirror(tmp_path)).passed
    assert kept(tmp_path)["checkpoint"] == witnessed


def test_a_false_size_is_seen_by_its_leaves() -> None:
    """RFC 9162 binds a root to a size only by the shape of a proof; a leaf is no inner node, which the entries show."""
    files = published(LOG, 3)
    head = checkpoint.parse(files["checkpoint"].decode())
    tile = files["tile/0/000.p/3"]
    claimed = {
        "checkpoint": checkpoint.sign(TRUST.log_id, LOG_PRIVATE, 2, head.root).encode(),
        "tile/0/000.p/2": node_hash(tile[:32], tile[32:64]) + tile[64:],
        "tile/entries/000.p/2": files["tile/entries/000.p/3"][:68],
    }
    report = audit({**files, **claimed})
    assert status(report, "tree") == "failed" and "Bundle 0" in report.checks[3].detail


def test_whom_to_trust(tmp_path: Path) -> None:
    files = published(LOG, 10)
    assert status(audit(files, trust=TRUST), "trust file") == "ok"
    assert status(audit(files, trust=None), "trust file") == "skipped"
    assert status(audit(files, Mirror(tmp_path), trust=None), "trust file") == "skipped"
    assert status(audit(files, Mirror(tmp_path), trust=None), "trust file") == "ok"
    other = replace(TRUST, log_id=bytes(32))
    with pytest.raises(OperatorError, match="another log"):
        audit(files, Mirror(tmp_path), trust=other)
    changed = {**files, "trust.json": other.to_json().encode()}
    assert audit(changed, Mirror(tmp_path), trust=None).trust == TRUST
    for broken in ({**files, "trust.json": b"{}"}, {path: files[path] for path in files if path != "trust.json"}):
        with pytest.raises(FetchError, match="--trust"):
            audit(broken, trust=None)
    with pytest.raises(FetchError, match="checkpoint"):
        audit({})
    (tmp_path / "audit/newest-checkpoint").write_text("broken")
    with pytest.raises(OperatorError, match="use another directory"):
        audit(files, Mirror(tmp_path))


def test_two_audits_do_not_share_a_mirror(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    with mirror.locked(), pytest.raises(OperatorError, match="another command"), Mirror(tmp_path).locked():
        pytest.fail("two at once")
    with mirror.locked():
        assert not (tmp_path / "checkpoint").exists()
    lay(tmp_path / "public", published(LOG, 10))
    with mirror.locked(), pytest.raises(OperatorError, match="another command"):
        export(tmp_path / "public", tmp_path, lambda done, total: None)


def test_a_mirror_without_room_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Mirror, "write", full)
    with pytest.raises(OperatorError, match="No space left"):
        audit(published(LOG, 300), Mirror(tmp_path))


def test_progress_goes_up_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    for size, new in ((1_000, 1_000), (1_300, 300)):
        told.clear()
        report = Auditor(
            MemorySource(published(LOG, size)), TRUST, Mirror(tmp_path), progress=lambda *way: told.append(way)
        ).run()
        assert report.passed
        assert told[0] == (0, new) and told[-1] == (new, new) and told == sorted(told)


# Export.


def lay(directory: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


def test_an_export_is_what_is_published_step_by_step(tmp_path: Path) -> None:
    public, to = tmp_path / "public", tmp_path / "to"
    for size, before in ((0, 0), (300, 0), (300, 300), (1_300, 300)):
        files = published(LOG, size)
        done = export(lay(public, files), to, lambda done, total: None)
        assert (done.size, done.before, done.log_id) == (size, before, TRUST.log_id)
        assert of_them(to, files) == files
        assert not (to / "audit").exists()
        if size == before:
            assert done.files == len([path for path in files if ".p/" in path and "entries" not in path])
    assert audit(DirectorySource(to)).passed


def test_an_export_never_forks_nor_copies_what_is_damaged(tmp_path: Path) -> None:
    public, to = tmp_path / "public", tmp_path / "to"
    with pytest.raises(OperatorError, match="nothing is published"):
        export(public, to, lambda done, total: None)
    export(lay(public, published(LOG, 600)), to, lambda done, total: None)
    before = kept(to)
    for files, message in (
        (published(LOG, 500), "old backup"),
        (published(entries(700, b"another ")), "old backup"),
        ({**published(LOG, 900), "tile/0/002": b"x" * 8192}, "damaged.*tile 2"),
        ({**published(LOG, 900), "checkpoint": b"x"}, "damaged"),
    ):
        for path in sorted(public.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        with pytest.raises(OperatorError, match=message):
            export(lay(public, files), to, lambda done, total: None)
        assert of_them(to, before) == before


def test_order_of_checks_is_the_reports() -> None:
    assert list(auditor._ORDER) == NAMES
