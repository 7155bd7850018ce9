"""The configuration file: what it may say, and how it is told what is wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint import config, init
from trigpoint.clock import SystemClock, WorldClock
from trigpoint.errors import OperatorError

VALID = init.configuration(init.Answers())


def parse(text):
    return config.parse(text, Path("/gw/gateway.toml"))


def test_paths_are_relative_to_the_file():
    loaded = parse(VALID)
    assert loaded.database == Path("/gw/data/trigpoint.db")
    assert loaded.public == Path("/gw/data/public")
    assert loaded.chain.key_file == Path("/gw/keys/chain.key")
    assert parse(VALID.replace('"keys/log.pem"', '"/etc/log.pem"')).log.key_file == Path("/etc/log.pem")
    assert loaded.broker.ca is None
    assert parse(VALID.replace('ca = ""', 'ca = "ca.pem"')).broker.ca == Path("/gw/ca.pem")


def test_the_clock_is_the_machines_unless_there_is_a_world():
    assert isinstance(parse(VALID).make_clock(), SystemClock)
    emulated = init.configuration(init.Answers(world=(1_356_998_400, 1_700_000_000.25, 7200.0)))
    assert parse(emulated).make_clock() == WorldClock(1_356_998_400, 1_700_000_000.25, 7200.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('host = "localhost"', "", "broker.host is missing; add it"),
        ("port = 8883", "port = 0", "broker.port is wrong: input should be greater than or equal to 1"),
        ("port = 8883", 'port = "8883"', "broker.port is wrong: input should be a valid integer"),
        ("tls = true", "tls = 1", "broker.tls is wrong: input should be a valid boolean"),
        ("tls = true", "tsl = true", "broker.tsl is not a known key; check its spelling, or remove it"),
        ('ca = ""', "ca = 5", "broker.ca is wrong: must be a path"),
        ('username = ""', 'username = ""\npassword = "x"', "broker.password is not a known key"),
        ('password_file = ""', 'password_file = "p"', "broker is wrong: password_file needs a username"),
        ('"http://127.0.0.1:8545"', '"127.0.0.1:8545"', "chain.rpc_url is wrong: must begin with http://"),
        ('device_registry = ""', 'device_registry = "0x12"', "chain.device_registry is wrong: must be 0x and 40 hex"),
        ("every_s = 3600", "every_s = 0", "anchor.every_s is wrong"),
        ("[link]", "[links]", "link is missing; add it (and 1 more)"),
        ("[link]", "[link", "is not TOML"),
        ('data = "data"', 'data = ""', "data is wrong: must be a path"),
    ],
)
def test_an_error_names_the_key_in_one_line(old, new, message):
    assert old in VALID
    with pytest.raises(OperatorError) as raised:
        parse(VALID.replace(old, new, 1))
    assert str(raised.value).startswith("/gw/gateway.toml")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_error_shows_the_nodes_url_which_may_hold_a_token():
    with pytest.raises(OperatorError) as raised:
        parse(VALID.replace('"http://127.0.0.1:8545"', '"wss://node/secret-token"'))
    assert "secret-token" not in str(raised.value)
    assert "8545" not in repr(parse(VALID))


def test_a_file_that_is_missing_or_no_configuration(tmp_path):
    with pytest.raises(OperatorError, match=r"cannot read .*gateway\.toml: No such file.*gateway init"):
        config.load(tmp_path / "gateway.toml")
    (tmp_path / "gateway.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(OperatorError, match="not UTF-8"):
        config.load(tmp_path / "gateway.toml")
    (tmp_path / "gateway.toml").write_bytes(b"#" * 70_000)
    with pytest.raises(OperatorError, match="larger than"):
        config.load(tmp_path / "gateway.toml")


@given(st.data())
def test_whatever_stands_in_the_file_nothing_else_is_raised(data):
    position = data.draw(st.integers(0, len(VALID)))
    length = data.draw(st.integers(0, 40))
    text = VALID[:position] + data.draw(st.text(max_size=20)) + VALID[position + length :]
    try:
        parse(text)
    except OperatorError as error:
        assert "\n" not in str(error)
