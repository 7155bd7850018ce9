/* A board's raw prompt over WebSerial (MicroPython documentation, "The MicroPython Interactive Interpreter Mode").

   A small client of our own, because mpremote is Python. Every wait ends, and what is kept of the board's words is
   bounded: a board may be silent, print for ever, or be no board at all. */

import { Trouble } from "./trouble.js";

const RAW = "raw REPL; CTRL-B to exit\r\n>";
const END = "\x04";
const PIECE = 256; // bytes that a board's serial buffer takes at once
const PIECE_MS = 10;
const KEPT = 1 << 18;
const SILENCE_MS = 20_000;
const ENTER_MS = 1_500;
const QUIET_MS = 250;

const sleep = (ms) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
const utf8 = new TextDecoder();

/** The board raised an exception; `last` is its last line, such as `ConfigError: broker.port: missing`. */
export class BoardError extends Error {
  constructor(text) {
    const last = text.trim().split("\n").at(-1).trim();
    super(`the board says: ${last}`);
    this.last = last;
  }
}

export class Prompt {
  /** How often the board's memory has been emptied. */
  starts = 0;
  #reader;
  #writer;
  #pump;
  #text = ""; // one character a byte
  #ended = false;
  #wake = () => {};

  /** @param {SerialPort} port it is open, and nobody else reads it */
  constructor(port) {
    this.#reader = port.readable.getReader();
    this.#writer = port.writable.getWriter();
    this.#writer.closed.catch(() => {}); // `ended` says it
    this.#pump = this.#read();
  }

  /** Whether the connection is over. */
  get ended() {
    return this.#ended;
  }

  /** Let go of the port, which stays open. */
  async release() {
    await this.#reader.cancel().catch(() => {});
    await this.#pump;
    this.#reader.releaseLock();
    this.#writer.releaseLock();
  }

  /**
   * Stop what runs and take the raw prompt; afterwards memory is empty and boot.py has run.
   * @param {number} ms how long a board may take, for the first start of a new one formats its flash
   * @throws {Trouble} no MicroPython answers
   */
  async enter(ms) {
    const deadline = Date.now() + ms;
    for (;;) {
      await this.#send("\r\x03\x03");
      await sleep(100);
      this.#text = "";
      await this.#send("\r\x01");
      try {
        await this.#until(RAW, ENTER_MS, false);
        await this.#quiet(); // a board that was slow has more of these keys to answer
        break;
      } catch (error) {
        if (this.#ended || Date.now() > deadline) throw error;
      }
    }
    await this.startOver();
  }

  /** Soft reset: memory is empty and boot.py has run, main.py has not. */
  async startOver() {
    await this.#send(END);
    await this.#until("soft reboot\r\n", SILENCE_MS);
    await this.#until(RAW, SILENCE_MS);
    this.starts += 1;
  }

  /**
   * Run code and return what it printed.
   * @param {string} code MicroPython
   * @param {number} ms how long the board may be silent
   * @throws {BoardError} it raised an exception
   * @throws {Trouble} the board fell silent
   */
  async run(code, ms = SILENCE_MS) {
    await this.#start(code);
    const printed = await this.#until(END, ms);
    const raised = await this.#until(END, ms);
    await this.#until(">", ms);
    if (raised) throw new BoardError(asText(raised));
    return asText(printed);
  }

  /** Run code whose last line printed is JSON, and return that; else as `run`. */
  async ask(code, ms = SILENCE_MS) {
    const lines = (await this.run(code, ms)).trim().split("\n");
    try {
      return JSON.parse(lines.at(-1));
    } catch {
      throw new Trouble(
        `The board answered ${JSON.stringify(lines.at(-1).slice(-80))}, which makes no sense here.`,
        "Install Trigpoint on it again: its version may be another one.",
      );
    }
  }

  /** Reset the board; its application starts. Only `release` is left to do. */
  async restart() {
    await this.#start("import machine\nmachine.reset()\n").catch(() => {});
    await sleep(200);
  }

  async #start(code) {
    const bytes = new TextEncoder().encode(code);
    for (let at = 0; at < bytes.length; at += PIECE) {
      await this.#write(bytes.subarray(at, at + PIECE));
      if (bytes.length > PIECE) await sleep(PIECE_MS);
    }
    await this.#send(END);
    await this.#until("OK", SILENCE_MS);
  }

  #send(text) {
    return this.#write(Uint8Array.from(text, (character) => character.charCodeAt(0)));
  }

  async #write(bytes) {
    try {
      await this.#writer.write(bytes);
    } catch {
      throw gone();
    }
  }

  /* Return what came before `mark`, and drop both. `ms` counts from the last byte, or, without `patient`, from now. */
  async #until(mark, ms, patient = true) {
    let deadline = Date.now() + ms;
    let searched = 0;
    for (;;) {
      const at = this.#text.indexOf(mark, searched);
      if (at >= 0) {
        const before = this.#text.slice(0, at);
        this.#text = this.#text.slice(at + mark.length);
        return before;
      }
      if (this.#ended) throw gone();
      if (this.#text.length > KEPT)
        throw new Trouble("The board prints without end.", "Press its RESET button and try again.");
      searched = Math.max(0, this.#text.length - mark.length);
      const left = deadline - Date.now();
      if (left <= 0) throw silent();
      const before = this.#text.length;
      let timer;
      await new Promise((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
      if (patient && this.#text.length !== before) deadline = Date.now() + ms;
    }
  }

  async #quiet() {
    let before;
    do {
      before = this.#text.length;
      await sleep(QUIET_MS);
    } while (this.#text.length !== before && this.#text.length < KEPT);
    this.#text = "";
  }

  async #read() {
    try {
      for (;;) {
        const { value, done } = await this.#reader.read();
        if (done) break;
        let text = "";
        for (const byte of value) text += String.fromCharCode(byte);
        this.#text += text;
        this.#wake();
      }
    } catch {
      // the cable was pulled, or the board vanished from USB in a reset
    }
    this.#ended = true;
    this.#wake();
  }
}

function asText(bytes) {
  return utf8.decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
}

function silent() {
  return new Trouble(
    "The board does not answer.",
    "Check the cable (some only charge), press the board's RESET button, and try again.",
  );
}

function gone() {
  return new Trouble(
    "The connection to the board was cut.",
    "Plug it in again and go on: nothing is lost, what was done is found.",
  );
}
