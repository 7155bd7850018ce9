/* What went wrong, and what a person can do about it. Every error that is shown is one of these. */

export class Trouble extends Error {
  /**
   * @param {string} message what went wrong, one sentence
   * @param {string} remedy what to do next, one sentence
   */
  constructor(message, remedy) {
    super(message);
    this.remedy = remedy;
  }
}

/** Return `error` as a Trouble; what nobody foresaw keeps its own words. */
export function asTrouble(error) {
  if (error instanceof Trouble) return error;
  return new Trouble(
    String(error?.message || error).slice(0, 300),
    "Unplug the board, plug it in again and try once more. If it stays, tell the project what it said.",
  );
}
