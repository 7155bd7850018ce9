"""Headless Chromium, driven through the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).

aiohttp, which the gateway needs anyway, is all that it takes: no driver, no download of another browser.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_START_S = 60
_ANSWER_S = 60
_FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-sandbox",  # continuous integration runs as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
    "--hide-scrollbars",
)

Called = Callable[[Any], Any]


class PageError(AssertionError):
    """What the page ran raised an exception."""


class Page:
    """One page. Its methods may be called from any thread.

    Attributes:
        complaints: what the browser and the page have complained of: exceptions, console errors, broken policies.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop = loop
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._called: dict[str, Called] = {}
        self.complaints: list[str] = []

    def tell(self, method: str, **parameters: Any) -> Any:
        """Call a method of the DevTools protocol and return its result."""
        return asyncio.run_coroutine_threadsafe(self._tell(method, parameters), self._loop).result(_ANSWER_S)

    def post(self, expression: str) -> None:
        """Evaluate an expression, and do not wait for it."""
        asyncio.run_coroutine_threadsafe(self._send("Runtime.evaluate", {"expression": expression}), self._loop)

    def on(self, name: str, called: Called) -> None:
        """Give the page a function `name(json)`, which returns nothing."""
        self._called[name] = called
        self.tell("Runtime.addBinding", name=name)

    def before_load(self, script: str) -> None:
        """Run a script in each page before its own."""
        self.tell("Page.addScriptToEvaluateOnNewDocument", source=script)

    def go(self, url: str) -> None:
        """Load a page and wait until it is there."""
        answer = self.tell("Page.navigate", url=url)
        assert "errorText" not in answer, answer["errorText"]
        self.until("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """Return what an expression evaluates to; promises are awaited.

        Raises:
            PageError: it raised an exception.
        """
        answer = self.tell(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = 30) -> Any:
        """Wait until an expression is true, and return it."""
        end = time.monotonic() + seconds
        while True:
            with suppress(PageError):  # while another page loads
                if value := self.run(expression):
                    return value
            assert time.monotonic() < end, f"not in {seconds} s: {expression}\n{self.text()}\n{self.complaints}"
            time.sleep(0.05)

    def text(self) -> str:
        """Return what a person sees."""
        return str(self.run("document.body.innerText"))

    def click(self, selector: str) -> None:
        """Click on what a person can see."""
        self.until(f"(() => {{ const at = document.querySelector({json.dumps(selector)});"
                   "return at && at.offsetParent !== null && !at.disabled; })()")  # fmt: skip
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.run(
            f"(() => {{ const at = document.querySelector({json.dumps(selector)}); at.value = {json.dumps(text)};"
            "at.dispatchEvent(new Event('input', {bubbles: true})); at.dispatchEvent(new Event('change')); })()"
        )

    def drop(self, selector: str, name: str, text: str) -> None:
        """Drop a file onto an element."""
        self.run(
            "(() => { const data = new DataTransfer();"
            f"data.items.add(new File([{json.dumps(text)}], {json.dumps(name)}));"
            f"document.querySelector({json.dumps(selector)}).dispatchEvent("
            "new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); })()"
        )

    def look(self, *, width: int = 1100, height: int = 900, dark: bool = False) -> None:
        """Set the window's size, CSS pixels, and the colours."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if width < 600 else 1,
            mobile=width < 600,
        )
        scheme = "dark" if dark else "light"
        self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path) -> None:
        """Save a picture of the whole page as PNG."""
        shot = self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def _send(self, method: str, parameters: dict[str, Any]) -> asyncio.Future[Any]:
        number = next(self._numbers)
        self._waiting[number] = future = self._loop.create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return future

    async def _tell(self, method: str, parameters: dict[str, Any]) -> Any:
        return await (await self._send(method, parameters))

    async def listen(self) -> None:
        """Take answers and events until the browser is gone."""
        async for message in self._socket:
            data = json.loads(message.data)
            if "id" in data:
                future = self._waiting.pop(data["id"])
                if "error" in data:
                    future.set_exception(AssertionError(data["error"]["message"]))
                else:
                    future.set_result(data["result"])
            else:
                self._event(data["method"], data["params"])

    def _event(self, method: str, given: dict[str, Any]) -> None:
        if method == "Runtime.bindingCalled":
            self._called[given["name"]](json.loads(given["payload"]))
        elif method == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.complaints.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and given["type"] == "error":
            self.complaints.append(" ".join(str(one.get("value", one.get("description"))) for one in given["args"]))


@contextmanager
def open_page(folder: Path) -> Iterator[Page]:
    """Start the browser with a profile of its own in `folder`; skip the test where there is none."""
    if PROGRAM is None:
        pytest.skip("there is no Chromium on this machine: apt install chromium")
    profile = folder / "chromium"
    log = (folder / "chromium.log").open("wb")
    process = subprocess.Popen(
        [PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=log,
        stderr=log,
        env={**os.environ, "HOME": str(folder)},
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        port = _port(profile / "DevToolsActivePort", process, folder / "chromium.log")
        session, page = asyncio.run_coroutine_threadsafe(_connect(loop, port), loop).result(_START_S)
        for domain in ("Page", "Runtime", "Log"):
            page.tell(f"{domain}.enable")
        yield page
        asyncio.run_coroutine_threadsafe(session.close(), loop).result(10)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def _port(file: Path, process: subprocess.Popen[bytes], log: Path) -> int:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError, ValueError, IndexError):  # not there yet, or not whole
            return int(file.read_text().splitlines()[0])
        time.sleep(0.05)
    raise AssertionError(f"Chromium does not start: {log.read_text(errors='replace')[-2000:]}")


async def _connect(loop: asyncio.AbstractEventLoop, port: int) -> tuple[aiohttp.ClientSession, Page]:
    session = aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        targets = json.loads(await answer.text())
    target = next(one for one in targets if one["type"] == "page")
    socket = await session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
    page = Page(loop, socket)
    loop.create_task(page.listen())
    return session, page
