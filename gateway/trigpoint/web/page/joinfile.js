/* What a board must be told to join a gateway: the file that `trigpoint gateway join-file` makes. It comes from outside,
   so it is bounded and checked field by field. The board checks its settings once more, and it is the one that decides. */

import { Trouble } from "./trouble.js";

export const MOST_BYTES = 16_384;
const FORMAT = "trigpoint-join/1";
const MOST_SENSORS = 16;

/**
 * @param {string} text
 * @returns {{name: string, chain: {chain_id: number, registry: string}, board: object, authority: string,
 *   broker_passwords: boolean, sensors: string[], api: {url: string, token: string}}}
 * @throws {Trouble} it is no join file; it names the field
 */
export function parse(text) {
  if (text.length > MOST_BYTES) throw wrong("it is larger than any join file");
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw wrong("it is not JSON");
  }
  need(isObject(data) && data.format === FORMAT, "format");
  need(typeof data.name === "string" && data.name.length <= 64, "name");
  need(isObject(data.chain), "chain");
  need(Number.isSafeInteger(data.chain.chain_id) && data.chain.chain_id > 0, "chain.chain_id");
  need(/^0x[0-9a-fA-F]{40}$/.test(data.chain.registry), "chain.registry");
  need(isObject(data.board), "board");
  need(isObject(data.board.broker) && typeof data.board.broker.host === "string", "board.broker.host");
  need(Number.isSafeInteger(data.board.broker.port), "board.broker.port");
  need(/^[0-9a-f]{128}$/.test(data.board.link_key), "board.link_key");
  need(
    typeof data.authority === "string" &&
      /^[A-Za-z0-9+/]*={0,2}$/.test(data.authority) &&
      data.authority.length % 4 === 0,
    "authority",
  );
  need(typeof data.broker_passwords === "boolean", "broker_passwords");
  need(
    Array.isArray(data.sensors) &&
      data.sensors.length <= MOST_SENSORS &&
      data.sensors.every((kind) => typeof kind === "string"),
    "sensors",
  );
  need(isObject(data.api), "api");
  need(data.api.url === "" || /^https?:\/\/[^\s/?#]+$/.test(data.api.url), "api.url");
  need(data.api.token === "" || /^trig_[A-Za-z0-9_-]{43}$/.test(data.api.token), "api.token");
  return data;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function need(good, field) {
  if (!good) throw wrong(`its field ${field} is not right`);
}

function wrong(why) {
  return new Trouble(
    `This is no join file: ${why}.`,
    "Ask the gateway's operator for one: `trigpoint gateway join-file` makes it.",
  );
}
