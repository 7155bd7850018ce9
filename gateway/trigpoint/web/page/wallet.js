/* The user's own wallet, by EIP-1193: the page never sees a key. */

import { registration, word } from "./permit.js";
import { Trouble } from "./trouble.js";

const POLL_MS = 1_000;
const MINED_MS = 300_000;
const REFUSED = 4001; // EIP-1193: user rejected request
const UNKNOWN_CHAIN = 4902; // EIP-3085
const PERMIT_LIFE_S = 3_600;

const hex = (number) => `0x${BigInt(number).toString(16)}`;

/** What the registry's refusals mean. */
const REFUSALS = {
  AlreadyRegistered: ["This board is registered already.", "Go on: if it is yours, its statements are accepted."],
  PermitExpired: ["The permit's time is over.", "Enrol again: the board signs a new one."],
  PermitSignatureInvalid: [
    "The registry does not accept the board's signature.",
    "Check that chain and registry of the join file are right, and enrol again.",
  ],
  PermitWithoutOwner: ["The permit names no owner.", "Choose an account, and enrol again."],
};

export class Wallet {
  #provider;
  #terms;
  #calls;

  /**
   * @param {object} provider EIP-1193
   * @param {{chain_id: number, registry: string}} chain of the join file
   * @param {{register: string, activeAt: string, errors: Record<string, string>}} calls selectors, of site.json
   */
  constructor(provider, chain, calls) {
    this.#provider = provider;
    this.#terms = chain;
    this.#calls = calls;
  }

  /**
   * Ask for an account on the right chain.
   * @returns {Promise<string>} its address
   * @throws {Trouble} the user said no, or the wallet is on another chain and does not change
   */
  async connect() {
    const accounts = await this.#ask("eth_requestAccounts");
    if (!accounts?.length) throw new Trouble("The wallet shows no account.", "Unlock it, and try again.");
    await this.#onChain();
    return accounts[0];
  }

  /** Return when a permit that is signed now is to end: seconds since 1970, by the chain's clock. */
  async deadline() {
    const head = await this.#ask("eth_getBlockByNumber", ["latest", false]);
    return Number(head.timestamp) + PERMIT_LIFE_S;
  }

  /** Return whether the registry has the board, active. */
  async registered(kid) {
    const head = await this.#ask("eth_getBlockByNumber", ["latest", false]);
    const data = this.#calls.activeAt + word(kid) + word(BigInt(head.timestamp));
    return BigInt(await this.#ask("eth_call", [{ to: this.#terms.registry, data }, "latest"])) === 1n;
  }

  /**
   * Submit a permit and wait for its block.
   * @returns {Promise<string>} the transaction's hash
   * @throws {Trouble} the user or the registry said no
   */
  async register(from, permit) {
    await this.#onChain();
    const call = { from, to: this.#terms.registry, data: registration(this.#calls.register, permit) };
    await this.#ask("eth_call", [call, "latest"]); // a refusal costs nothing here
    const transaction = await this.#ask("eth_sendTransaction", [call]);
    const deadline = Date.now() + MINED_MS;
    for (;;) {
      const receipt = await this.#ask("eth_getTransactionReceipt", [transaction]);
      if (receipt?.status === "0x1") return transaction;
      if (receipt)
        throw new Trouble(
          `The registry refused transaction ${transaction}.`,
          "Somebody else may have been faster: enrol again.",
        );
      if (Date.now() > deadline) {
        throw new Trouble(
          "The transaction is not in a block yet.",
          "Look at it in your wallet; enrol again when it is through.",
        );
      }
      await new Promise((resolve) => {
        setTimeout(resolve, POLL_MS);
      });
    }
  }

  async #onChain() {
    const wanted = hex(this.#terms.chain_id);
    if (BigInt(await this.#ask("eth_chainId")) === BigInt(wanted)) return;
    await this.#provider
      .request({ method: "wallet_switchEthereumChain", params: [{ chainId: wanted }] })
      .catch(() => {});
    if (BigInt(await this.#ask("eth_chainId")) === BigInt(wanted)) return;
    throw new Trouble(
      `Your wallet is on another chain; this gateway is on chain ${this.#terms.chain_id}.`,
      "Choose that chain in your wallet, and try again.",
    );
  }

  async #ask(method, params = []) {
    try {
      return await this.#provider.request({ method, params });
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #explain(error) {
    const data = revertData(error);
    const name = data && this.#calls.errors[data.slice(0, 10)];
    if (name)
      return new Trouble(
        ...(REFUSALS[name] ?? [`The registry refuses: ${name}.`, "Check the join file, and enrol again."]),
      );
    if (error?.code === REFUSED)
      return new Trouble(
        "You said no in the wallet.",
        "Try again when you want to, or let someone else register the board.",
      );
    if (error?.code === UNKNOWN_CHAIN)
      return new Trouble("The wallet does not know this chain.", "Add it to the wallet, and try again.");
    return new Trouble(
      `The wallet says: ${String(error?.message ?? error).slice(0, 200)}`,
      "Look into your wallet, and try again.",
    );
  }
}

/* Wallets put the revert's bytes in different places: EIP-1474's data, or an error inside. */
function revertData(error) {
  for (let at = error, depth = 0; at && depth < 5; at = at.data ?? at.cause, depth += 1) {
    if (typeof at === "string") return /^0x[0-9a-f]{8,}$/i.test(at) ? at.toLowerCase() : null;
    if (typeof at.originalError?.data === "string") return at.originalError.data.toLowerCase();
  }
  return null;
}
