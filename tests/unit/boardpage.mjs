// Runs modules of the board page in Node: one JSON object a line from stdin, {what, ...}, one answer a line.
import { createInterface } from "node:readline";

const page = process.argv[2];
const { plan } = await import(`${page}/board.js`);
const { next, settings } = await import(`${page}/enrolment.js`);
const { parse } = await import(`${page}/joinfile.js`);
const { checked, kidOf, registration } = await import(`${page}/permit.js`);
const { Prompt } = await import(`${page}/prompt.js`);
const { Trouble } = await import(`${page}/trouble.js`);

const does = {
  plan: ({ files, present, slot }) => plan(files, new Map(Object.entries(present)), slot),
  next: ({ seen }) => next(seen),
  settings: ({ join, present, chosen }) => settings(join, present, chosen),
  parse: ({ text }) => parse(text),
  checked: ({ answer, terms }) => checked(answer, terms),
  kid: ({ x, y }) => kidOf(x, y),
  registration: ({ selector, permit }) => registration(selector, permit),
  /** What the page makes of a port that sends these pieces to whoever asks. */
  async prompt({ pieces, code }) {
    if (!pieces.length) return null;
    let give;
    const readable = new ReadableStream({
      start: (controller) => { give = controller; },
      cancel: () => { cancelled = true; },
    });
    let turn = 0;
    let cancelled = false;
    let timer;
    const close = () => { if (!cancelled) give.close(); };
    const writable = new WritableStream({
      write() {
        if (turn < pieces.length) give.enqueue(Uint8Array.from(atob(pieces[turn]), (one) => one.charCodeAt(0)));
        turn += 1;
        clearTimeout(timer);
        timer = setTimeout(close, 600); // longer than the pause between two keys: nothing more will come
      },
    });
    const prompt = new Prompt({ readable, writable });
    try {
      await prompt.enter(1);
      return await prompt.run(code);
    } finally {
      await prompt.release();
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { what, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await does[what](given)) ?? null };
  } catch (error) {
    answer = { trouble: error instanceof Trouble, name: error.constructor.name, message: error.message, remedy: error.remedy ?? null };
  }
  console.log(JSON.stringify(answer));
}
