// The start card: name, room and key; says why a join failed.

import { KEY, NAME, anotherName, browser, identity } from "./identity.js";
import { TAKEN } from "./refusals.js";
import { $ } from "./tools.js";

const RULE = "1 to 64 of the letters A–Z a–z, digits, _ and -";

export class Card {
  /** Calls join({ room, user, key }), and cancel() when one of these is written anew meanwhile. */
  constructor(join, cancel) {
    this.typedKey = false;
    $("join").addEventListener("submit", async (submit) => {
      submit.preventDefault();
      await this.filling;   // who comes for the first time has no key yet
      const who = this.read();
      if (who) join(who);
    });
    $("key").addEventListener("input", () => {
      this.typedKey = true;
      cancel();
    });
    $("other-name").addEventListener("click", () => {
      $("name").value = $("other-name").dataset.name;
      $("join").requestSubmit();
    });
    for (const id of ["name", "room"]) {
      $(id).addEventListener("input", () => {
        cancel();
        $("choice").hidden = true;
        this.complain(id, null);
        this.fillKey();
      });
    }
  }

  async fill(room) {
    $("name").value = browser.get("name") ?? "";
    $("room").value = room ?? browser.get("room") ?? "";
    await this.fillKey();
  }

  /** The key that fits this name and room, unless the person typed one. */
  fillKey() { return this.filling = this.findKey(); }

  async findKey() {
    if (this.typedKey) return;
    const key = await identity.keyFor($("room").value.trim(), $("name").value.trim());
    if (this.typedKey) return;
    $("key").value = key;
    $("key-claims").hidden = (await identity.signer(key)) !== null;
  }

  /** A key that was carried here. */
  useKey(key) {
    this.typedKey = true;   // also where a name of this browser has another one
    $("key").value = key;
    $("key-claims").hidden = true;
  }

  setRoom(room) {
    $("room").value = room;
    this.fillKey();
  }

  setName(name, room) {
    $("name").value = name;
    this.setRoom(room);
  }

  focus() {
    ($("name").value ? $("room") : $("name")).focus();
  }

  /** What was entered, or null after saying what is wrong with it. */
  read() {
    const user = $("name").value.trim(), room = $("room").value.trim().replace(/^#/, ""), key = $("key").value.trim();
    const wrong = [
      ["name", !NAME.test(user) && (user ? `A name has ${RULE}.` : "Choose a name.")],
      ["room", !NAME.test(room) && (room ? `A room has ${RULE}.` : "Choose a room.")],
      ["key", !KEY.test(key) && "A key has 1 to 128 of A–Z a–z 0–9 _ and -."],
    ].filter(([id, text]) => this.complain(id, text || null));
    if (wrong.length) {
      if (wrong[0][0] === "key") document.querySelector("details.key").open = true;
      $(wrong[0][0]).focus();
      return null;
    }
    if (this.typedKey) browser.set("key", key);
    this.typedKey = false;
    return { user, room, key, ...this.choice() };
  }

  /** What a room that is made now is to be; nothing while that is not asked. */
  choice() {
    if ($("choice").hidden) return {};
    const is = (id) => $(id).checked;
    return is("make-open") ? { policy: "open" } : { policy: "sealed", door: is("door-open") ? "open" : "invited" };
  }

  /** Asks what the room is to be. */
  offer() {
    $("choice-room").textContent = `#${$("room").value.trim().replace(/^#/, "")} is new. What is it to be?`;
    $("choice").hidden = false;
    $("enter-label").textContent = "Create";
    $("make-open").focus();
  }

  complain(id, text) {
    $(`${id}-error`).textContent = text ?? "";
    $(`${id}-error`).hidden = !text;
    $(id).setAttribute("aria-invalid", text ? "true" : "false");
    return Boolean(text);
  }

  busy(on) {
    $("enter").disabled = on;
    $("enter-label").textContent = on ? "Joining…" : $("choice").hidden ? "Join" : "Create";
  }

  /**
   * Why the join failed; null: it did not. `passing`: trying again may help. For a name that is
   * taken, another one is offered and the field is ready for a third. `action`: { label, act }.
   */
  refused(text, passing = false, found = {}, action = null) {
    const taken = TAKEN.has(found?.reason);
    $("refusal-action").hidden = !action;
    $("refusal-action").textContent = action?.label ?? "";
    $("refusal-action").onclick = action?.act ?? null;
    $("refusal").hidden = !text;
    $("refusal-text").textContent = text ?? "";
    $("refusal").classList.toggle("wait", passing);
    $("other-name").hidden = !taken;
    if (!taken) return;
    const other = anotherName($("name").value.trim());
    $("other-name").dataset.name = other;
    $("other-name").textContent = `Join as “${other}”`;
    $("name").setAttribute("aria-invalid", "true");
    $("name").select();
  }
}
