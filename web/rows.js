// One event, or one message of ours that is not in the journal yet, as DOM. Text of others becomes text nodes, never markup.

import { isMessage } from "./journal.js";
import { isWarning, words } from "./notes.js";
import { make, plural } from "./tools.js";

/** Messages of one author within this time share a header. */
const GROUP_MS = 5 * 60_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dated = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });

function svg(path, className) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", "0 0 22 16");
  picture.setAttribute("class", className);
  picture.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  picture.append(line);
  return picture;
}

function dayOf(at) {
  return new Date(at).toDateString();
}

function dayName(at) {
  const day = new Date(at), now = new Date();
  const days = Math.round((new Date(now.toDateString()) - new Date(day.toDateString())) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return day.getFullYear() === now.getFullYear() ? weekday.format(day) : dated.format(day);
}

/** A hue in degrees that is always the same for a name. */
function hue(name) {
  let hash = 2166136261;
  for (const c of name) hash = Math.imul(hash ^ c.codePointAt(0), 16777619);
  return (Math.imul(hash ^ (hash >>> 15), 2246822519) >>> 0) % 360;
}

/** The text with its http(s) addresses as links, as nodes. */
function linked(text) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"]+/gi)) {
    let address = match[0].replace(/[.,;:!?'*_~]+$/, "");
    while (address.endsWith(")") && address.split("(").length < address.split(")").length) address = address.slice(0, -1);
    if (!URL.canParse?.(address)) continue;
    nodes.push(text.slice(from, match.index));
    nodes.push(make("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, address));
    from = match.index + address.length;
  }
  nodes.push(text.slice(from));
  return nodes.filter((node) => node !== "");
}

const TICKS = {
  sending: ["M11 2.5a5.5 5.5 0 1 0 .01 0M11 5v3l2 1.5", "sending"],
  accepted: ["M5 8.5l4 4 8-9", "accepted: stored, its place is not decided yet"],
  journaled: ["M1.5 8.5l4 4 8-9M10 11.5l1 1 8-9", "journaled"],
  rejected: ["M11 3v6M11 12.5v.1", "rejected"],
};

function tick(state, seq) {
  const [path, meaning] = TICKS[state];
  const said = seq ? `${meaning} as #${seq}` : meaning;
  return make("span", { title: said }, svg(path, `tick ${state}`), make("span", { className: "sr" }, said));
}

export function avatar(name) {
  const round = make("span", { className: "avatar", "aria-hidden": "true" }, name.replace(/^[-_]+/, "").slice(0, 2).toUpperCase() || name.slice(0, 2));
  round.style.setProperty("--hue", hue(name));
  return round;
}

function sealedBytes(base64) {
  return Math.floor((String(base64).replace(/=+$/, "").length * 3) / 4);
}

function bubble(message) {
  const box = make("div", { className: "bubble", dir: "auto" });
  if (message.to && message.to !== "*") box.append(make("span", { className: "label", title: "a label only: the whole room reads it" }, `to ${message.to}`));
  if (message.erased) {
    box.classList.add("sealed");
    box.append("(erased)");
  } else if (message.kind === "sealed") {
    const isRead = message.text !== undefined, why = message.why ? `cannot be read: ${message.why}` : plural(sealedBytes(message.sealed), "byte");
    box.classList.toggle("sealed", !isRead);
    box.append(...(isRead ? linked(message.text) : [`(sealed, ${why})`]));
  } else {
    box.append(...linked(String(message.text ?? "")));
  }
  return box;
}

function timeOf(at) {
  return make("time", { dateTime: new Date(at).toISOString(), title: exact.format(at) }, clock.format(at));
}

function startsGroup(event, before) {
  return !before || !isMessage(before) || isNote(before) || before.from !== event.from || event.at - before.at > GROUP_MS || dayOf(before.at) !== dayOf(event.at);
}

function messageRow(event, before, me) {
  const own = event.from === me.user, first = startsGroup(event, before);
  const seq = make("span", { className: "seq", title: "place in the room" }, `#${event.seq}`);
  const main = make("div", { className: "main" });
  if (own) return ownRow(event, first, tick("journaled", event.seq), seq);
  if (first) {
    const name = make("b", {}, event.from);
    name.style.setProperty("--hue", hue(event.from));
    main.append(make("div", { className: "by" }, name, timeOf(event.at)));
  }
  main.append(make("div", { className: "line" }, bubble(event), make("span", { className: "meta" }, first ? "" : timeOf(event.at), seq)));
  return make("div", { className: `row${first ? " first" : ""}` }, make("div", { className: "side" }, first ? avatar(event.from) : ""), main);
}

function ownRow(message, first, state, ...extra) {
  const main = make("div", { className: "main" });
  if (first) main.append(make("div", { className: "by" }, make("span", { className: "sr" }, "You"), timeOf(message.at)));
  main.append(make("div", { className: "line" }, bubble(message),
    make("span", { className: "meta" }, ...extra, first ? "" : timeOf(message.at), state)));
  return make("div", { className: `row own${first ? " first" : ""}` }, main);
}

function holeRow({ seq, count }) {
  const which = count === 1 ? `#${seq}` : `#${seq - count + 1} to #${seq}`;
  return make("p", { className: "quiet" }, `${which}: lost by the service`);
}

/** In a sealed room. */
function unencryptedRow({ seq, from, count = 1 }) {
  const said = count > 1
    ? `Up to #${seq}: the service shows ${count} unencrypted events, the last as from ${from}. They are not from members.`
    : `#${seq}: the service shows something unencrypted as from ${from}. It is not from a member.`;
  return make("p", { className: "quiet group" }, make("span", { className: "warning" }, said));
}

const QUIET = {
  joined: " joined",
  left: " left",
  erased: ": an operator erased what this user had said",
  unpinned: ": an operator freed this name; who comes under it next may be somebody else",
};

/** In the place of "unpinned". The service says it: of a sealed room's members it says nothing. */
const CHANGED = " changed the key, and the service says that the former one signed it";

/** A change of a sealed room's group; those of before this device came say nothing to it. */
function groupRow(event, { key }) {
  const about = `#${event.seq} · ${exact.format(event.at)}`;
  if (!event.notes?.length) return make("p", { className: "quiet", title: about }, "the group of this room changed");
  const lines = event.notes.map((note) => make("span", { className: isWarning(note) ? "warning" : "" }, `${words(note, key)}${note.what === "lost" && isWarning(note) ? ` (as from ${event.from})` : ""}`));
  return make("p", { className: "quiet group", title: about }, ...lines);
}

/** Whether what members read at this place is no message. */
const isNote = (event) => event.kind === "sealed" && event.text === undefined && !event.why && event.notes?.length > 0;

/** Messages of before that somebody shares with this person: in a frame of their own, each with whom it is said to be of. */
function sharedRow({ by, messages }) {
  const title = `As ${by.user} has them. Nobody else says that they were said so:`;
  const line = ([seq, at, from, text]) => make("li", {}, make("b", {}, from), make("time", { dateTime: new Date(at).toISOString() }, ` #${seq} · ${exact.format(at)}`),
    make("span", { dir: "auto" }, ...linked(text)));
  return make("blockquote", { className: "shared" }, make("p", {}, title), make("ol", {}, ...messages.map(line)));
}

function noteRow(event, me) {
  const row = groupRow(event, me), shared = event.notes.filter((note) => note.what === "shared" && note.messages.length);
  return [row, ...shared.map(sharedRow)];
}

function quietRow(event, me) {
  if (event.kind === "purged") return make("p", { className: "quiet" }, "An operator deleted everything before this.");
  const who = event.from === me.user ? "You" : event.from;
  return make("p", { className: "quiet", title: `#${event.seq} · ${exact.format(event.at)}` }, make("b", {}, who), event.changed ? CHANGED : QUIET[event.kind]);
}

/** The <li> of an event; `before` is the event shown above it, or null; `me` has user and key. */
export function rowOf(event, before, me) {
  const item = make("li");
  if (!before || dayOf(before.at) !== dayOf(event.at)) item.append(make("p", { className: "day" }, dayName(event.at)));
  if (event.kind === "hole") item.append(holeRow(event));
  else if (event.kind === "unencrypted") item.append(unencryptedRow(event));
  else if (event.kind === "handshake") item.append(groupRow(event, me));
  else if (isNote(event)) item.append(...noteRow(event, me));
  else item.append(isMessage(event) ? messageRow(event, before, me) : quietRow(event, me));
  if (event.kind === "sealed" && event.notes && !isNote(event)) item.append(groupRow(event, me));
  return item;
}

/** The <li> of a message that is not in the journal yet; `before` is what stands above it. */
export function pendingRow(message, before, actions) {
  const { state } = message;
  const row = ownRow(message, startsGroup(message, before), tick(state, message.seq));
  row.classList.add(state === "rejected" ? "rejected" : "pending");
  if (state === "rejected") {
    row.lastChild.append(make("div", { className: "refused" }, make("span", {}, `Not sent: ${message.message || message.reason}`),
      make("button", { type: "button", onclick: actions.retry }, "Retry"),
      make("button", { type: "button", onclick: actions.edit }, "Edit")));
  }
  return make("li", {}, row);
}
