// Where one writes: grows with its text, counts bytes near the limit, carries the label for whom a message is.

import { $, bytes, number } from "./tools.js";

/** Limit of the service. */
const TEXT_BYTES = 16384;

export class Composer {
  /** `say(text, to)` is called with what was written. */
  constructor(say) {
    this.field = $("text");
    this.to = null;
    $("composer").addEventListener("submit", (submit) => {
      submit.preventDefault();
      if (!$("send").disabled) this.submit(say);
    });
    this.field.addEventListener("input", () => this.changed());
    this.field.addEventListener("keydown", (key) => {
      if (key.key !== "Enter" || key.shiftKey || key.isComposing || key.keyCode === 229) return;
      key.preventDefault();
      $("composer").requestSubmit();
    });
    $("to-clear").addEventListener("click", () => { this.address(null); this.field.focus(); });
  }

  submit(say) {
    const text = this.field.value;
    this.write("");
    say(text, this.to);
    this.field.focus();
  }

  open(room) {
    this.field.placeholder = `Message #${room}`;
    this.address(null);
    this.changed();
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
  }

  changed() {
    const size = bytes(this.field.value), over = size > TEXT_BYTES;
    this.field.style.height = "auto";
    this.field.style.height = `${Math.max(38, this.field.scrollHeight)}px`;
    $("send").disabled = over || this.field.value.trim() === "";
    $("counter").hidden = size < TEXT_BYTES * 0.8;
    $("counter").classList.toggle("over", over);
    $("counter").textContent = over
      ? `${number.format(size - TEXT_BYTES)} bytes too long`
      : `${number.format(size)} of ${number.format(TEXT_BYTES)} bytes`;
  }
}
