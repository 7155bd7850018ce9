/* The form of step 3: which sensors the board has, how often it measures, who owns it. */

import { Trouble } from "./trouble.js";
import { byId, facts, make, short, show as visible } from "./view.js";

const SENSORS = {
  bme280: "BME280: temperature, humidity, pressure",
  sht4x: "SHT4x: temperature, humidity",
  scd4x: "SCD4x: carbon dioxide",
  pms5003: "PMS5003: particles",
  ds18b20: "DS18B20: temperature on a wire",
};

/**
 * Show what a join file says, and what is left to choose.
 * @param {object} join as `joinfile.parse` gives it
 * @param {Record<string, object>} places the sensors that have a usual place on this chip, with their pins
 */
export function show({ name, chain, board, sensors }, places) {
  facts("gateway-facts", [
    ["Gateway", name],
    ["Broker", `${board.broker.host}:${board.broker.port}${board.broker.tls ? ", TLS" : ""}`],
    ["Chain", `${chain.chain_id}, registry ${short(chain.registry)}`],
    ...(board.owner_key ? [["It will obey", `whoever has the key ${short(String(board.owner_key))}`]] : []),
  ]);
  byId("sensors").replaceChildren(
    byId("sensors").firstElementChild,
    ...Object.keys(places).map((kind) => {
      const label = make("label", undefined, "check");
      const box = make("input");
      box.type = "checkbox";
      box.value = kind;
      box.checked = sensors.includes(kind);
      const pins = Object.entries(places[kind]).filter(([key]) => key !== "type");
      const words = make("span", SENSORS[kind] ?? kind);
      words.append(
        make(
          "small",
          pins.map(([key, pin]) => `${key === "pin" ? "data" : key.toUpperCase()} on pin ${pin}`).join(", "),
        ),
      );
      label.append(box, words);
      return label;
    }),
  );
  const sample = board.sample_s;
  if (sample) {
    if (![...byId("sample").options].some((option) => Number(option.value) === sample))
      byId("sample").append(new Option(`${sample} seconds`, sample));
    byId("sample").value = String(sample);
  }
  const wallet = Boolean(window.ethereum);
  byId("by-wallet").disabled = !wallet;
  byId(wallet ? "by-wallet" : "by-address").checked = true;
  byId("by-wallet").nextElementSibling.title = wallet ? "" : "There is no wallet in this browser";
  chooseOwner();
}

/** Ask for an address where no wallet gives it. */
export function chooseOwner() {
  visible("address-row", byId("by-address").checked);
}

/**
 * Return what was chosen: {sensors, sample, wallet, owner}.
 * @throws {Trouble} something is missing
 */
export function answers(places) {
  const kinds = [...byId("sensors").querySelectorAll("input:checked")].map((box) => box.value);
  if (!kinds.length) throw new Trouble("No sensor is chosen.", "Choose what is wired to the board.");
  const wallet = byId("by-wallet").checked;
  const owner = byId("address").value.trim();
  if (!wallet && !/^0x[0-9a-fA-F]{40}$/.test(owner))
    throw new Trouble("The owner's address is not right.", "It is 0x and 40 hexadecimal digits.");
  return { sensors: kinds.map((kind) => places[kind]), sample: Number(byId("sample").value), wallet, owner };
}
