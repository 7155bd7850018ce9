"use strict";

/* Fills the page from the API. What comes from there is shown as text, never as markup. */

const EVERY_MS = 5000;
const GROUPED = new Intl.NumberFormat("en");
const byId = (id) => document.getElementById(id);
const show = (id, text) => { byId(id).textContent = text; };
const short = (hash) => hash.length > 24 ? `${hash.slice(0, 12)}…${hash.slice(-6)}` : hash;
let token = sessionStorage.getItem("token") || "";

function make(name, text, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

async function ask(path) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, cache: "no-cache" });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.detail), { status: response.status, type: answer.type });
  return answer;
}

function ago(ms) {
  const seconds = Math.max(0, Math.round((Date.now() - ms) / 1000));
  const units = [[86400 * 365, "year"], [86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  for (const [length, unit] of units) {
    const count = Math.floor(seconds / length);
    if (count) return `${count} ${unit}${count > 1 ? "s" : ""} ago`;
  }
  return "now";
}

function showLog(log) {
  const anchored = log.anchor ? Math.min(log.anchor.size, log.statements) : 0;
  show("statements", GROUPED.format(log.statements));
  const waiting = log.statements - log.size;
  show("statements-note", waiting ? `${GROUPED.format(waiting)} of them join the log within a minute` : "all of them in the log");
  show("size", GROUPED.format(log.size));
  show("root", short(log.root));
  byId("root").title = log.root;
  show("log-id", log.log_id || "none yet: the gateway has not run");
  show("anchor", log.anchor ? GROUPED.format(anchored) : "none yet");
  show("anchor-note", log.anchor
    ? `leaves final on chain ${log.anchor.chain_id}, in block ${GROUPED.format(log.anchor.block)}`
    : "receipts are signed by the log alone until the first");
  show("transaction", log.anchor ? log.anchor.transaction : "–");
  const part = (count) => `${log.statements ? (100 * count) / log.statements : 0}%`;
  byId("bar-anchored").style.flexBasis = part(anchored);
  byId("bar-logged").style.flexBasis = part(Math.max(0, log.size - anchored));
  show("bar-note", log.statements
    ? `${part(anchored).replace(/(\.\d).*%/, "$1%")} of all statements are under a final anchor`
    : "nothing has been stored yet");
}

function boardRow(board) {
  const row = make("tr");
  const name = make("td");
  name.append(make("code", short(board.board)));
  name.title = board.board;
  const [word, look] = board.flagged ? ["cloned key", "bad"] : board.active ? ["active", "good"] : ["revoked", "soft"];
  const state = make("td");
  state.append(make("span", word, `tag ${look}`));
  const newest = make("td", board.newest ? ago(board.newest.arrival_ms) : "never", board.newest ? "" : "soft");
  row.append(name, state, make("td", GROUPED.format(board.statements), "number"),
    make("td", GROUPED.format(board.lost), board.lost ? "number bad" : "number soft"), newest);
  return row;
}

async function showBoards() {
  try {
    const page = await ask("v1/boards?limit=200");
    byId("rows").replaceChildren(...page.boards.map(boardRow));
    byId("boards").hidden = !page.boards.length;
    byId("ask").hidden = true;
    show("boards-note", page.next ? "the first 200; the API has them all" : page.boards.length ? "" : "the registry knows none yet");
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) throw error;
    byId("boards").hidden = true;
    byId("ask").hidden = false;
    if (token) show("ask-note", error.message);
  }
}

function parameterRow(parameter) {
  const row = make("div");
  const name = make("dt");
  name.append(make("code", parameter.name));
  row.append(name, make("dd", [parameter.required ? "needed." : "", parameter.description || ""].join(" ").trim()));
  return row;
}

function operation(path, described) {
  const item = make("details");
  const head = make("summary");
  head.append(make("code", path), make("span", described.description.split("\n")[0]));
  const list = make("dl");
  list.append(...(described.parameters || []).filter((one) => one.in !== "header").map(parameterRow));
  const rest = described.description.split("\n\n").slice(1).join("\n\n").replace(/([^\n])\n([^\n])/g, "$1 $2");
  item.append(head, ...(rest ? [make("p", rest)] : []), list);
  return item;
}

async function showOperations() {
  const described = await ask("openapi.json");
  const parts = described.tags.map((tag) => {
    const title = make("p", tag.name, "group");
    title.append(make("small", tag.description));
    const own = Object.entries(described.paths).filter(([, path]) => path.get && path.get.tags[0] === tag.name);
    return [title, ...own.map(([path, methods]) => operation(path, methods.get))];
  });
  byId("operations").replaceChildren(...parts.flat());
  document.title = described.info.title;
}

async function refresh() {
  try {
    showLog(await ask("v1/log"));
    await showBoards();
    show("state", `as of ${new Date().toLocaleTimeString()}`);
  } catch (error) {
    if (error.type === "urn:trigpoint:problem:unknown-token") {
      token = "";
      sessionStorage.removeItem("token");
      show("ask-note", error.message);
    }
    show("state", `the gateway does not answer as it should: ${error.message}`);
  }
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  sessionStorage.setItem("token", token);
  refresh();
});
showOperations().catch((error) => show("state", error.message));
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
