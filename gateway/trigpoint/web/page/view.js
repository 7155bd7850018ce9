/* The page's elements. What comes from board, gateway or wallet is shown as text, never as markup. */

export const byId = (id) => document.getElementById(id);

export function show(id, visible = true) {
  byId(id).hidden = !visible;
}

/** Show one of several elements that stand for each other, or none. */
export function only(ids, id) {
  for (const one of ids) show(one, one === id);
}

export function make(name, text, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

/** Open a step, close those before it, and let those after it wait. */
export function openStep(id) {
  let state = "done";
  for (const step of document.querySelectorAll(".step")) {
    step.removeAttribute("aria-current");
    if (step.id === id) {
      step.dataset.state = "open";
      step.setAttribute("aria-current", "step");
      step.querySelector("h2").focus();
      state = "waiting";
    } else {
      step.dataset.state = state;
    }
  }
}

export function facts(id, pairs) {
  byId(id).replaceChildren(
    ...pairs.map(([term, text]) => {
      const row = make("div");
      const value = make("dd");
      value.append(make("code", text));
      row.append(make("dt", term), value);
      return row;
    }),
  );
}

/** Show text in which `commands` stand between backquotes. */
export function say(element, text) {
  element.replaceChildren(...text.split("`").map((part, at) => (at % 2 ? make("code", part) : part)));
}

/** Show how much is done, 0 to 1; null while nobody knows. */
export function progress(what, part) {
  byId("installing-what").textContent = what;
  const bar = byId("installing-part");
  if (part === null) bar.removeAttribute("value");
  else bar.value = part;
}

export function trouble(error, again) {
  const box = byId("trouble");
  const step = document.querySelector('.step[data-state="open"]');
  step?.querySelector(".body").append(box);
  show("anew", byId("connect-ask").hidden);
  say(box.querySelector(".what"), error.message);
  say(box.querySelector(".remedy"), error.remedy);
  box.hidden = false;
  byId("again").onclick = () => {
    box.hidden = true;
    again();
  };
  box.scrollIntoView({ block: "nearest" });
}

/** A list of what is to be done, each with its state: waiting, running, done or failed. */
export class Tasks {
  /** @param {[string, string][]} tasks name and words */
  constructor(tasks) {
    this.rows = new Map(
      tasks.map(([name, words]) => {
        const row = make("li");
        const note = make("span", "", "note");
        row.dataset.state = "waiting";
        row.append(make("span", words, "words"), note);
        return [name, { row, note }];
      }),
    );
    byId("tasks").replaceChildren(...Array.from(this.rows.values(), ({ row }) => row));
    show("tasks");
  }

  set(name, state, note = "") {
    const { row, note: words } = this.rows.get(name);
    row.dataset.state = state;
    words.textContent = note;
    if (state === "running") byId("now").textContent = `${row.firstChild.textContent}. ${note}`;
  }

  fail() {
    for (const { row } of this.rows.values()) if (row.dataset.state === "running") row.dataset.state = "failed";
  }
}

export function short(hexadecimal) {
  return hexadecimal.length > 20 ? `${hexadecimal.slice(0, 10)}…${hexadecimal.slice(-6)}` : hexadecimal;
}
