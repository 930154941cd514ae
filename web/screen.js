// What surrounds the messages: title, state of the connection, trouble, who is here.

import { TAKEN } from "./refusals.js";
import { avatar } from "./rows.js";
import { $, make, number, plural } from "./tools.js";

const MEMBERS_SHOWN = 300;

export class Screen {
  /** Calls back address(name), hurry(), rejoin(), rename(why). */
  constructor(who, calls) {
    Object.assign(this, { who, calls });
    this.unread = 0;
    this.name = who.direct ? `${who.direct.user}, alone` : `#${who.room}`;
    $("room-name").textContent = this.name;
    $("leave").title = who.back ? `Back to #${who.back.room}` : "Leave the room";
    $("leave").setAttribute("aria-label", $("leave").title);
    $("trouble").hidden = true;
    $("facts").textContent = "";
  }

  end() {
    document.title = "safe-chat";
  }

  // --- the connection

  state(state, detail) {
    Object.assign(this, { now: state, until: detail.until ?? 0 });
    $("chat").dataset.state = state;
    if (state === "open") this.setUnread(this.unread);
    this.countDown();
    this.trouble(state, detail);
  }

  countDown() {
    const seconds = Math.ceil((this.until - performance.now()) / 1000);
    const waiting = seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting…";
    const said = { connecting: "connecting…", open: "connected", stopped: "not connected" };
    setText("state-text", { ...said, waiting }[this.now] ?? "");
    // Read aloud, without the seconds.
    setText("state-said", { ...said, waiting: "reconnecting…" }[this.now] ?? "");
  }

  trouble(state, { why, action, attempt, found }) {
    if (state === "open") $("trouble").hidden = true;
    if (state === "waiting" && attempt > 1) {
      this.showTrouble(`${why} What you write now is kept and sent afterwards.`, true, "Try now", this.calls.hurry);
    }
    if (state !== "stopped") return;
    const taken = TAKEN.has(found?.reason);
    const label = taken ? "Use another name" : action ?? "Join again";
    const then = taken ? () => this.calls.rename(found, why) : this.calls.rejoin;
    this.showTrouble(why, false, label, then);
  }

  showTrouble(text, passing, label, action) {
    $("trouble").classList.toggle("wait", passing);
    setText("trouble-text", text);
    setText("trouble-action", label);
    $("trouble-action").onclick = action;
    $("trouble").hidden = false;
  }

  // --- unread messages

  countUnread() {
    if (document.hidden) this.setUnread(this.unread + 1);
  }

  setUnread(count) {
    this.unread = count;
    const mark = count ? `(${count > 99 ? "99+" : count}) ` : "";
    document.title = `${mark}${this.name} · safe-chat`;
  }

  // --- who is here

  members(present) {
    const { user } = this.who;
    const names = [...present].sort((a, b) => (b === user) - (a === user) || a.localeCompare(b));
    const items = names.slice(0, MEMBERS_SHOWN).map((name) => make("li", {}, this.member(name)));
    const rest = names.length - items.length;
    if (rest > 0) items.push(make("li", { className: "rest" }, `and ${number.format(rest)} more`));
    $("members").replaceChildren(...items);
    setText("people-total", number.format(names.length));
    setText("people-count", number.format(names.length));
  }

  member(name) {
    const content = [avatar(name), make("span", { className: "who" }, name)];
    if (name === this.who.user) return make("div", { className: "member" }, ...content, make("span", { className: "you" }, "you"));
    const isSealed = this.who.policy === "sealed";
    const title = isSealed ? `What to compare with ${name}` : `Write to ${name} (a label: the whole room reads it)`;
    return make("button", { className: "member", type: "button", title, onclick: () => this.calls.address(name) }, ...content);
  }

  // --- small print

  top(text) {
    setText("top-text", text);
  }

  facts({ node, epoch, proven }, { last, unknown }, gaps, proves) {
    const claimed = proves ? "this server asks for no proof of its key" : "this page cannot prove its key";
    setText("whose", proven ? "Your name is proven: nobody else can come under it." : `Your name is only claimed: ${claimed}.`);
    const lines = [`${node ?? "node ?"} · epoch ${epoch ?? "?"}`, `#${last} is the latest`];
    if (unknown) lines.push(`${plural(unknown, "event")} of kinds this page does not know`);
    if (gaps) lines.push(`${plural(gaps, "gap")} seen`);
    setText("facts", lines.join("\n"));
  }
}

/** Touches the document only when something changes: these are live regions. */
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}
