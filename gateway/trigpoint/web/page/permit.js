/* The enrolment permit (docs/protocol.md section 8): its bytes, its check, and the call that submits it.

   Every field of the registry's struct is of fixed size, so its ABI encoding is seven words one after the other: a
   library for that would be larger than this page. */

import { Trouble } from "./trouble.js";

const TAG = "trig/1/permit";
const HEX = /^[0-9a-f]*$/;

const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function fromHex(text) {
  if (text.length % 2 || !HEX.test(text)) throw new RangeError("not hexadecimal");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Return one ABI word, 64 hexadecimal digits, of a number or of hexadecimal digits. */
export function word(value) {
  const digits = typeof value === "string" ? value.replace(/^0x/, "").toLowerCase() : BigInt(value).toString(16);
  if (digits.length > 64 || !HEX.test(digits)) throw new RangeError("does not fit a word");
  return digits.padStart(64, "0");
}

/** Return the board id, 64 hexadecimal digits, of a public key: its COSE Key Thumbprint (RFC 9679). */
export async function kidOf(x, y) {
  const key = fromHex(`a401022001215820${word(x)}225820${word(y)}`);
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", key)));
}

function message({ chainId, registry, owner, metadataHash, deadline }, x, y) {
  const tag = toHex(new TextEncoder().encode(TAG)).padEnd(64, "0");
  return fromHex(tag + [chainId, registry, owner, x, y, metadataHash, deadline].map(word).join(""));
}

/**
 * Check what a board gave and return its permit, as `trigpoint board enroll --print-permit` prints it.
 * @throws {Trouble} it did not sign these terms
 */
export async function checked(answer, terms) {
  const refused = new Trouble(
    "The board's signature does not fit its permit.",
    "Install Trigpoint on it again: its version may be another one.",
  );
  const fields = ["kid", "x", "y", "r", "s"];
  if (!fields.every((name) => typeof answer?.[name] === "string" && /^[0-9a-f]{64}$/.test(answer[name]))) throw refused;
  const { kid, x, y, r, s } = answer;
  let key;
  try {
    key = await crypto.subtle.importKey("raw", fromHex(`04${x}${y}`), { name: "ECDSA", namedCurve: "P-256" }, false, [
      "verify",
    ]);
  } catch {
    throw refused; // no point of the curve
  }
  const signed = await crypto.subtle.verify(
    { name: "ECDSA", hash: "SHA-256" },
    key,
    fromHex(r + s),
    message(terms, x, y),
  );
  if (!signed || kid !== (await kidOf(x, y))) throw refused;
  return {
    chain_id: terms.chainId,
    registry: terms.registry.toLowerCase(),
    kid,
    owner: terms.owner.toLowerCase(),
    x,
    y,
    metadata_hash: terms.metadataHash,
    deadline: terms.deadline,
    r,
    s,
  };
}

/** Return the data of the transaction that registers a permit; `selector` is of DeviceRegistry.register. */
export function registration(selector, permit) {
  const { owner, x, y, metadata_hash: metadataHash, deadline, r, s } = permit;
  return selector + [owner, x, y, metadataHash, deadline, r, s].map(word).join("");
}
