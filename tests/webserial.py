"""What a browser on a desk has and a headless one lacks: a board on a serial port, a wallet.

Both are JavaScript objects in the page whose calls go through the DevTools protocol to this process: so the page's
policy holds as it is, and the port ends at the emulated board, bytes and lines, as pyserial reaches it by RFC 2217.
"""

from __future__ import annotations

import base64
import json
import threading
from contextlib import suppress
from typing import Any

import requests
import serial
from chromium import Page

_AT_ONCE = 4096

SERIAL = """
(() => {
  const waiting = new Map();
  let number = 0;
  const ask = (what) => new Promise((resolve, reject) => {
    waiting.set(++number, { resolve, reject });
    serialCall(JSON.stringify({ number, ...what }));
  });
  const decode = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  let received = null;
  let port = null;
  window.__serial = {
    answer(number, error, name) {
      const { resolve, reject } = waiting.get(number);
      waiting.delete(number);
      if (error) reject(new DOMException(error, name || "NetworkError")); else resolve();
    },
    data(text) { received?.enqueue(decode(text)); },
    lost() {
      received?.error(new DOMException("The device has been lost.", "NetworkError"));
      received = port.readable = null;
    },
    written: 0,
    chosen: true,
  };
  class FakePort extends EventTarget {
    readable = null;
    writable = null;
    getInfo() { return { usbVendorId: 0x10c4, usbProductId: 0xea60 }; }
    async open({ baudRate }) {
      if (this.readable) throw new DOMException("The port is already open.", "InvalidStateError");
      await ask({ call: "open", baudRate });
      this.#stream();
      this.writable = new WritableStream({
        write: (chunk) => {
          window.__serial.written += chunk.length;
          let text = "";
          for (const byte of chunk) text += String.fromCharCode(byte);
          return ask({ call: "write", data: btoa(text) });
        },
      });
    }
    #stream() {
      // After a cancel a real port gives a new stream (Web Serial, section 4.3).
      this.readable = new ReadableStream({
        start: (controller) => { received = controller; },
        cancel: () => { received = null; if (this.readable) this.#stream(); },
      });
    }
    async close() {
      if (this.readable?.locked || this.writable?.locked) throw new TypeError("The port's streams are locked.");
      this.readable = this.writable = received = null;
      await ask({ call: "close" });
    }
    async setSignals({ dataTerminalReady, requestToSend }) {
      await ask({ call: "signals", dtr: dataTerminalReady ?? null, rts: requestToSend ?? null });
    }
    async getSignals() {
      return { dataCarrierDetect: true, clearToSend: true, ringIndicator: false, dataSetReady: true };
    }
  }
  port = new FakePort();
  const fake = new EventTarget();
  fake.requestPort = async () => {
    if (!window.__serial.chosen) throw new DOMException("No port selected by the user.", "NotFoundError");
    return port;
  };
  fake.getPorts = async () => [port];
  Object.defineProperty(navigator, "serial", { value: fake, configurable: true });
})();
"""

WALLET = """
(() => {
  const waiting = new Map();
  let number = 0;
  window.ethereum = {
    request: ({ method, params = [] }) => new Promise((resolve, reject) => {
      waiting.set(++number, { resolve, reject });
      walletCall(JSON.stringify({ number, method, params }));
    }),
  };
  window.__wallet = (number, result, error) => {
    const { resolve, reject } = waiting.get(number);
    waiting.delete(number);
    if (error) reject(Object.assign(new Error(error.message), error)); else resolve(result);
  };
})();
"""


class Desk:
    """A page's serial port.

    Args:
        page: whose.
        url: the board's, for pyserial.

    Attributes:
        url: where the next one that is opened leads to.
        busy: whether another program has the port.
    """

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self.url = url
        self._port: serial.SerialBase | None = None
        self._reader: threading.Thread | None = None
        self.busy = False
        page.on("serialCall", lambda call: self._pool(call))
        page.before_load(SERIAL)
        self._calls: list[dict[str, Any]] = []
        self._there = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def _pool(self, call: dict[str, Any]) -> None:
        with self._there:
            self._calls.append(call)
            self._there.notify()

    def _work(self) -> None:
        # One after the other, as a port does; not in the browser's loop, which must not wait.
        while True:
            with self._there:
                while not self._calls:
                    self._there.wait()
                call = self._calls.pop(0)
            if call["call"] == "end":
                return
            try:
                self._do(call)
                self._page.post(f"__serial.answer({call['number']})")
            except (OSError, ValueError, AttributeError) as error:
                self._page.post(f"__serial.answer({call['number']}, {json.dumps(str(error) or 'failed')})")

    def _do(self, call: dict[str, Any]) -> None:
        match call["call"]:
            case "open":
                if self.busy:
                    raise OSError("Failed to open serial port.")
                self._open()
            case "close":
                self.unplug(lost=False)
            case _ if self._port is None:
                raise OSError("The device has been lost.")
            case "write":
                self._port.write(base64.b64decode(call["data"]))
            case "signals":
                if call["dtr"] is not None:
                    self._port.dtr = call["dtr"]
                if call["rts"] is not None:
                    self._port.rts = call["rts"]

    def _open(self) -> None:
        self._port = port = serial.serial_for_url(self.url, baudrate=115_200, timeout=0.02)
        self._reader = threading.Thread(target=self._read, args=(port,), daemon=True)
        self._reader.start()

    def _read(self, port: serial.SerialBase) -> None:
        while port is self._port:
            try:
                data = port.read(port.in_waiting or 1)
            except (OSError, TypeError, AttributeError):
                return  # closed
            if data and port is self._port:
                self._page.post(f"__serial.data('{base64.b64encode(data).decode()}')")

    def unplug(self, *, lost: bool = True) -> None:
        """Let go of the port; `lost` as when the cable is pulled."""
        port, self._port = self._port, None
        if port is not None:
            with suppress(OSError):
                port.close()
        if lost:
            self._page.post("__serial.lost()")

    def end(self) -> None:
        """Take the desk away."""
        self.unplug(lost=False)
        self._pool({"call": "end"})


class Wallet:
    """An EIP-1193 provider that passes on what a page asks to a node whose accounts are unlocked.

    Args:
        page: whose.
        url: the node.
        account: the account it shows.

    Attributes:
        chain_id: the chain that it says it is on; None for the node's.
        refuses: whether its user says no.
        slow_s: how far its clock is behind.
    """

    def __init__(self, page: Page, url: str, account: str) -> None:
        self._page = page
        self._url = url
        self._account = account
        self.slow_s = 0
        self.chain_id: int | None = None
        self.refuses = False
        self._ask("anvil_impersonateAccount", [account])  # it is then unlocked
        page.on("walletCall", lambda call: threading.Thread(target=self._answer, args=(call,), daemon=True).start())
        page.before_load(WALLET)

    def _answer(self, call: dict[str, Any]) -> None:
        result, error = self._ask(call["method"], call["params"])
        self._page.post(f"__wallet({call['number']}, {json.dumps(result)}, {json.dumps(error)})")

    def _ask(self, method: str, params: list[Any]) -> tuple[Any, Any]:
        if method == "eth_requestAccounts":
            return [self._account], None
        if method == "eth_chainId" and self.chain_id is not None:
            return hex(self.chain_id), None
        if method == "wallet_switchEthereumChain":
            return None, {"code": 4902, "message": "Unrecognized chain"}
        if method == "eth_sendTransaction" and self.refuses:
            return None, {"code": 4001, "message": "User rejected the request."}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = requests.post(self._url, json=body, timeout=30).json()
        if method == "eth_getBlockByNumber":
            answer["result"]["timestamp"] = hex(int(answer["result"]["timestamp"], 16) - self.slow_s)
        return answer.get("result"), answer.get("error")
