/* The board's serial port, for those who take turns at it: prompt, flasher, Improv. */

import { Prompt } from "./prompt.js";
import { Trouble } from "./trouble.js";

const OPTIONS = { baudRate: 115_200, bufferSize: 8_192 };
const BACK_MS = 8_000;
const LOOK_MS = 250;
const USUAL_MS = 6_000;

const sleep = (ms) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

export class Port {
  #port;
  #prompt = null;

  constructor(port) {
    this.#port = port;
  }

  /**
   * Have the user choose a port, and open it.
   * @throws {Trouble} none was chosen, or it cannot be opened
   */
  static async choose() {
    let chosen;
    try {
      chosen = await navigator.serial.requestPort();
    } catch (error) {
      if (error.name === "NotFoundError") {
        throw new Trouble(
          "No board was chosen.",
          "If it is not in the list, try another cable: many only charge. Boards with a CH340 or CP210x may need its driver.",
        );
      }
      throw new Trouble(
        "This browser may not use serial ports here.",
        "Allow it in the settings of this site, and try again.",
      );
    }
    const port = new Port(chosen);
    await port.open();
    return port;
  }

  /** The WebSerial port itself, open. Whoever has taken the prompt must have let it go. */
  get raw() {
    return this.#port;
  }

  async open() {
    try {
      await this.#port.open(OPTIONS);
    } catch (error) {
      if (error.name === "InvalidStateError") return; // it is open already
      throw new Trouble(
        "The port cannot be opened: another program or page has it, or the board was unplugged.",
        "Close serial monitors, Thonny and the like, plug the board in, and choose it again. On Linux, you may have to join the group dialout.",
      );
    }
  }

  /**
   * Take the prompt.
   * @param {number} ms how long a board may take that has just been reset
   */
  async prompt(ms = USUAL_MS) {
    if (this.#prompt?.ended) {
      await this.release();
      await this.reopen();
    }
    if (this.#prompt === null) {
      await this.open();
      const prompt = new Prompt(this.#port);
      try {
        await prompt.enter(ms);
      } catch (error) {
        await prompt.release();
        throw error;
      }
      this.#prompt = prompt;
    }
    return this.#prompt;
  }

  /** Let go of the prompt; the port stays open. */
  async release() {
    const prompt = this.#prompt;
    this.#prompt = null;
    await prompt?.release();
  }

  /** Reset the board, so that its application starts. */
  async restart() {
    const prompt = await this.prompt();
    await prompt.restart();
    await this.release();
    await this.reopen();
  }

  /** Let go of all of it. */
  async close() {
    await this.release().catch(() => {});
    await this.#port.close().catch(() => {});
  }

  /** Open it again, after a reset in which a board with USB of its own vanishes for a moment. */
  async reopen() {
    await this.#port.close().catch(() => {});
    const deadline = Date.now() + BACK_MS;
    for (;;) {
      await sleep(LOOK_MS);
      try {
        await this.#port.open(OPTIONS);
        return;
      } catch (error) {
        if (error.name === "InvalidStateError") return;
        const granted = await navigator.serial.getPorts();
        if (granted.length === 1) [this.#port] = granted; // it came back as another one
        if (Date.now() > deadline) {
          throw new Trouble(
            "The board has not come back after its reset.",
            "Unplug it, plug it in again, and choose it once more: what is done stays done.",
          );
        }
      }
    }
  }
}
