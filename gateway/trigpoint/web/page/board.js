/* What the page does to a board at its prompt. The MicroPython that it runs comes from the site's files, so that the
   page and the command `trigpoint board` ask a board the same questions. */

import { BoardError } from "./prompt.js";
import { Trouble } from "./trouble.js";

const CHUNK = 720; // bytes of a file in one line of code
const START = "/main.py";
const LOADER = ["/slots.py", "/boot.py", START];
const CONFIG = "/config.json";
const CANDIDATE = "/config.candidate";
const AUTHORITY = "/ca.der";
const KEY_MS = 60_000;
const WAY_MS = 180_000;
const CHIPS = ["esp32s2", "esp32s3", "esp32c3", "esp32c6"];

/** Return the chip that MicroPython says it runs on, as esptool names it. */
export function chipOf(machine) {
  const name = machine.toLowerCase().split(" with ").at(-1).replaceAll("-", "");
  return CHIPS.find((chip) => name.startsWith(chip)) ?? "esp32";
}

/** Return the SHA-256 of bytes as hexadecimal digits. */
export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the bytes that base64 text stands for. */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

const quoted = (text) => JSON.stringify(text).replaceAll("\u007f", "\\x7f"); // for ASCII text, also a MicroPython string

/**
 * Decide what is to be written and what is to be removed before, each in this order; as
 * `trigpoint_tools.serial.install.plan`. While modules of two versions lie side by side the board has no /main.py.
 * @param {{path: string, sha256: string}[]} files those of the site, the application in slot /a
 * @param {Map<string, string>} present path to SHA-256
 * @param {string} slot the slot that runs, a or b
 */
export function plan(files, present, slot) {
  const wanted = new Map(files.map((file) => [file.path.replace(/^\/a\//, `/${slot}/`), file]));
  const wrong = new Set([...wanted].filter(([path, file]) => present.get(path) !== file.sha256).map(([path]) => path));
  const strays = [...present.keys()].filter(
    (path) => !wanted.has(path) && (path.startsWith(`/${slot}/trig/`) || LOADER.includes(path.replace(/\.new$/, ""))),
  );
  const remove = strays.sort();
  const mixed = remove.some((path) => path.startsWith(`/${slot}/`)) || [...wrong].some((path) => path !== START);
  if (present.has(START) && mixed) {
    remove.unshift(START);
    if (wanted.has(START)) wrong.add(START);
  }
  const rank = (path) => LOADER.indexOf(path);
  const order = [...wrong].sort((one, other) => rank(one) - rank(other) || (one < other ? -1 : 1));
  return { write: order.map((path) => ({ ...wanted.get(path), path })), remove };
}

export class Board {
  #defined = 0; // the start in which the scripts' functions were defined

  /**
   * @param {import("./prompt.js").Prompt} prompt
   * @param {Record<string, string>} scripts of site.json
   */
  constructor(prompt, scripts) {
    this.prompt = prompt;
    this.scripts = scripts;
  }

  /** Return what the board is and how it is set up, without its secrets. */
  async status() {
    const said = await this.prompt.ask(this.scripts.status, KEY_MS);
    return { ...said, chip: chipOf(String(said.machine)) };
  }

  async hashes() {
    await this.#define();
    const printed = await this.prompt.run("walk('/')", KEY_MS);
    const lines = [...printed.matchAll(/^([0-9a-f]{64}) (\/\S*)\r?$/gm)];
    return new Map(lines.map(([, digest, path]) => [path, digest]));
  }

  /**
   * Write a file, whole or not at all, and verify it as it lies on flash. The raw prompt has no flow control, so that a
   * byte may get lost on the way: what went wrong once is tried once more.
   */
  async write(path, bytes, digest = null) {
    const wanted = digest ?? (await sha256(bytes));
    try {
      if (await this.#written(path, bytes, wanted)) return;
    } catch (error) {
      if (!(error instanceof BoardError)) throw error;
    }
    if (await this.#written(path, bytes, wanted)) return;
    throw new Trouble(`${path} came out wrong on the board's flash.`, "Try again, with another cable if you have one.");
  }

  async #written(path, bytes, digest) {
    const draft = `${path}.new`;
    await this.#define();
    await this.prompt.run(`make(${quoted(path)})\nf=open(${quoted(draft)},'wb')`);
    for (let at = 0; at < bytes.length; at += CHUNK) {
      await this.prompt.run(`f.write(base64(${quoted(toBase64(bytes.subarray(at, at + CHUNK)))}))`);
    }
    const printed = await this.prompt.run(`f.close()\none(${quoted(draft)})`);
    if (!printed.includes(digest)) return false;
    await this.prompt.run(`os.rename(${quoted(draft)},${quoted(path)})`);
    return true;
  }

  /* What is defined at the prompt stays until the board starts over; a file is three lines then. */
  async #define() {
    if (this.#defined === this.prompt.starts) return;
    await this.prompt.run(`${this.scripts.folders}${this.scripts.hashes}from binascii import a2b_base64 as base64\n`);
    this.#defined = this.prompt.starts;
  }

  async remove(path) {
    await this.prompt.run(`import os\ntry: os.remove(${quoted(path)})\nexcept OSError: pass\n`);
  }

  /**
   * Bring the board's files to those of the site. Config, key, journal and the other slot stay as they are.
   * @returns {Promise<number>} how many files were written
   */
  async install(files, slot, progress) {
    const todo = plan(files, await this.hashes(), slot);
    for (const path of todo.remove) await this.remove(path);
    const total = todo.write.reduce((sum, file) => sum + file.content.length, 0) || 1;
    let done = 0;
    for (const file of todo.write) {
      await this.write(file.path, fromBase64(file.content), file.sha256);
      done += file.content.length;
      progress(done / total);
    }
    if (todo.write.length || todo.remove.length) await this.prompt.startOver();
    return todo.write.length;
  }

  /** Return the configuration on the board, null if there is none. It holds passwords: it is not to be shown. */
  async configuration() {
    const code = `try:\n f=open(${quoted(CONFIG)})\n print(f.read())\nexcept OSError: print('null')\n`;
    try {
      return JSON.parse(await this.prompt.run(code));
    } catch (error) {
      if (error instanceof SyntaxError) return null;
      throw error;
    }
  }

  /**
   * Write settings once the board's own check has passed; else it keeps what it had.
   * @param {object} config the content of config.json
   * @param {Uint8Array} authority who signed the broker's certificate, DER; empty for none
   */
  async configure(config, authority) {
    if (authority.length) await this.write(AUTHORITY, authority);
    // In ASCII, with escapes: then each character is a byte, in a file as on the wire.
    const text = JSON.stringify(config).replace(
      /[\u007f-\uffff]/g,
      (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
    await this.write(CANDIDATE, new TextEncoder().encode(text));
    try {
      await this.prompt.run(`from trig import config\nconfig.load(${quoted(CANDIDATE)})`, KEY_MS);
    } catch (error) {
      await this.remove(CANDIDATE);
      const [kind, ...words] = error instanceof BoardError ? error.last.split(": ") : [""];
      if (!kind.endsWith("ConfigError")) throw error;
      throw new Trouble(
        `The board refuses these settings: ${words.join(": ")}.`,
        "Change what it names, here or in the join file.",
      );
    }
    await this.prompt.run(`import os\nos.rename(${quoted(CANDIDATE)},${quoted(CONFIG)})`);
    await this.prompt.startOver();
  }

  /** Have the board make its key, if it has none yet: {kid, x, y}, hexadecimal. */
  async publicKey() {
    return this.prompt.ask("import trig.enroll\ntrig.enroll.show()", KEY_MS);
  }

  /** Have the board sign its permit: {kid, x, y, r, s}, hexadecimal. */
  async permit(terms) {
    const fields = [
      BigInt(terms.chainId),
      quoted(terms.registry),
      quoted(terms.owner),
      quoted(terms.metadataHash),
      BigInt(terms.deadline),
    ];
    return this.prompt.ask(`import trig.enroll\ntrig.enroll.permit(${fields.join(", ")})`, KEY_MS);
  }

  /** Have the board measure once: for each part {part, readings, error}. */
  async sensors() {
    return this.prompt.ask(this.scripts.sensors, KEY_MS);
  }

  /** Have the board join its Wi-Fi and reach for its broker: {wifi, wifi_error, broker_error}. */
  async way() {
    return this.prompt.ask(this.scripts.way, WAY_MS);
  }
}
