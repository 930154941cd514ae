// Carries the key of this browser to another one, or to a terminal: a text that a passphrase opens (`seal`, export.rs), in a file, or in a
// link that a QR code shows. It is in the part of the link that browsers send to no server.

import { identity } from "./identity.js";
import { draw } from "./qr.js";
import { $ } from "./tools.js";
import { wasm } from "./wasm.js";

const FILE = "safe-chat.key";
const IN_LINK = "#key=";
const MOST = 4096;               // letters of a file, or of an address

/** What is to be loaded, of a text that somebody gives: an exported key, or a link that has one. */
export function exported(text) {
  const at = text.lastIndexOf(IN_LINK);
  return (at < 0 ? text : text.slice(at + IN_LINK.length)).slice(0, MOST).trim();
}

/** The exported key in the address of the page, which has `before` in its place from now on, as the history of the browser; or null. */
export function takenFromAddress(before = "") {
  const { hash, pathname, search } = globalThis.location;
  if (!hash.startsWith(IN_LINK)) return null;
  globalThis.history.replaceState(null, "", `${pathname}${search}${before}`);
  return exported(hash);
}

export class Carry {
  /** Calls changed() when the browser has another key. */
  constructor(changed) {
    this.changed = changed;
    $("key-save").addEventListener("click", () => this.open(null));
    $("key-load").addEventListener("click", () => this.open(""));
    $("carry-from-file").addEventListener("click", () => $("key-file").click());
    $("key-file").addEventListener("change", () => this.chosen());
    // What it showed is not there for whoever looks next; the event of a closing comes later.
    $("carry-close").addEventListener("click", () => { this.clear(); $("carry").close(); });
    $("carry").addEventListener("close", () => this.clear());
    $("carry-form").addEventListener("submit", (submit) => { submit.preventDefault(); this.go(submit.submitter === $("carry-show")); });
  }

  async chosen() {
    const [file] = $("key-file").files;
    $("key-file").value = "";
    if (file) this.open(await file.slice(0, MOST).text());
  }

  /** `text`: of a key to load, as far as it is known; null: the key is saved. */
  open(text) {
    const saves = this.saves = text === null;
    this.clear();
    $("carry-title").textContent = saves ? "Save my key" : "Load a key";
    $("carry-help").textContent = saves
      ? "Whoever has the file or a picture of the code, and the passphrase, is you. Choose one of 12 characters or more, and keep it somewhere else."
      : "It becomes the key of this browser. Names that this browser has in rooms already stay with the key they came with.";
    $("carry-go").textContent = saves ? "Save in a file" : "Load";
    $("carry-passphrase").autocomplete = saves ? "new-password" : "current-password";
    $("carry-text-field").hidden = saves;
    $("carry-again-field").hidden = $("carry-show").hidden = !saves;
    $("carry-again").required = saves;
    $("carry-text").required = !saves;
    $("carry-text").value = text ?? "";
    if (!$("carry").open) $("carry").showModal();
    $(text === "" ? "carry-text" : "carry-passphrase").focus();
  }

  clear() {
    $("carry-text").value = $("carry-passphrase").value = $("carry-again").value = "";
    $("carry-fields").hidden = false;
    $("carry-code").hidden = true;
    $("carry-link").textContent = "";
    $("carry-qr").firstElementChild.setAttribute("d", "");
    this.say("");
  }

  async go(isShown) {
    const passphrase = $("carry-passphrase").value;
    // A slip would lock the key away for good.
    if (this.saves && passphrase !== $("carry-again").value) {
      this.say("The two are not the same: type it again.");
      $("carry-again").focus();
      return;
    }
    $("carry-go").disabled = $("carry-show").disabled = true;
    this.say("");
    try {
      // The key of a passphrase takes a second to make: the page shows first that it works on it.
      await new Promise((shown) => { requestAnimationFrame(() => setTimeout(shown)); });
      if (!this.saves) this.changed(await identity.import(exported($("carry-text").value), passphrase));
      else if (isShown) return await this.show(await identity.export(passphrase));
      else download(await identity.export(passphrase));
      $("carry").close();
    } catch (error) {
      this.say(error.message);
    } finally {
      $("carry-go").disabled = $("carry-show").disabled = false;
    }
  }

  /** A link to this page with the key, as a code and as text. */
  async show(key) {
    const link = `${location.origin}${location.pathname}${IN_LINK}${key}`;
    draw($("carry-qr"), await wasm(), link);
    $("carry-link").textContent = link;
    $("carry-fields").hidden = true;
    $("carry-code").hidden = false;
  }

  say(text) {
    $("carry-error").textContent = text;
    $("carry-error").hidden = !text;
  }
}

function download(text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/plain" }));
  link.download = FILE;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
