"""The board page as files, and served by the API: what is in it, who may read what."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
from pathlib import Path

import pytest
import requests
from apiserver import Client, api
from trigpoint.api.tokens import Scope, TokenFile
from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.cli import app
from trigpoint.commands.gateway import load_config
from trigpoint.config import Api
from trigpoint.errors import OperatorError
from trigpoint.init import Answers, create, create_keys, record_contracts
from trigpoint.store.database import migrate, open_database
from trigpoint.web import files
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.image import build as firmware_file
from trigpoint_tools.serial import firmware, site
from typer.testing import CliRunner

APPLICATION = {"/main.py": b"start", "/a/trig/app.mpy": b"application"}


@pytest.fixture
def images(tmp_path: Path) -> list[firmware.Firmware]:
    found = []
    for chip in ("esp32", "esp32c3"):
        path = tmp_path / f"{chip}.bin"
        path.write_bytes(firmware_file(CHIPS[chip]))
        found.append(firmware.load(path, chip))
    return found


@pytest.fixture
def folder(tmp_path: Path, images: list[firmware.Firmware]) -> Path:
    site.build(tmp_path / "page", images, APPLICATION)
    return tmp_path / "page"


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    migrate(open_database(tmp_path / "trigpoint.db"))
    return tmp_path


def test_the_key_is_never_written_over(folder: Path, images: list[firmware.Firmware]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [build["chipFamily"] for build in manifest["builds"]] == ["ESP32", "ESP32-C3"]
    for build, image in zip(manifest["builds"], images, strict=True):
        content = image.path.read_bytes()
        for part in build["parts"]:
            piece = (folder / part["path"]).read_bytes()
            end = part["offset"] + len(piece)
            assert end <= image.keep[0] or part["offset"] >= image.keep[1]
            at = part["offset"] - image.offset
            assert piece == content[at : at + len(piece)]
    application = json.loads((folder / "application.json").read_text())
    assert {one["path"]: base64.b64decode(one["content"]) for one in application["files"]} == APPLICATION
    assert all(len(one["sha256"]) == 64 for one in application["files"])


def test_it_knows_the_registry(folder: Path) -> None:
    told = json.loads((folder / "site.json").read_text())
    assert told["registry"]["activeAt"] == "0x" + DEVICE_REGISTRY.call("activeAt", 1, 2)[:4].hex()
    assert "PermitExpired" in told["registry"]["errors"].values()
    for script in told["scripts"].values():
        compile(script, "script", "exec")


def test_nothing_comes_from_elsewhere(folder: Path) -> None:
    text = (folder / "index.html").read_text()
    policy = files.policy_of(text)
    (import_map,) = re.findall(r'<script type="importmap">(.*?)</script>', text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert "@" not in policy
    for target in json.loads(import_map)["imports"].values():
        assert (folder / target).is_file(), target
    names = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert [name for name in names if not name.startswith("data:") and not (folder / name).is_file()] == []
    for path in folder.rglob("*.js"):
        if "vendor" not in path.parts:
            for name in re.findall(r'from "([^"]+)"', path.read_text()):
                assert (path.parent / name).is_file(), (path, name)
            assert "innerHTML" not in path.read_text()
            assert not re.search(r"(local|session)Storage|document\.cookie", path.read_text())
    for licensed in files.LICENSED:
        assert f"{licensed} " in (folder / "vendor" / files.NOTICE).read_text()


def test_a_page_of_another_host_may_ask_the_gateway(tmp_path: Path, images: list[firmware.Firmware]) -> None:
    site.build(tmp_path / "page", images, APPLICATION, "https://gateway.example:8700")
    assert "connect-src 'self' https://gateway.example:8700;" in files.policy_of(
        (tmp_path / "page" / "index.html").read_text()
    )
    for wrong in ("gateway.example", "https://a.example/path", "https://a.example; script-src *", "javascript:1"):
        with pytest.raises(OperatorError, match="not an origin"):
            site.build(tmp_path / "other", images, APPLICATION, wrong)


def test_a_site_is_made_anew_and_nothing_else_is_overwritten(tmp_path: Path, images: list[firmware.Firmware]) -> None:
    site.build(tmp_path / "page", images, APPLICATION)
    site.build(tmp_path / "page", images[:1], APPLICATION)
    assert not list((tmp_path / "page").glob("firmware/esp32c3*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(OperatorError, match="other things"):
        site.build(tmp_path / "mine", images, APPLICATION)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
    (tmp_path / "mine" / site.MARK).write_text('{"version": "1"}')
    with pytest.raises(OperatorError, match="other things"):
        site.build(tmp_path / "mine", images, APPLICATION)
    (tmp_path / "page.new").mkdir()
    (tmp_path / "page.new" / "thesis.txt").write_text("years")
    site.build(tmp_path / "page", images, APPLICATION)
    assert (tmp_path / "page.new" / "thesis.txt").read_text() == "years"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["mine", "page", "page.new"]
    with pytest.raises(OperatorError, match="same chip"):
        site.build(tmp_path / "twice", [images[0], images[0]], APPLICATION)


def test_the_api_serves_the_page_to_everybody_and_nothing_beside_it(gateway: Path, folder: Path) -> None:
    with api(gateway, board_page=folder) as client:
        public = Client(client.url)
        page = public.get("/board/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].endswith("; frame-ancestors 'none'")
        assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self' 'sha256-")
        assert public.get("/board", allow_redirects=False).headers["location"] == "/board/"
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "index.html":
                answer = public.get(f"/board/{path.relative_to(folder).as_posix()}")
                assert (answer.status_code, answer.content) == (200, path.read_bytes())
        assert public.get("/board/page.js").headers["content-type"] == "text/javascript; charset=utf-8"
        (folder / "later.js").write_text("1")
        for name in ("later.js", "../trigpoint.db", "%2e%2e/log.key", "..%2flog.key", "/etc/passwd", "vendor"):
            with requests.Session() as session:
                request = requests.Request("GET", client.url).prepare()
                request.url = f"{client.url}/board/{name}"
                assert session.send(request, timeout=10).status_code == 404, name
    with api(gateway) as client:
        assert Client(client.url).get("/board/").status_code == 404


def test_a_folder_without_a_page_is_refused(gateway: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(OperatorError, match="holds no page for boards"), api(gateway, board_page=tmp_path / "empty"):
        pass


def test_a_join_file_among_the_page_is_served_to_nobody(tmp_path: Path, folder: Path) -> None:
    create_keys(tmp_path / "gw")
    create(tmp_path / "gw", Answers(broker_tls=False, rpc_url="http://127.0.0.1:1", chain_id=7))
    record_contracts(tmp_path / "gw" / "gateway.toml", "0x" + "Ab" * 20, "0x" + "Cd" * 20, 1)
    copy = folder / "vendor" / "maker.json"
    refused = CliRunner().invoke(app, ["gateway", "join-file", str(tmp_path / "gw"), str(copy), "--token", "maker"])
    assert "everybody may read" in str(refused.exception)
    assert not copy.exists()
    made = CliRunner().invoke(app, ["gateway", "join-file", str(tmp_path / "gw"), str(tmp_path / "maker.json")])
    assert made.exit_code == 0, made.exception
    (tmp_path / "maker.json").rename(copy)
    with pytest.raises(OperatorError, match="is a join file, and everybody"):
        files.site_files(folder)


def test_the_join_file_needs_a_scope_of_its_own(gateway: Path) -> None:
    (gateway / "join.json").write_text('{"format": "trigpoint-join/1"}')
    with api(gateway) as client:
        tokens = TokenFile(gateway / "tokens.json")
        answer = Client(client.url, tokens.add("maker", frozenset({Scope.JOIN}), 0)).get("/v1/join")
        assert answer.json() == {"format": "trigpoint-join/1"}
        assert answer.headers["cache-control"] == "no-store"
        assert Client(client.url).get("/v1/join").status_code == 401
        others = frozenset(Scope) - {Scope.JOIN}
        assert Client(client.url, tokens.add("other", others, 0)).get("/v1/join").status_code == 403
        (gateway / "join.json").unlink()
        assert "join-file" in client.get("/v1/join").json()["detail"]
    with pytest.raises(ValueError, match="public"):
        Api(public=["join"])


def test_a_copy_to_hand_out_is_nobody_elses(tmp_path: Path) -> None:
    from trigpoint import join

    join.save(tmp_path / "deep" / "join.json", b"{}")
    assert stat.S_IMODE((tmp_path / "deep" / "join.json").stat().st_mode) == 0o600


def test_the_commands(tmp_path: Path, images: list[firmware.Firmware]) -> None:
    words = ["board", "site", str(tmp_path / "page"), "--json"]
    for image in images:
        words += ["--chip", image.chip, "--firmware", str(image.path)]
    done = CliRunner().invoke(app, words)
    told = json.loads(done.stdout)
    assert [one["chip"] for one in told["firmware"]] == ["esp32", "esp32c3"]
    assert (tmp_path / "page" / "index.html").is_file()
    wrong = CliRunner().invoke(app, ["board", "site", str(tmp_path / "other"), "--firmware", str(images[0].path)])
    assert "one file for each --chip" in str(wrong.exception)
    crossed = ["board", "site", str(tmp_path / "other"), "--chip", "esp32", "--firmware", str(images[1].path)]
    assert "is for ESP32-C3 and this board is ESP32" in str(CliRunner().invoke(app, crossed).exception)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("tls", [False, True])
def test_a_join_file_tells_what_the_configuration_says(tmp_path: Path, tls: bool) -> None:
    create_keys(tmp_path / "gw")
    create(
        tmp_path / "gw",
        Answers(broker_host="10.0.0.1", broker_port=1883, broker_tls=tls, rpc_url="http://127.0.0.1:1", chain_id=7),
    )
    gw, copy = str(tmp_path / "gw"), tmp_path / "ada.json"
    early = CliRunner().invoke(app, ["gateway", "join-file", gw, "--ntp", "time.example"])
    assert isinstance(early.exception, OperatorError)
    record_contracts(tmp_path / "gw" / "gateway.toml", "0x" + "Ab" * 20, "0x" + "Cd" * 20, 1)
    words = ["gateway", "join-file", gw, str(copy), "--broker", "mqtt.example:8884", "--token", "ada"]
    done = CliRunner().invoke(app, [*words, "--sensor", "bme280", "--sample-every", "60"])
    if tls:  # the board must know the time, and whom to trust
        assert "--ntp" in str(done.exception)
        assert "broker.ca" in str(CliRunner().invoke(app, [*words, "--ntp", "time.example"]).exception)
        assert not copy.exists()
        return
    assert done.exit_code == 0, done.output
    assert "trig_" not in done.output
    told = json.loads(copy.read_text())
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert told["chain"] == {"chain_id": 7, "registry": "0x" + "Ab" * 20}
    assert told["board"]["broker"] == {"host": "mqtt.example", "port": 8884, "tls": False, "ca": ""}
    assert told["board"]["sample_s"] == 60
    assert told["sensors"] == ["bme280"]
    token = TokenFile(load_config(tmp_path / "gw").tokens).find(told["api"]["token"])
    assert token is not None
    assert token.scopes == {Scope.READINGS}
    served = json.loads(load_config(tmp_path / "gw").join_file.read_text())
    assert served == {**told, "api": {"url": "", "token": ""}}
