// Where one writes: grows with its text, counts bytes near the limit, carries the label for whom a
// message is, keeps what is not sent yet, and says what cannot be sent.

import { Drafts } from "./drafts.js";
import { $, bytes, number, plural } from "./tools.js";

/** Limit of the service. */
const TEXT_BYTES = 16384;

/** Characters that a paste may bring. More can never be sent, and would only make the page slow. */
const PASTE_CHARACTERS = 100_000;

/** How long a draft may differ from what is kept of it. */
const KEEP_MS = 300;

const TOO_MANY = "Too many messages wait to be sent. This one stays here until some are gone.";
const ONLY_TEXT = "Images and files cannot be sent here, only text.";

export class Composer {
  /** `say(text, to)` gets what was written and returns whether it was taken. `memory` keeps drafts. */
  constructor(say, memory) {
    this.field = $("text");
    this.to = null;
    this.drafts = new Drafts(memory);
    $("composer").addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.submit(say);
    });
    this.field.addEventListener("input", () => this.changed());
    this.field.addEventListener("keydown", (key) => {
      if (key.key !== "Enter" || key.shiftKey || key.isComposing || key.keyCode === 229) return;
      key.preventDefault();
      $("composer").requestSubmit();
    });
    this.field.addEventListener("paste", (paste) => this.bring(paste, paste.clipboardData));
    // A file that is dropped beside the field would replace the page by the file.
    addEventListener("dragover", (drag) => {
      if (drag.dataTransfer?.types.includes("Files")) drag.preventDefault();
    });
    addEventListener("drop", (drop) => this.bring(drop, drop.dataTransfer));
    $("to-clear").addEventListener("click", () => { this.address(null); this.field.focus(); });
  }

  /** What is pasted or dropped: text goes its usual way, for the rest we say why it does not. */
  bring(event, brought) {
    const text = brought?.getData("text/plain") ?? "";
    const files = brought?.types.includes("Files") ?? false;
    if (text.length > PASTE_CHARACTERS) {
      event.preventDefault();
      const size = number.format(bytes(text)), most = number.format(TEXT_BYTES);
      this.tell(`This text has ${size} bytes; ${most} can be sent.`);
    } else if (files && !text) {
      event.preventDefault();
      this.tell(ONLY_TEXT);
    }
  }

  submit(say) {
    const text = this.field.value;
    // Of a text that is too long the counter says so.
    if (text.trim() === "" || bytes(text) > TEXT_BYTES) return;
    if (!say(text, this.to)) return this.tell(TOO_MANY);
    this.write("");
    this.field.focus();
  }

  /** Goes on with what was written in this room; of a sealed one nothing is kept in the open. */
  open({ room, user, direct }, isSealed = false) {
    this.keep();
    this.place = isSealed ? null : { room, user };
    const { text, to } = isSealed ? { text: "", to: null } : this.drafts.get(room, user);
    this.field.placeholder = isSealed ? `Sealed message to ${direct ? direct.user : `#${room}`}` : `Message #${room}`;
    this.address(to);
    this.write(text);
  }

  /** Puts a text that was not sent back, above what is written now. */
  putBack(text, to) {
    this.write(this.field.value ? `${text}\n${this.field.value}` : text);
    this.address(to);
    this.field.focus();
  }

  write(text) {
    this.field.value = text;
    this.changed();
  }

  address(name) {
    this.to = name;
    $("to-row").hidden = !name;
    $("to-name").textContent = name ?? "";
    this.keepSoon();
  }

  changed() {
    const size = bytes(this.field.value), over = size > TEXT_BYTES;
    this.fit();
    $("send").disabled = over || this.field.value.trim() === "";
    $("counter").hidden = size < TEXT_BYTES * 0.8;
    $("counter").classList.toggle("over", over);
    $("counter").textContent = over
      ? `${plural(size - TEXT_BYTES, "byte")} too long`
      : `${number.format(size)} of ${number.format(TEXT_BYTES)} bytes`;
    this.keepSoon();
  }

  /** As high as its text. Measuring must not give the messages above room that they lose again. */
  fit() {
    const form = $("composer");
    form.style.minHeight = `${form.offsetHeight}px`;
    this.field.style.height = "auto";
    // Of an empty field scrollHeight may be that of a long placeholder.
    this.field.style.height = `${this.field.value ? Math.max(38, this.field.scrollHeight) : 38}px`;
    form.style.minHeight = "";
  }

  /** Says something until the next change of the text. */
  tell(text) {
    $("counter").textContent = text;
    $("counter").classList.add("over");
    $("counter").hidden = false;
  }

  keepSoon() {
    this.keeping ??= setTimeout(() => this.keep(), KEEP_MS);
  }

  keep() {
    clearTimeout(this.keeping);
    this.keeping = null;
    if (this.place) this.drafts.set(this.place.room, this.place.user, this.field.value, this.to);
  }
}
