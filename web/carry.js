// Carries the key of this browser to another one, or to a terminal: a file that a passphrase opens (`seal`, export.rs).

import { identity } from "./identity.js";
import { $ } from "./tools.js";

const FILE = "safe-chat.key";

export class Carry {
  /** Calls changed() when the browser has another key. */
  constructor(changed) {
    this.changed = changed;
    $("key-save").addEventListener("click", () => this.open(null));
    $("key-load").addEventListener("click", () => $("key-file").click());
    $("key-file").addEventListener("change", () => this.chosen());
    $("carry-close").addEventListener("click", () => $("carry").close());
    $("carry-form").addEventListener("submit", (submit) => { submit.preventDefault(); this.go(); });
  }

  async chosen() {
    const [file] = $("key-file").files;
    $("key-file").value = "";
    if (file) this.open(await file.slice(0, 4096).text());
  }

  /** `text`: of a file to load; null: the key is saved. */
  open(text) {
    this.text = text;
    $("carry-title").textContent = text === null ? "Save my key" : "Load a key";
    $("carry-help").textContent = text === null
      ? "Whoever has the file and the passphrase is you. Choose one of 12 characters or more, and keep it somewhere else."
      : "It becomes the key of this browser. Names that this browser has in rooms already stay with the key they came with.";
    $("carry-go").textContent = text === null ? "Save" : "Load";
    $("carry-passphrase").autocomplete = text === null ? "new-password" : "current-password";
    $("carry-again-field").hidden = text !== null;
    $("carry-again").required = text === null;
    $("carry-passphrase").value = $("carry-again").value = "";
    this.say("");
    $("carry").showModal();
    $("carry-passphrase").focus();
  }

  async go() {
    const passphrase = $("carry-passphrase").value;
    // A slip would lock the key away for good.
    if (this.text === null && passphrase !== $("carry-again").value) {
      this.say("The two are not the same: type it again.");
      $("carry-again").focus();
      return;
    }
    $("carry-go").disabled = true;
    this.say("");
    try {
      // The key of a passphrase takes a second to make: the page shows first that it works on it.
      await new Promise((shown) => { requestAnimationFrame(() => setTimeout(shown)); });
      if (this.text === null) download(await identity.export(passphrase));
      else this.changed(await identity.import(this.text, passphrase));
      $("carry").close();
    } catch (error) {
      this.say(error.message);
    } finally {
      $("carry-go").disabled = false;
    }
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
