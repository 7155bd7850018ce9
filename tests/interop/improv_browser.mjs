// A browser in a few lines: the unmodified Improv Wi-Fi SDK over a terminal in place of a WebSerial port.
//
//     node improv_browser.mjs <terminal> <folder of the SDK> <JSON: list of [method, ...arguments]>
//
// Prints one line of JSON for each call: {"call", "value" or "error", "state", "info", "states", "errors"}.

import fs from "node:fs";
import { registerHooks } from "node:module";
import path from "node:path";
import tty from "node:tty";
import { pathToFileURL } from "node:url";

registerHooks({
  // The SDK is published for bundlers, which know its files without their endings.
  resolve: (name, context, next) => next(/^\..*[^s]$/.test(name) ? `${name}.js` : name, context),
});

const [terminal, folder, calls] = process.argv.slice(2);
const { ImprovSerial } = await import(pathToFileURL(path.join(folder, "serial.js")).href);

const file = fs.openSync(terminal, fs.constants.O_RDWR | fs.constants.O_NOCTTY);
const input = new tty.ReadStream(file);
input.setRawMode(true);
const port = {
  readable: new ReadableStream({ start: (to) => input.on("data", (data) => to.enqueue(new Uint8Array(data))) }),
  writable: new WritableStream({ write: (data) => void fs.writeSync(file, data) }),
};

const client = new ImprovSerial(port, { log() {}, debug() {}, error() {} });
const states = [];
const errors = [];
client.addEventListener("state-changed", (event) => states.push(event.detail));
client.addEventListener("error-changed", (event) => event.detail && errors.push(event.detail));
for (const [method, ...rest] of JSON.parse(calls)) {
  const said = { call: method };
  try {
    said.value = (await client[method](...rest)) ?? null;
  } catch (error) {
    said.error = String(error.message ?? error);
  }
  said.state = client.state;
  said.info = client.info;
  console.log(JSON.stringify({ ...said, states: states.splice(0), errors: errors.splice(0) }));
}
process.exit(0);
