/* The page: which step is open, what its buttons do. The work is in the modules that it imports. */

import { Board, fromBase64 } from "./board.js";
import * as choices from "./choices.js";
import { Enrolment, settings } from "./enrolment.js";
import { Gateway } from "./gateway.js";
import * as installation from "./install.js";
import * as joinfile from "./joinfile.js";
import { Port } from "./port.js";
import { Provisioning } from "./provision.js";
import { asTrouble, Trouble } from "./trouble.js";
import { byId, facts, make, only, openStep, progress, say, short, show, Tasks, trouble } from "./view.js";
import { Wallet } from "./wallet.js";

const OTHER = "\u0000other";
/* What this page knows while it is open; nothing of it is stored. */
const page = {
  site: null,
  application: null,
  port: null,
  found: null,
  provisioning: null,
  wifi: null,
  join: null,
  gateway: null,
};

/** Run what a button is for; a failure is shown with its remedy, and may be tried again. */
async function attempt(work, again = () => attempt(work)) {
  if (document.body.hasAttribute("data-busy")) return; // pressed twice
  show("trouble", false);
  document.body.toggleAttribute("data-busy", true);
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Trouble)) console.error(error);
    trouble(asTrouble(error), again);
  } finally {
    document.body.toggleAttribute("data-busy", false);
  }
}

// ---- Step 1

const IN_CONNECT = ["connect-ask", "found", "installing"];

async function connect() {
  await page.port?.close();
  page.port = await Port.choose();
  await seeWhatIsThere();
}

async function seeWhatIsThere() {
  only(IN_CONNECT, "installing");
  progress("Asks the board what it is", null);
  try {
    page.found = await installation.look(page.port, page.site, page.application);
  } catch (error) {
    only(IN_CONNECT, "connect-ask");
    throw error;
  }
  const { kind, status } = page.found;
  byId("found-what").textContent = {
    nothing: "No MicroPython answers: a new board, or one with something else on it.",
    old: "This board has a MicroPython that is too old.",
    micropython: "This board has MicroPython, and no Trigpoint yet.",
    other: "This board has another version of Trigpoint. Installing keeps its key and what it has measured.",
    current: "This board has Trigpoint already.",
  }[kind];
  const pairs = status
    ? [
        ["Board", status.machine],
        ["MicroPython", status.micropython],
      ]
    : [];
  if (status?.board) pairs.push(["Board id", status.board]);
  facts("found-facts", pairs);
  show("found-facts", pairs.length > 0);
  byId("erase").checked = false;
  show("erase-row", kind === "nothing" || kind === "old");
  show("install", kind !== "current");
  show("go-on", kind === "current");
  show("reinstall", kind === "current");
  only(IN_CONNECT, "found");
}

async function install(firmware) {
  const erase = byId("erase").checked;
  only(IN_CONNECT, "installing");
  try {
    if (firmware) await installation.writeFirmware(page.port, "manifest.json", erase, progress);
    const status = await installation.writeApplication(page.port, page.site, page.application, progress);
    page.found = { kind: "current", status };
  } catch (error) {
    only(IN_CONNECT, "found");
    throw error;
  }
  await provision();
}

// ---- Step 2

async function provision() {
  const { status } = page.found;
  byId("connect-result").textContent = status.machine.split(" with ").at(-1);
  openStep("wifi");
  show("wifi-form", false);
  byId("wifi-what").textContent = "Starts the board and asks it which networks it sees";
  await page.port.restart();
  page.provisioning = await Provisioning.begin(page.port.raw);
  const known = status.wifi?.[0];
  show("keep", Boolean(known));
  byId("keep").textContent = `Keep ${known}`;
  if (page.provisioning) {
    showNetworks([]);
    page.provisioning.scan((networks) => showNetworks(networks ?? []));
    byId("wifi-what").textContent = "The board is to join your Wi-Fi.";
  } else {
    showNetworks([]);
    byId("wifi-what").textContent =
      "The board does not tell which networks it sees. Name yours: it is tried when you enrol.";
  }
  show("wifi-form");
}

function showNetworks(networks) {
  const select = byId("network");
  const chosen = select.value;
  const options = [...networks]
    .sort((one, other) => other.rssi - one.rssi)
    .map(({ name, rssi, secured }) => new Option(`${name}${secured ? "" : ", open"} (${rssi} dBm)`, name));
  select.replaceChildren(...options, new Option(networks.length ? "Another network" : "Name it", OTHER));
  select.value = options.some((option) => option.value === chosen) ? chosen : (options[0]?.value ?? OTHER);
  chooseNetwork();
}

function chooseNetwork() {
  show("other-row", byId("network").value === OTHER);
}

async function join() {
  const name = byId("network").value === OTHER ? byId("other").value : byId("network").value;
  const password = byId("wifi-password").value;
  if (!name) throw new Trouble("The network has no name yet.", "Choose one, or type its name.");
  if (password.length > 0 && password.length < 8)
    throw new Trouble(
      "The password is too short.",
      "A Wi-Fi password has 8 to 64 characters; leave it empty for an open network.",
    );
  if (page.provisioning) {
    show("wifi-form", false);
    byId("wifi-what").textContent = `The board joins ${name}`;
    try {
      await page.provisioning.join(name, password);
    } catch (error) {
      byId("wifi-what").textContent = "The board is to join your Wi-Fi.";
      show("wifi-form");
      page.provisioning.scan((networks) => showNetworks(networks ?? []));
      throw error;
    }
  }
  byId("wifi-password").value = "";
  page.wifi = [{ ssid: name, password }];
  await toGateway(name);
}

async function keepWifi() {
  page.wifi = null;
  await toGateway(page.found.status.wifi[0]);
}

async function toGateway(network) {
  await page.provisioning?.end();
  page.provisioning = null;
  byId("wifi-result").textContent = network;
  if (page.join) showChoices();
  openStep("enrol");
}

// ---- Step 3

async function takeJoinFile(text) {
  page.join = joinfile.parse(text);
  const { api } = page.join;
  if (api.token) page.gateway = new Gateway(api.url || page.site.gateway, api.token);
  showChoices();
}

function showChoices() {
  choices.show(page.join, page.site.sensors[page.found.status.chip] ?? {});
  only(["gateway-form", "enrol-form"], "enrol-form");
}

async function fetchJoinFile() {
  const gateway = new Gateway(page.site.gateway, byId("token").value.trim());
  page.gateway = gateway;
  await takeJoinFile(await gateway.joinFile());
  byId("token").value = "";
}

const STEPS = [
  ["CONFIGURE", "Write the settings"],
  ["KEY", "Make the key, on the board"],
  ["PASSWORD", "Give it its password for the broker"],
  ["CHECK", "Try sensors, Wi-Fi and broker"],
  ["PERMIT", "Have the board sign its permit"],
  ["REGISTER", "Register it on the chain"],
  ["START", "Wait for its first verified statement"],
];

async function enrol() {
  const chosen = choices.answers(page.site.sensors[page.found.status.chip]);
  const { join: told } = page;
  const wallet = chosen.wallet ? new Wallet(window.ethereum, told.chain, page.site.registry) : null;
  const left = STEPS.filter(
    ([name]) => (name !== "PASSWORD" || told.broker_passwords) && (name !== "REGISTER" || wallet),
  );
  only(["gateway-form", "enrol-form", "password-form", "tasks"], "tasks");
  const tasks = new Tasks(left);
  let running = null;
  try {
    const board = new Board(await page.port.prompt(), page.site.scripts);
    const present = await board.configuration();
    const wifi = page.wifi ?? present?.wifi ?? [];
    const enrolment = new Enrolment({
      port: page.port,
      board,
      join: told,
      authority: fromBase64(told.authority),
      config: (password) => settings(told, present, { ...chosen, wifi, password }),
      wallet,
      owner: chosen.owner,
      gateway: page.gateway,
      askPassword,
      handOut,
      report(step, note = "") {
        if (running && running !== step) tasks.set(running, "done");
        running = step;
        tasks.set(step, "running", note);
      },
    });
    const result = await enrolment.run();
    if (result.registered || result.statement) {
      tasks.set("START", "done");
      finish(result);
    } else {
      tasks.set(
        "START",
        "waiting",
        "The board runs. With a token of the gateway this page would see its statements come.",
      );
    }
  } catch (error) {
    tasks.fail();
    show("enrol-form");
    throw error;
  }
}

/** Ask for the board's password at the broker, which its operator makes now that its id is known. */
function askPassword(kid) {
  byId("add-board").textContent = `trigpoint gateway broker add-board DIR ${kid}`;
  show("password-form");
  return new Promise((resolve) => {
    byId("password-form").onsubmit = (event) => {
      event.preventDefault();
      const password = byId("broker-password").value;
      if (!password) return;
      byId("broker-password").value = "";
      show("password-form", false);
      resolve(password);
    };
  });
}

function finish({ kid, transaction, statement }) {
  byId("enrol-result").textContent = short(kid);
  show("permit-box", false);
  openStep("none");
  byId("done-title").textContent = statement
    ? "It measures, and the gateway has verified it"
    : "Your board is registered and runs";
  byId("done-what").textContent = statement
    ? `Statement ${statement.seq} of this board is signed, verified and stored.`
    : "Without a token this page cannot see its statements come; the gateway's operator can.";
  const newest = new Map((statement?.readings ?? []).map((reading) => [reading.name, reading]));
  byId("readings").replaceChildren(
    ...[...newest.values()].map(({ name, value, unit }) => {
      const card = make("div");
      const shown = make("dd", value);
      shown.append(make("small", unit === "Cel" ? "°C" : unit));
      card.append(make("dt", name), shown);
      return card;
    }),
  );
  facts("done-facts", [["Board id", kid], ...(transaction ? [["Transaction", transaction]] : [])]);
  show("done");
  byId("done-title").focus();
}

/** Show a permit for someone else to submit. */
function handOut(permit) {
  const text = JSON.stringify(permit, null, 1);
  byId("permit").value = text;
  byId("copy").onclick = () => navigator.clipboard.writeText(text);
  URL.revokeObjectURL(byId("save").href);
  byId("save").href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  show("permit-box");
}

async function another() {
  await page.port?.close();
  Object.assign(page, { port: null, found: null, provisioning: null, wifi: null });
  for (const id of ["connect-result", "wifi-result", "enrol-result"]) byId(id).textContent = "";
  show("done", false);
  show("permit-box", false);
  show("tasks", false);
  only(["gateway-form", "enrol-form", "password-form"], "gateway-form");
  only(IN_CONNECT, "connect-ask");
  openStep("connect");
}

// ---- Beginning

function unable(what, remedy) {
  const box = byId("unable");
  say(box.querySelector(".what"), what);
  say(box.querySelector(".remedy"), remedy);
  box.hidden = false;
  byId("connect-button").disabled = true;
}

async function fetched(name) {
  const response = await fetch(name, { cache: "no-cache" });
  if (!response.ok)
    throw new Trouble(`This site lacks ${name}.`, "Its operator makes it anew with `trigpoint board site`.");
  return response.json();
}

function begin() {
  byId("connect-button").onclick = () => attempt(connect);
  byId("install").onclick = () =>
    attempt(
      () => install(["nothing", "old"].includes(page.found.kind)),
      () => attempt(seeWhatIsThere),
    );
  byId("reinstall").onclick = () =>
    attempt(
      () => install(true),
      () => attempt(seeWhatIsThere),
    );
  byId("go-on").onclick = () => attempt(provision);
  byId("network").onchange = chooseNetwork;
  byId("keep").onclick = () => attempt(keepWifi);
  for (const button of document.querySelectorAll(".another")) button.onclick = () => attempt(another);
  byId("anew").onclick = () =>
    attempt(async () => {
      await another();
      await connect();
    });
  for (const radio of document.querySelectorAll("input[name=owner]")) radio.onchange = choices.chooseOwner;
  const submits = { "wifi-form": join, "gateway-form": fetchJoinFile, "enrol-form": enrol };
  for (const [id, work] of Object.entries(submits)) {
    byId(id).onsubmit = (event) => {
      event.preventDefault();
      attempt(work);
    };
  }
  const read = async (file) => {
    if (file.size > joinfile.MOST_BYTES)
      throw new Trouble("This is no join file: it is too large.", "Choose the file that the operator gave you.");
    await takeJoinFile(await file.text());
  };
  byId("join-file").onchange = (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) attempt(() => read(file));
  };
  const drop = byId("drop");
  drop.ondragover = (event) => {
    event.preventDefault();
    drop.toggleAttribute("data-over", true);
  };
  drop.ondragleave = () => drop.toggleAttribute("data-over", false);
  drop.ondrop = (event) => {
    event.preventDefault();
    drop.toggleAttribute("data-over", false);
    const [file] = event.dataTransfer.files;
    if (file) attempt(() => read(file));
  };
  if (!window.isSecureContext) {
    unable(
      "This page came over plain HTTP, where browsers allow no serial ports.",
      "Open it by https://, or on the gateway itself by http://localhost.",
    );
  } else if (!("serial" in navigator)) {
    unable(
      "This browser cannot talk to serial ports.",
      "Take Chrome, Edge or another Chromium on a computer; on the command line, `trigpoint board flash` does the same.",
    );
  }
  attempt(async () => {
    [page.site, page.application] = await Promise.all([fetched("site.json"), fetched("application.json")]);
    byId("version").textContent = `Trigpoint ${page.site.version}`;
  });
}

begin();
