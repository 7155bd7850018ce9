/* Step 3: from a board that is flashed to the first statement that its gateway has verified. As in
   `trigpoint board enroll`, what is done is read from the board, the chain and the gateway, never from this page's
   memory; so the next step is a function of what was seen, and a run that was cut short is finished by the next one:

     CONFIGURE -> KEY -> (PASSWORD) -> CHECK -> PERMIT -> (REGISTER) -> START

   Without a wallet the permit is handed out after PERMIT, and START waits for somebody else's registration. */

import { checked } from "./permit.js";
import { Trouble } from "./trouble.js";

const FIRST_MS = 900_000;
const PERMIT_LIFE_S = 7 * 86_400;
const KNOWN_MS = 15_000;

/**
 * Return what is to be done next.
 * @param {{configured: boolean, kid: string | null, password: boolean, checked: boolean, registered: boolean,
 *   permit: object | null, submit: boolean}} seen `password`: whether the broker has got what it wants
 */
export function next(seen) {
  if (!seen.configured) return "CONFIGURE";
  if (seen.kid === null) return "KEY";
  if (!seen.password) return "PASSWORD";
  if (!seen.checked) return "CHECK";
  if (seen.registered) return "START";
  if (seen.permit === null) return "PERMIT";
  return seen.submit ? "REGISTER" : "START";
}

/**
 * Put a board's configuration together.
 * @param {object} join as `joinfile.parse` gives it
 * @param {object | null} present what the board has; of it, the secure element stays, on which its key depends, and the
 *   password at the broker if that is the same one: another gateway's is not to learn it
 * @param {{wifi: {ssid: string, password: string}[], sensors: object[], sample: number, password: string}} chosen
 */
export function settings(join, present, chosen) {
  const config = { ...join.board, wifi: chosen.wifi, sensors: chosen.sensors };
  config.sample_s = chosen.sample;
  const password = chosen.password || (sameBroker(join.board, present) ? present.broker.password : "");
  if (password) config.broker = { ...config.broker, password };
  if (present?.secure_element) config.secure_element = present.secure_element;
  return config;
}

function sameBroker(told, present) {
  const [one, other] = [told.broker, present?.broker ?? {}];
  return (
    ["host", "port", "tls"].every((field) => one[field] === other[field]) && told.link_key === present.link_key
  );
}

export class Enrolment {
  /**
   * @param {object} parts
   * @param {import("./port.js").Port} parts.port
   * @param {import("./board.js").Board} parts.board at its prompt
   * @param {object} parts.join
   * @param {Uint8Array} parts.authority
   * @param {(password: string) => object} parts.config the board's configuration
   * @param {import("./wallet.js").Wallet | null} parts.wallet null where someone else registers the board
   * @param {string} parts.owner address, where there is no wallet
   * @param {import("./gateway.js").Gateway | null} parts.gateway null without a token
   * @param {(kid: string) => Promise<string>} parts.askPassword asks for the board's password at the broker
   * @param {(permit: object) => void} parts.handOut called with a permit that someone else is to submit
   * @param {(step: string, note?: string) => void} parts.report called when a step begins, with its note when it goes on
   * @param {() => number} [parts.now] milliseconds since 1970
   */
  constructor(parts) {
    Object.assign(this, { now: Date.now, ...parts });
    this.from = null;
    this.transaction = null;
  }

  /** Do all that is left; return {kid, registered, transaction, statement}; statement null without a gateway. */
  async run() {
    if (this.wallet) this.from = await this.wallet.connect(); // before the board has had any work
    const seen = {
      configured: false,
      kid: null,
      password: !this.join.broker_passwords || Boolean(this.config("").broker.password),
      checked: false,
      registered: false,
      permit: null,
      submit: this.wallet !== null,
    };
    let step;
    while ((step = next(seen)) !== "START") {
      this.report(step);
      Object.assign(seen, await this[step](seen));
    }
    this.report("START");
    if (seen.permit && !seen.submit) this.handOut(seen.permit);
    // A statement that comes before the gateway knows the board is refused, and sent again only after a while.
    if (this.gateway && seen.registered) await this.gateway.known(seen.kid, KNOWN_MS);
    await this.port.restart();
    const statement = await this.gateway?.firstStatement(seen.kid, FIRST_MS, (said) => this.report("START", said));
    return { kid: seen.kid, registered: seen.registered, transaction: this.transaction, statement: statement ?? null };
  }

  async CONFIGURE() {
    await this.board.configure(this.config(""), this.authority);
    return { configured: true };
  }

  async KEY() {
    const { kid } = await this.board.publicKey();
    if (!/^[0-9a-f]{64}$/.test(kid ?? ""))
      throw new Trouble("The board gave no key.", "Install Trigpoint on it again.");
    const registered = await (this.wallet?.registered(kid) ?? this.gateway?.active(kid));
    return { kid, registered: Boolean(registered) };
  }

  async PASSWORD({ kid }) {
    const password = await this.askPassword(kid);
    await this.board.configure(this.config(password), this.authority);
    return { password: true };
  }

  async CHECK() {
    const parts = await this.board.sensors();
    if (parts.every((part) => part.error)) {
      const said = parts.map((part) => `${part.part}: ${part.error}`).join("; ");
      throw new Trouble(
        `No sensor answers (${said}).`,
        "Check the wires (docs/hardware.md has pictures), or choose other sensors.",
      );
    }
    const way = await this.board.way();
    if (way.wifi === null)
      throw new Trouble(
        `The board cannot join its Wi-Fi (${way.wifi_error}).`,
        "Go back to step 2 and check name and password.",
      );
    if (way.broker_error) {
      throw new Trouble(
        `The board is on ${way.wifi} and does not reach its broker (${way.broker_error}).`,
        "Ask the operator: the join file names the broker as boards must reach it.",
      );
    }
    return { checked: true };
  }

  async PERMIT({ kid }) {
    const { chain_id: chainId, registry } = this.join.chain;
    const deadline = this.wallet ? await this.wallet.deadline() : Math.floor(this.now() / 1000) + PERMIT_LIFE_S;
    const terms = { chainId, registry, owner: this.from ?? this.owner, metadataHash: "00".repeat(32), deadline };
    const permit = await checked(await this.board.permit(terms), terms);
    if (permit.kid !== kid)
      throw new Trouble("The board signed with another key than the one it showed.", "Do not trust this board.");
    return { permit };
  }

  async REGISTER({ permit }) {
    this.transaction = await this.wallet.register(this.from, permit);
    return { registered: true };
  }
}
