/* The gateway's HTTP API: read only, with a token that stays in this page's memory and goes nowhere else. */

import { Trouble } from "./trouble.js";

const PATIENCE_MS = 15_000;
const POLL_MS = 1_000;
const sleep = (ms) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
const TOKEN = /^trig_[A-Za-z0-9_-]{43}$/;

export class Gateway {
  #url;
  #token;

  /**
   * @param {string} url where the API is; empty for where the page came from
   * @param {string} token as `trigpoint gateway token new` showed it
   * @throws {Trouble} it is no token
   */
  constructor(url, token) {
    if (!TOKEN.test(token)) {
      throw new Trouble(
        "This is no token of a gateway.",
        "It begins with trig_ and is 48 characters long: copy it once more.",
      );
    }
    this.#url = url.replace(/\/$/, "") || location.origin;
    this.#token = token;
  }

  /** Return the text of the gateway's join file. */
  async joinFile() {
    return JSON.stringify(await this.#get("/v1/join"));
  }

  /** Return whether the gateway takes what the board says. */
  async active(kid) {
    return Boolean((await this.#get(`/v1/boards/${kid}`, true))?.active);
  }

  /** Wait until the gateway takes what the board says, but not longer than `ms`. */
  async known(kid, ms) {
    const deadline = Date.now() + ms;
    while (!(await this.active(kid)) && Date.now() < deadline) await sleep(POLL_MS);
  }

  /**
   * Wait for the board's first statement and return what it says.
   * @param {string} kid
   * @param {number} ms how long
   * @param {(said: string) => void} report
   */
  async firstStatement(kid, ms, report) {
    const deadline = Date.now() + ms;
    for (;;) {
      const board = await this.#get(`/v1/boards/${kid}`, true);
      if (board?.newest) return this.#get(`/v1/statements/${board.newest.leaf_index}`);
      report(
        board
          ? "The gateway knows the board and waits for its first statement."
          : "The gateway waits for the registration on the chain.",
      );
      if (Date.now() > deadline) {
        throw new Trouble(
          "No statement of this board has come yet.",
          "It goes on trying by itself. Check that it is in reach of its Wi-Fi and that the gateway runs.",
        );
      }
      await sleep(POLL_MS);
    }
  }

  async #get(path, absent = false) {
    let response;
    try {
      response = await fetch(this.#url + path, {
        headers: { Authorization: `Bearer ${this.#token}` },
        signal: AbortSignal.timeout(PATIENCE_MS),
        cache: "no-store",
      });
    } catch {
      throw new Trouble(
        `The gateway does not answer at ${this.#url}.`,
        "Check that it runs. A page from another host needs its origin in api.cors_origins.",
      );
    }
    if (absent && response.status === 404) return null;
    const answer = await response.json().catch(() => null);
    if (!response.ok || answer === null) {
      throw new Trouble(
        `The gateway says: ${answer?.detail ?? `error ${response.status}`}.`,
        REMEDIES[response.status] ?? "Ask its operator.",
      );
    }
    return answer;
  }
}

const REMEDIES = {
  401: "Copy the token once more, or ask the operator for a new one.",
  403: "Ask the operator for a token with the scopes join and readings.",
  404: "The operator makes the join file with `trigpoint gateway join-file`.",
  429: "Wait a minute.",
};
