// What a person sees of a sealed room's group: who is in it and who was compared, what to compare, who is let in, and what is asked.

import { holdersOf } from "./notes.js";
import { draw } from "./qr.js";
import { avatar } from "./rows.js";
import { $, make, plural } from "./tools.js";

const LINE = /^(?:\/add\s+)?([A-Za-z0-9_-]{1,64})\s+([A-Za-z0-9_-]{43})$/;

/** Messages of before that one asks for. */
const ASKED = 50;

const WAITS = {
  not_in: "You are not in the group of this room yet. Somebody who is can let you in, with your name and key:",
  revoked: "You have revoked this device in this room, at another device of yours: it reads and says nothing here any more, until a device of yours that is in allows it again. If that was not you, your key is in other hands.",
  shut: ({ why }) => `You are not in the group of this room. It is open, but takes in nobody by themselves now${why ? `: ${why}` : ""}. This device tries it again every 10 minutes, by itself; somebody who is in can let you in at once, with your name and key.`,
  in_vain: ({ why }) => `You are not in the group of this room, though this device tries: ${why}. This device goes on trying by itself, less and less often.`,
  not_founded: "Whoever made this room has not made its group yet. This device waits for that, and makes it when nobody has for some minutes.",
};

/** Devices by person: [{ user, key, devices }]. */
function people(members) {
  const found = new Map();
  for (const { user, device, pub } of members) {
    const at = `${user} ${pub}`;
    if (!found.has(at)) found.set(at, { user, key: pub, devices: [] });
    found.get(at).devices.push(device);
  }
  return [...found.values()].sort((a, b) => a.user.localeCompare(b.user));
}

export class Group {
  /** `sealed` is the device; toast(text) says something in passing; onAlone({ user, key, room }) goes where two are alone. */
  constructor(sealed, { toast, onAlone }) {
    Object.assign(this, { sealed, toast, onAlone });
    this.controller = new AbortController();
    const { signal } = this.controller;
    const on = (id, event, act) => $(id).addEventListener(event, (about) => { about.preventDefault(); act(); }, { signal });
    on("let-in", "submit", () => this.letIn());
    on("copy-own", "click", () => this.copyOwn());
    on("group-copy", "click", () => this.copyOwn());
    on("group-agree", "click", () => this.attempt(() => sealed.agree()));
    on("group-forget", "click", () => this.forget());
    on("leave-group", "click", () => this.leave());
    on("ask-earlier", "click", () => this.askForEarlier());
    on("group-alone", "click", () => onAlone(sealed.alone.invitations[0]));
    on("group-later", "click", () => { sealed.alone.decided(); this.show(); });
    on("person-alone", "click", () => this.alone());
    on("person-share", "submit", () => this.share());
    on("person-close", "click", () => $("person").close());
    on("person-same", "click", () => this.verify());
    on("person-remove", "click", () => this.remove(null));
    $("group").hidden = false;
    $("seal").hidden = false;
    this.show();
  }

  end() {
    this.controller.abort();
    if ($("person").open) $("person").close();
    for (const id of ["group", "seal", "group-notice"]) $(id).hidden = true;
    $("group-people").replaceChildren();
    $("group-code").textContent = $("group-said").textContent = $("let-in-who").value = "";
  }

  get own() { return `${this.sealed.who.user} ${this.sealed.who.key}`; }

  isVerified(key) { return Boolean(this.sealed.verified[key]); }

  show() {
    const { sealed } = this, { isIn, waits, question } = sealed.state, hasLeft = Boolean(sealed.hasLeft) && !isIn && !question;
    const members = isIn ? sealed.members() : [];
    // After most steps all is as it was.
    const invitation = waits || question || hasLeft ? null : sealed.alone?.invitations[0] ?? null;
    const shown = JSON.stringify([members, sealed.verified, isIn, waits, sealed.state.why, question, hasLeft, sealed.code(), invitation]);
    if (shown === this.shown) return;
    this.shown = shown;
    const all = people(members), others = all.filter((one) => one.key !== sealed.who.key);
    const compared = others.filter((one) => this.isVerified(one.key)).length;
    this.state(isIn, others.length, compared);
    $("group-people").replaceChildren(...all.map((one) => make("li", {}, this.person(one))));
    $("group-code").textContent = sealed.code() ?? "";
    for (const id of ["group-code-row", "let-in", "leave-group", "ask-earlier"]) $(id).hidden = !isIn;
    if (sealed.who.direct) $("let-in").hidden = true;
    $("group-notice").hidden = !waits && !question && !invitation && !hasLeft;
    $("group-alone").hidden = $("group-later").hidden = !invitation;
    if (invitation) $("group-notice-text").textContent = invites(invitation);
    $("group-copy").hidden = Boolean(question) || hasLeft || !["not_in", "shut"].includes(waits);
    $("group-agree").hidden = !question;
    $("group-forget").hidden = !question?.left && !hasLeft;
    if (waits) $("group-notice-text").textContent = typeof WAITS[waits] === "function" ? WAITS[waits](sealed.state) : WAITS[waits];
    if (hasLeft) $("group-notice-text").textContent = "You have left the group of this room. This browser keeps what it has read here, until you have it forget that. To come back, load the page again.";
    if (question) {
      $("group-notice-text").textContent = asks(question);
      const { left, invited, none } = question;
      const otherwise = none ? "Make a new group" : "Go in all the same";
      $("group-agree").textContent = left || invited ? "Come back" : otherwise;
    }
    if (this.about) this.showPerson();
  }

  state(isIn, others, compared) {
    $("seal").dataset.state = !isIn ? "out" : compared === others ? "compared" : "in";
    const who = others === 0 ? "only you" : plural(others, "other");
    const known = others === 0 ? "" : compared === others ? ", all compared" : `, ${compared || "none"} compared`;
    setText("seal-text", isIn ? `sealed: ${who}${known}` : "sealed: not in");
  }

  person({ user, key, devices }) {
    const isOwn = key === this.sealed.who.key, isVerified = this.isVerified(key);
    const said = isOwn ? plural(devices.length, "device") : isVerified ? "compared" : "not compared yet";
    const mark = make("small", { className: isOwn || isVerified ? "known" : "unknown" }, said);
    const content = [avatar(user), make("span", { className: "who" }, user, mark)];
    if (isOwn) content.push(make("span", { className: "you" }, "you"));
    return make("button", { className: "member", type: "button", onclick: () => this.open({ user, key }) }, ...content);
  }

  // --- one of them

  /** Of those who are here: if the group has them. */
  byName(name) {
    const found = people(this.sealed.members()).find((one) => one.user === name);
    if (found) this.open(found);
    else this.say(`${name} is here, but not in the group: let them in with their key.`);
  }

  open(about) {
    this.about = about;
    this.showPerson();
    if (!$("person").open) $("person").showModal();
    $("person").onclose = () => { this.about = null; };
  }

  showPerson() {
    const { user, key } = this.about, { sealed } = this, isOwn = key === sealed.who.key;
    const devices = sealed.members().filter((one) => one.user === user && one.pub === key);
    $("person-name").textContent = user;
    $("person-number-row").hidden = isOwn;
    $("person-same").hidden = isOwn;
    $("person-remove").hidden = $("person-share").hidden = isOwn || !devices.length;
    $("person-alone").hidden = isOwn || Boolean(sealed.who.direct);
    setText("person-devices-title", isOwn ? "Your devices" : "Devices in this room");
    if (!isOwn) {
      const number = sealed.number(key), groups = number.split(" ");
      $("person-number").replaceChildren(...groups.map((group) => make("span", {}, group)));
      draw($("person-qr"), sealed.seal, number.replaceAll(" ", ""));
      const isVerified = this.isVerified(key);
      $("person-state").textContent = isVerified ? `You have compared this number with ${user}.` : "";
      $("person-same").textContent = isVerified ? "Not compared any more" : "They are the same";
    }
    if (isOwn) this.showOwn();
    else $("person-devices").replaceChildren(...devices.map((one) => make("li", {}, make("span", {}, one.device), this.removal(one))));
  }

  /** Devices of one's own; those that are not in here can be let in. */
  async showOwn() {
    const { about } = this, list = $("person-devices");
    try {
      const devices = await this.sealed.ownDevices();
      if (this.about === about) list.replaceChildren(...devices.map((one) => make("li", {}, make("span", {}, one.device), this.own(one))));
    } catch (error) {
      if (this.about === about) list.replaceChildren(make("li", {}, `The service does not say which: ${error.message}`));
    }
  }

  /** What is done with a device of one's own: it is not only removed, but does not come back. */
  own({ device, isIn }) {
    if (device === this.sealed.name) return make("span", { className: "you" }, "this one");
    if (!isIn) return make("button", { type: "button", className: "plain", onclick: () => this.allow(device) }, "Let in");
    return make("button", { type: "button", className: "plain", onclick: () => this.revoke(device) }, "Revoke");
  }

  removal({ device }) {
    return make("button", { type: "button", className: "plain", onclick: () => this.remove(device) }, "Remove");
  }

  verify() {
    const { key } = this.about;
    this.attempt(() => this.sealed.verify(key, !this.isVerified(key)));
  }

  async remove(device) {
    const { user } = this.about, what = device ? `the device ${device} of ${user}` : user;
    if (!confirm(`Remove ${what} from this room? They read nothing that is said afterwards.`)) return;
    if (!device) $("person").close();
    await this.attempt(() => this.sealed.remove(user, device ?? undefined));
  }

  async revoke(device) {
    if (!confirm(`Revoke your device ${device} in this room? The others remove it, and it does not come back until a device of yours that is in allows it.`)) return;
    await this.attempt(() => this.sealed.revoke(device));
  }

  /** Also one that was revoked. */
  async allow(device) {
    if (!confirm(`Let your device ${device} into this room? It reads what is said from then on, also if you had revoked it.`)) return;
    if (await this.attempt(() => this.sealed.allow(device))) this.say(`Your device ${device} is being let in.`);
  }

  /** Where two are alone. */
  alone() {
    const { user, key } = this.about;
    $("person").close();
    this.onAlone({ user, key, room: this.sealed.roomWith(key) });
  }

  async share() {
    const { user, key } = this.about, count = $("person-share-count").valueAsNumber;
    $("person").close();
    if (await this.attempt(() => this.sealed.share(key, count))) this.say(`Shared with ${user}; everybody sees that.`);
  }

  async askForEarlier() {
    if (await this.attempt(() => this.sealed.askForEarlier(ASKED))) this.say("The others see that you ask; who wants to shows you what was said.");
  }

  // --- coming and going

  async letIn() {
    const found = LINE.exec($("let-in-who").value.trim());
    if (!found) return this.say("Write the name and the key of whom you let in, as they give it to you: harry A6EHv…");
    const [, user, key] = found;
    $("let-in-go").disabled = true;
    const count = Math.min($("let-in-share").valueAsNumber || 0, 100);
    let missing = [];
    const isDone = await this.attempt(async () => { missing = await this.sealed.add(user, key, count); });
    $("let-in-go").disabled = false;
    if (!isDone) return;
    $("let-in-who").value = "";
    $("let-in-share").value = 0;
    const without = missing.length ? ` Without ${missing.join(", ")}: ${user} has to open that again first.` : "";
    this.say(`${user} is being let in.${without}`);
  }

  async leave() {
    if (!confirm("Leave the group? This browser reads nothing more of this room until somebody lets it in again.")) return;
    if (await this.attempt(() => this.sealed.leave())) this.say("Leaving: somebody else removes this device with the next change.");
  }

  async forget() {
    if (!confirm("Forget what was said in this room? This browser does not show it again, and nobody can bring it back here.")) return;
    if (await this.attempt(() => this.sealed.forgetAll())) this.say("This browser has forgotten what was said here.");
  }

  async copyOwn() {
    try {
      await navigator.clipboard.writeText(this.own);
      this.toast("Name and key copied");
    } catch {
      this.say(this.own);
    }
  }

  /** Whether it went well; else the reason is shown. */
  async attempt(what) {
    try {
      await what();
      this.say("");
      return true;
    } catch (error) {
      this.say(error.message);
      return false;
    }
  }

  /** What happened last, until something else does. */
  say(text) { setText("group-said", text); }
}

function invites({ user, isOther }) {
  if (!isOther) return `${user} writes to you alone.`;
  return `Somebody who is called ${user}, with another key than ${user} in this room, wants to write to you alone.`;
}

function asks({ newcomers, none, left, invited }) {
  if (none) return "The service has no group of this room, where you were in one with others: it has lost the room, or is not the one that it was. Ask the others by another way. In a new group nobody is but you, until they are let in or come as you do; what waits to be sent goes there.";
  if (left) return "You have left the group of this room. You come back if you say so here, and it is open or somebody lets you in.";
  if (invited) return `${invited.user} invites you back into the group that you left.`;
  if (newcomers === null) return "The service shows another group than the one that you were in, or an older state of it: it may be somebody else's doing. Ask the others by another way before you go in.";
  return `Since you were in, ${holdersOf(newcomers)} came. Ask the others by another way whether they belong here, before you come back.`;
}

function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}
