/* Step 1: what is at the end of the cable, and MicroPython with Trigpoint on it. */

import { flash } from "./vendor/esp-web-tools/flash.js";
import { Board, plan } from "./board.js";
import { Trouble } from "./trouble.js";

const FIRST_START_MS = 60_000; // it formats its flash

/* What is at the end of the cable:
     nothing      no MicroPython answers
     old          a MicroPython that is too old
     micropython  there is no Trigpoint on it
     other        Trigpoint, but not with this site's files
     current      Trigpoint as this site has it */

const newer = (version, least) => {
  const [one, other] = [version, least].map((text) => text.replace(/^v/, "").split(".").map(Number));
  return one[0] - other[0] || one[1] - other[1] || 0;
};

/**
 * Look what is there.
 * @returns {Promise<{kind: string, status: object | null}>}
 */
export async function look(port, site, application) {
  let board;
  try {
    board = new Board(await port.prompt(), site.scripts);
  } catch (error) {
    if (error instanceof Trouble) return { kind: "nothing", status: null };
    throw error;
  }
  const status = await board.status();
  if (newer(status.micropython, site.micropython) < 0) return { kind: "old", status };
  if (!status.slot) return { kind: "micropython", status };
  const todo = plan(application.files, await board.hashes(), status.slot);
  return { kind: todo.write.length || todo.remove.length ? "other" : "current", status };
}

/**
 * Write MicroPython with esp-web-tools' flasher.
 * @param {(what: string, part: number | null) => void} report
 * @throws {Trouble} the chip does not answer, there is nothing for it, or the cable was cut
 */
export async function writeFirmware(port, manifestPath, erase, report) {
  const response = await fetch(manifestPath, { cache: "no-cache" });
  if (!response.ok)
    throw new Trouble("This site has no firmware.", "Its operator makes it anew with `trigpoint board site`.");
  const manifest = await response.json();
  await port.close(); // the flasher opens it itself
  let failed = null;
  const follow = (event) => {
    if (event.state === "error") failed = explain(event, manifest);
    else if (event.state === "initializing") report("Asks the chip what it is", null);
    else if (event.state === "preparing") report(`Fetches MicroPython for ${event.chipFamily}`, null);
    else if (event.state === "erasing") report("Erases the flash", null);
    else if (event.state === "writing")
      report(`Writes MicroPython on the ${event.chipFamily}`, event.details.percentage / 100);
  };
  try {
    await flash(follow, port.raw, manifestPath, manifest, erase);
  } catch (error) {
    failed ??= explain({ details: { error: "write_failed" }, message: error.message }, manifest);
  }
  if (failed) throw failed;
  await port.reopen();
}

function explain(event, manifest) {
  const chips = manifest.builds.map((build) => build.chipFamily).join(", ");
  switch (event.details.error) {
    case "failed_initialize":
      return new Trouble(
        "The chip does not answer.",
        "Hold the board's BOOT button, press RESET, let go, and try again. Another cable may help, too.",
      );
    case "not_supported":
      return new Trouble(
        `This board has an ${event.chipFamily}, and this site has firmware for ${chips || "no chip"}.`,
        "Take another board, or ask the operator to add this chip with `trigpoint board site --chip`.",
      );
    case "failed_firmware_download":
      return new Trouble("The firmware could not be fetched.", "Check the connection to this site, and try again.");
    default:
      return new Trouble(
        "Writing was cut in the middle.",
        "Plug the board in again and install once more: it begins anew where it must.",
      );
  }
}

/** Bring the board's files to those of the site, after `writeFirmware` or on a board with MicroPython. */
export async function writeApplication(port, site, application, report) {
  report("Starts MicroPython", null);
  const board = new Board(await port.prompt(FIRST_START_MS), site.scripts);
  const { slot } = await board.status();
  report("Installs Trigpoint", 0);
  await board.install(application.files, slot ?? "a", (part) => report("Installs Trigpoint", part));
  return board.status();
}
