"""The printed configuration: complete, explained, the same when read again, and without secrets."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint import config, configfile
from trigpoint.config import Config, Section

PLACE = Path("/gw/gateway.toml")
PRINTABLE = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())


def tables(**chain):
    return {
        "data": "data",
        "broker": {"host": "broker.example", "port": 8883},
        "chain": {"rpc_url": "http://127.0.0.1:8545", "chain_id": 1, "key_file": "keys/chain.key", **chain},
        "log": {"key_file": "keys/log.pem"},
        "link": {"key_file": "keys/link.pem"},
    }


def loaded(**chain):
    return config.parse(configfile.render(config.check(tables(**chain), "test"), secrets=True), PLACE)


@given(st.tuples(PRINTABLE, PRINTABLE, PRINTABLE), ADDRESSES, st.integers(1, 2**63 - 1), st.floats(0.001, 1e9))
def test_what_is_printed_is_the_configuration(texts, address, number, speed):
    host, name, path = texts
    given_ = tables(device_registry=address, chain_id=number)
    given_["broker"] = {"host": host, "port": 1, "username": name, "password_file": path, "tls": False}
    given_["clock"] = {"origin": 1, "real_origin": 2.5, "speed": speed}
    checked = config._absolute(config.check(given_, "test"), PLACE.parent)
    assert config.parse(configfile.render(checked, secrets=True), PLACE) == checked


def test_every_section_and_key_is_there_and_explained():
    text = configfile.render(loaded(), secrets=True)
    lines = text.splitlines()
    for name, field in Config.model_fields.items():
        value = getattr(loaded(), name)
        if not isinstance(value, Section):
            continue
        start = lines.index(f"[{name}]")
        assert lines[start - 1].startswith("# "), name
        for key, inner in type(value).model_fields.items():
            at = next(number for number in range(start, len(lines)) if lines[number].startswith(f"{key} = "))
            assert lines[at - 1].startswith("# "), (name, key)
            assert inner.description, (name, key)
        assert field.annotation is not None
    assert max(map(len, lines)) <= 120


def test_a_value_that_is_not_the_default_has_the_default_beside_it():
    assert "# Default: 12\nconfirmations = 64" in configfile.render(loaded(confirmations=64))
    assert "Default: 12" not in configfile.render(loaded())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("https://node.example/", "https://node.example/"),
        ("https://node.example/v3/s3cret", "https://node.example/HIDDEN"),
        ("https://user:s3cret@node.example", "https://node.example/HIDDEN"),
        ("https://node.example:1/?key=s3cret", "https://node.example:1/HIDDEN"),
        ("https://node.example#s3cret", "https://node.example/HIDDEN"),
    ],
)
def test_a_token_in_the_nodes_url_is_not_printed(url, shown):
    settings = loaded(rpc_url=url)
    assert f'rpc_url = "{shown}"' in configfile.render(settings)
    assert "s3cret" not in configfile.render(settings) + json.dumps(configfile.plain(settings))
    assert configfile.plain(settings)["chain"]["rpc_url"] == shown
    assert settings.chain.rpc_url == url


def test_for_programs_it_is_one_object_a_section():
    assert json.loads(json.dumps(configfile.plain(loaded())))["broker"]["port"] == 8883
