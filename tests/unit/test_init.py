"""`gateway init`: keys made in place and never overwritten, and a configuration that explains itself."""

import stat
import tomllib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st
from trigpoint import config, init, keyfiles
from trigpoint.errors import OperatorError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_is_ready_to_load(tmp_path):
    made = init.create(tmp_path / "gw", init.Answers(broker_host="broker.example", chain_id=4689))
    assert made == config.load(tmp_path / "gw" / "gateway.toml")
    assert made.broker.host == "broker.example"
    assert made.chain.chain_id == 4689
    for path in (made.log.key_file, made.link.key_file, made.chain.key_file, tmp_path / "gw" / "gateway.toml"):
        assert mode(path) == 0o600
    assert mode(tmp_path / "gw" / "keys") == 0o700
    assert sorted(path.name for path in (tmp_path / "gw" / "keys").iterdir()) == ["chain.key", "link.pem", "log.pem"]
    assert isinstance(keyfiles.load_log_key(made.log.key_file), ed25519.Ed25519PrivateKey)
    assert isinstance(keyfiles.load_link_key(made.link.key_file), ec.EllipticCurvePrivateKey)
    assert len(keyfiles.load_chain_key(made.chain.key_file)) == 32


def test_every_key_of_the_file_is_explained(tmp_path):
    init.create(tmp_path, init.Answers(world=(1, 2.0, 3.0)))
    lines = (tmp_path / "gateway.toml").read_text().splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), line


def test_a_second_init_overwrites_nothing(tmp_path):
    assert len(init.create_keys(tmp_path)) == 3
    before = {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    (tmp_path / "keys" / "link.pem").unlink()
    assert init.create_keys(tmp_path) == [tmp_path / "keys" / "link.pem"]
    init.create(tmp_path, init.Answers())
    text = (tmp_path / "gateway.toml").read_text()
    with pytest.raises(OperatorError, match="exists already"):
        init.create(tmp_path, init.Answers(chain_id=1))
    assert (tmp_path / "gateway.toml").read_text() == text
    for path, data in before.items():
        assert (path.read_bytes() == data) == (path.name != "link.pem")


def test_keys_differ_and_writing_one_twice_is_refused(tmp_path):
    keyfiles.create_chain_key(tmp_path / "a")
    keyfiles.create_chain_key(tmp_path / "b")
    assert keyfiles.load_chain_key(tmp_path / "a") != keyfiles.load_chain_key(tmp_path / "b")
    for make in init.KEY_MAKERS.values():
        with pytest.raises(FileExistsError):
            make(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_crash_half_way_leaves_no_short_key(tmp_path, monkeypatch):
    def crash(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(OperatorError, match="No space left"):
        init.create_keys(tmp_path)
    assert list((tmp_path / "keys").iterdir()) == []


def test_an_answer_that_is_wrong_leaves_no_file(tmp_path):
    with pytest.raises(OperatorError, match=r"chain\.chain_id is wrong"):
        init.create(tmp_path, init.Answers(chain_id=0))
    assert not (tmp_path / "gateway.toml").exists()


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_any_text_is_quoted_so_that_it_comes_back(host, username):
    loaded = tomllib.loads(init.configuration(init.Answers(broker_host=host, broker_username=username)))
    assert loaded["broker"]["host"] == host
    assert loaded["broker"]["username"] == username


def test_contracts_are_recorded_and_all_else_stays(tmp_path):
    init.create(tmp_path, init.Answers())
    path = tmp_path / "gateway.toml"
    before = path.read_text().splitlines()
    recorded = init.record_contracts(path, "0x" + "aB" * 20, "0x" + "cd" * 20, 17)
    assert recorded.chain.device_registry == "0x" + "aB" * 20
    assert recorded.chain.transparency_log == "0x" + "cd" * 20
    assert recorded.chain.deploy_block == 17
    changed = [(old, new) for old, new in zip(before, path.read_text().splitlines(), strict=True) if old != new]
    assert len(changed) == 3
    assert mode(path) == 0o600
    again = init.record_contracts(path, "0x" + "ee" * 20, "0x" + "ff" * 20, 18)
    assert (again.chain.device_registry, again.chain.deploy_block) == ("0x" + "ee" * 20, 18)


def test_a_configuration_without_lines_for_the_contracts_is_left_alone(tmp_path):
    init.create(tmp_path, init.Answers())
    path = tmp_path / "gateway.toml"
    path.write_text(path.read_text().replace('transparency_log = ""', ""))
    before = path.read_text()
    with pytest.raises(OperatorError, match="no line of its own for transparency_log"):
        init.record_contracts(path, "0x" + "ab" * 20, "0x" + "cd" * 20, 1)
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "one line"), (b"two\nlines\n", "one line"), (b"\xff", "not UTF-8"), (b"good\n", None)],
)
def test_password_files(tmp_path, content, message):
    path = tmp_path / "password"
    keyfiles.write_private(path, content)
    if message is None:
        assert keyfiles.load_password(path) == "good"
    else:
        with pytest.raises(OperatorError, match=message):
            keyfiles.load_password(path)


def test_a_password_that_others_can_read_is_refused(tmp_path):
    keyfiles.write_private(tmp_path / "password", b"good")
    (tmp_path / "password").chmod(0o640)
    with pytest.raises(OperatorError, match=r"^password file .* can be read by others"):
        keyfiles.load_password(tmp_path / "password")


@pytest.mark.parametrize("content", [b"", b"zz", b"00" * 32, b"ff" * 32, b"12" * 31, b"\xff" * 64, b"12" * 20_000])
def test_what_is_no_chain_key(tmp_path, content):
    keyfiles.write_private(tmp_path / "key", content)
    with pytest.raises(OperatorError, match="secp256k1 key as 64"):
        keyfiles.load_chain_key(tmp_path / "key")


def test_keys_of_the_wrong_kind_are_told_apart(tmp_path):
    init.create_keys(tmp_path)
    with pytest.raises(OperatorError, match="not hold an Ed25519 key"):
        keyfiles.load_log_key(tmp_path / "keys" / "link.pem")
    with pytest.raises(OperatorError, match="not hold a P-256 key"):
        keyfiles.load_link_key(tmp_path / "keys" / "log.pem")


def test_a_credential_of_the_service_stands_for_the_file_of_its_name(tmp_path, monkeypatch):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    keyfiles.write_private(tmp_path / "password", b"from the file")
    keyfiles.write_private(credentials / "password", b"from the manager")
    (credentials / "password").chmod(0o440)  # as systemd's access list makes it look
    assert keyfiles.load_password(tmp_path / "password") == "from the file"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert keyfiles.load_password(tmp_path / "password") == "from the manager"
    assert keyfiles.load_password(credentials / "password") == "from the manager"
    keyfiles.write_private(tmp_path / "other", b"has none")
    assert keyfiles.load_password(tmp_path / "other") == "has none"
