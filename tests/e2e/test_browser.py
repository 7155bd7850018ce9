"""The board page in a real browser: an emulated board at its serial port, a wallet that passes on to a real chain."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from chromium import Page, open_page
from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.api.tokens import Scope, TokenFile
from trigpoint.chain import permitfile
from trigpoint.chain.deploy import deploy
from trigpoint.cli import app
from trigpoint.clock import WorldClock
from trigpoint.commands.gateway import account_address, load_config
from trigpoint.errors import OperatorError
from trigpoint.init import Answers, create, create_keys, record_contracts
from trigpoint.wire.keys import PublicKey
from trigpoint_tools.demo import processes
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.image import build
from trigpoint_tools.emulator.serialcable import SerialCable, make_directory
from trigpoint_tools.emulator.weather import Sample, Weather
from trigpoint_tools.localchain import CHAIN_ID, LocalChain
from trigpoint_tools.serial import firmware, install, site
from trigpoint_tools.serial.session import Session
from typer.testing import CliRunner
from webserial import Desk, Wallet

SPEED = 600
ORIGIN = 1_370_000_000
WEATHER = Weather((0, 2_000_000_000), (Sample(2000, 5000, 101_325), Sample(2000, 5000, 101_325)))
AROUND = {
    "wifi": [{"ssid": "home", "password": "correct horse"}],
    "sensors": [{"type": "bme280", "scl": 22, "sda": 21, "address": 118}],
}
PICTURES = os.environ.get("TRIGPOINT_PICTURES", "")
"""A folder for pictures of the page in each state; none are taken without."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page as static files, for an ESP32."""
    image = tmp_path / "firmware.bin"
    image.write_bytes(build(CHIPS["esp32"]))
    site.build(tmp_path / "page", [firmware.load(image, "esp32")], install.application())
    return tmp_path / "page"


@pytest.fixture
def chain() -> Iterator[LocalChain]:
    with LocalChain() as running:
        yield running


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    port = processes.free_port()
    running = processes.broker(port, tmp_path / "broker.log")
    running.start()
    try:
        processes.wait_for_port(port, running)
        yield port
    finally:
        running.stop()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with open_page(tmp_path) as opened:
        opened.look()
        yield opened


def trigpoint(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def picture(page: Page, name: str) -> None:
    """Take pictures as on a desk and on a phone, by day and by night."""
    if not PICTURES:
        return
    for width, height, form in ((1100, 900, "desk"), (390, 844, "phone")):
        for dark in (False, True):
            page.look(width=width, height=height, dark=dark)
            page.picture(Path(PICTURES) / f"{name}-{form}-{'dark' if dark else 'light'}.png")
    page.look()


def trouble(page: Page, seconds: float = 60) -> str:
    """Wait for trouble and return what the page says it is."""
    page.until("!document.querySelector('#trouble').hidden", seconds)
    return str(page.run("document.querySelector('#trouble .what').textContent"))


def test_a_blank_board_to_its_first_statement(
    tmp_path: Path, folder: Path, chain: LocalChain, broker: int, page: Page
) -> None:
    started = time.time()
    api = processes.free_port()
    gw = tmp_path / "gw"
    create_keys(gw)
    create(
        gw,
        Answers(
            broker_host="127.0.0.1",
            broker_port=broker,
            broker_tls=False,
            rpc_url=chain.url,
            chain_id=CHAIN_ID,
            confirmations=0,
            world=(ORIGIN, started, SPEED),
        ),
    )
    deployed = deploy(chain.web3, chain.account())
    record_contracts(gw / "gateway.toml", deployed.device_registry, deployed.transparency_log, deployed.block)
    before, section, after = (gw / "gateway.toml").read_text().partition("[api]\n")
    after = after.replace('listen = ""', f'listen = "127.0.0.1:{api}"').replace(
        'board_page = ""', f'board_page = "{folder}"'
    )
    (gw / "gateway.toml").write_text(before + section + after)
    assert load_config(gw).api.board_page == folder
    # A gateway without coin is in trouble over its anchors, and asks the registry less and less often.
    chain.rpc("anvil_setBalance", account_address(load_config(gw)), hex(10**18))
    trigpoint("gateway", "join-file", gw, tmp_path / "join.json", "--sensor", "bme280", "--sample-every", 600)
    token = TokenFile(load_config(gw).tokens).add("maker", frozenset({Scope.JOIN, Scope.READINGS}), 0)

    gateway = processes.gateway(gw, tmp_path / "gateway.log")
    make_directory(tmp_path / "board", "esp32", AROUND, blank=True)
    cable = SerialCable(tmp_path / "board", WorldClock(ORIGIN, started, SPEED), WEATHER)
    gateway.start()
    desk = Desk(page, cable.plug_in().rfc2217)
    wallet = Wallet(page, chain.url, chain.account().address)
    try:
        processes.wait_for_port(api, gateway)
        page.go(f"http://127.0.0.1:{api}/board/")
        page.until("document.querySelector('#version').textContent.startsWith('Trigpoint')")
        picture(page, "begin")
        page.click("#connect-button")
        page.until("!document.querySelector('#found').hidden", 60)
        picture(page, "found")
        assert "No MicroPython answers" in page.text()
        page.click("#install")
        if PICTURES:
            page.until("document.querySelector('#installing-part').value > 0.3", 60)
            picture(page, "installing")
        page.until("!document.querySelector('#wifi-form').hidden", 120)
        page.until("[...document.querySelector('#network').options].some((one) => one.value === 'home')")
        page.fill("#network", "home")
        page.fill("#wifi-password", "correct horse")
        picture(page, "wifi")
        page.click("#join")
        page.until("document.querySelector('#enrol').dataset.state === 'open'", 60)
        picture(page, "gateway")
        page.fill("#token", token)
        page.click("#fetch")
        page.until("!document.querySelector('#enrol-form').hidden")

        picture(page, "enrol")
        wallet.chain_id = 1
        page.click("#enrol-button")
        assert trouble(page) == "Your wallet is on another chain; this gateway is on chain 31337."
        wallet.chain_id, wallet.slow_s = None, 7200
        page.click("#again")
        assert trouble(page) == "The permit's time is over."
        picture(page, "expired")
        wallet.slow_s, wallet.refuses = 0, True
        page.click("#again")
        assert trouble(page) == "You said no in the wallet."
        wallet.refuses = False
        page.click("#again")
        page.until("!document.querySelector('#done').hidden", 60)
        picture(page, "done")
        text = page.text()
        assert "the gateway has verified it" in text
        assert "20.00" in text
        # Until the registration is mirrored the gateway does not know the board.
        assert [one for one in page.complaints if "404" not in one or "/v1/boards/" not in one] == []
        stored = json.loads(trigpoint("board", "ls", "--gateway", gw, "--json"))
        assert stored["gateway"][0]["board"] in text
    finally:
        desk.end()
        cable.unplug()
        gateway.stop()


@contextmanager
def any_web_server(folder: Path) -> Iterator[int]:
    """Serve static files, as python -m http.server does; yield the port."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_where_it_cannot_work_it_says_so(folder: Path, page: Page) -> None:
    with any_web_server(folder) as port:
        page.go(f"http://elsewhere.test:{port}/")
        page.until("!document.querySelector('#unable').hidden")
        assert "plain HTTP" in page.text()
        assert page.run("document.querySelector('#connect-button').disabled")
        picture(page, "insecure")
        page.complaints.clear()  # the browser's own, of the icon that this server lacks
        page.before_load("delete Navigator.prototype.serial;")
        page.go(f"http://127.0.0.1:{port}/")
        page.until("!document.querySelector('#unable').hidden")
        assert "cannot talk to serial ports" in page.text()
        assert page.complaints == []


def join_file(broker: int) -> dict:
    """A gateway that is not there, with a broker that asks for passwords."""
    public = PublicKey.of(ec.derive_private_key(7, ec.SECP256R1()))
    return {
        "format": "trigpoint-join/1",
        "name": "roof",
        "chain": {"chain_id": 1, "registry": "0x" + "cd" * 20},
        "board": {
            "version": 1,
            "broker": {"host": "127.0.0.1", "port": broker, "tls": False, "ca": ""},
            "link_key": (public.x + public.y).hex(),
        },
        "authority": "",
        "broker_passwords": True,
        "sensors": ["bme280"],
        "api": {"url": "", "token": ""},
    }


def at_prompt(port: str) -> Session:
    """Take the prompt of a board that has just been started."""
    for _ in range(3):
        with suppress(OperatorError):
            return Session(port)
    return Session(port)


def test_what_can_go_wrong_at_the_cable(tmp_path: Path, folder: Path, page: Page) -> None:
    """An ESP32-C3 at a site for the ESP32; then another board, whose cable is pulled twice, up to its permit."""
    make_directory(tmp_path / "c3", "esp32c3", AROUND, blank=True)
    make_directory(tmp_path / "board", "esp32", AROUND, blank=True)
    world = WorldClock(ORIGIN, time.time(), SPEED)
    c3, board = (SerialCable(tmp_path / name, world, WEATHER) for name in ("c3", "board"))
    ports = [cable.plug_in() for cable in (c3, board)]
    desk = Desk(page, ports[0].rfc2217)
    try:
        with any_web_server(folder) as port:
            page.go(f"http://127.0.0.1:{port}/")
            page.run("__serial.chosen = false")
            page.click("#connect-button")
            assert trouble(page) == "No board was chosen."
            page.run("__serial.chosen = true")
            desk.busy = True
            page.click("#again")
            page.until("document.querySelector('#trouble .what')?.textContent.includes('another program')")
            picture(page, "busy")
            desk.busy = False
            page.click("#again")
            page.click("#install")
            assert trouble(page) == "This board has an ESP32-C3, and this site has firmware for ESP32."
            picture(page, "wrong-chip")

            desk.url = ports[1].rfc2217
            page.click("#again")
            page.click("#install")
            page.until("document.querySelector('#installing-what').textContent.startsWith('Writes')")
            desk.unplug()
            assert trouble(page) == "Writing was cut in the middle."
            page.click("#again")
            page.click("#install")
            page.until("document.querySelector('#installing-what').textContent.startsWith('Installs')", 60)
            page.until("document.querySelector('#installing-part').value > 0.3", 60)
            desk.unplug()
            assert trouble(page) == "The connection to the board was cut."
            page.click("#again")
            page.until("!document.querySelector('#found').hidden", 60)
            page.click("#install")
            page.until("document.querySelector('#wifi').dataset.state === 'open'", 90)
            page.until("[...document.querySelector('#network').options].some((one) => one.value === 'home')", 60)
            page.fill("#network", "home")
            page.fill("#wifi-password", "wrong horse")
            page.click("#join")
            assert trouble(page) == "The board could not join home."
            picture(page, "wifi-trouble")
            page.fill("#wifi-password", "correct horse")
            page.click("#again")
            page.until("document.querySelector('#enrol').dataset.state === 'open'", 60)

            # No wallet, no token, a broker with passwords.
            told = join_file(broker=port)
            page.drop("#drop", "join.json", "not a join file")
            assert trouble(page).startswith("This is no join file")
            page.drop("#drop", "join.json", json.dumps(told))
            page.until("!document.querySelector('#enrol-form').hidden")
            assert page.run("document.querySelector('#by-wallet').disabled")
            page.fill("#address", "0x12")
            page.click("#enrol-button")
            page.until("document.querySelector('#trouble .what').textContent.startsWith('The owner')")
            page.fill("#address", "0x" + "Ab" * 20)
            page.click("#again")
            page.until("!document.querySelector('#password-form').hidden", 60)
            picture(page, "password")
            kid = str(page.run("document.querySelector('#add-board').textContent")).split()[-1]
            page.fill("#broker-password", "s3cret")
            page.click("#password-form button")
            page.until("!document.querySelector('#permit-box').hidden", 60)
            picture(page, "permit")
            (filed,) = permitfile.parse(page.run("document.querySelector('#permit').value"), "page")
            assert (filed.kid.hex(), filed.permit.owner, filed.chain_id) == (kid, b"\xab" * 20, 1)
            desk.unplug()
            with at_prompt(str(ports[1].pty)) as session:
                config = json.loads(session.read("/config.json") or b"")
            assert config["broker"]["password"] == "s3cret"
            assert config["wifi"] == AROUND["wifi"]
            assert config["link_key"] == told["board"]["link_key"]
    finally:
        desk.end()
        c3.unplug()
        board.unplug()
