/* Step 2: Wi-Fi by Improv Serial (improv-wifi.com), which the board speaks while its application runs. */

import { ImprovSerial } from "./vendor/improv-wifi-serial-sdk/serial.js";
import { Trouble } from "./trouble.js";

const ANSWER_MS = 20_000; // it may have to make its key first
const JOIN_MS = 45_000;
const QUIET = { log() {}, debug() {}, error() {} };
const PROVISIONED = 4; // current state, Improv Serial

export class Provisioning {
  #client;
  #stop = null;

  /**
   * Begin with a board whose application has just been started; null if it does not speak Improv.
   * @param {SerialPort} port open
   */
  static async begin(port) {
    const client = new ImprovSerial(port, QUIET);
    try {
      await client.initialize(ANSWER_MS);
    } catch {
      return null;
    }
    const provisioning = new Provisioning();
    provisioning.#client = client;
    return provisioning;
  }

  /** Whether the board is on a network already. */
  get provisioned() {
    return this.#client.state === PROVISIONED;
  }

  /** Call `found` with the networks in reach each time they change: [{name, rssi, secured}]; null if it cannot scan. */
  scan(found) {
    this.#stop = this.#client.subscribeSSIDs(found);
  }

  /**
   * Have the board join a network.
   * @throws {Trouble} it could not
   */
  async join(name, password) {
    await this.#stop?.();
    this.#stop = null;
    try {
      await this.#client.provision(name, password, JOIN_MS);
    } catch {
      throw new Trouble(
        `The board could not join ${name}.`,
        "Check the password. An ESP32 needs a network on 2.4 GHz.",
      );
    }
  }

  /** Let go of the port. */
  async end() {
    await this.#stop?.();
    this.#stop = null;
    await this.#client.close();
  }
}
