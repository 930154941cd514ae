// The page of safe-chat, without a build step: joins one room over `safechat.v1+json` and shows it. This file wires the parts.
//
//     card, composer -> room -> link -> service
//     log, pending, screen <- room <- journal, outbox <- link
//     group <- room <-> sealed -> seal.wasm, vault, asks       (rooms that the service cannot read)
//
// `journal` holds what the room said, `outbox` what we said; `room` decides what follows from a frame. Text of others reaches the
// document as text nodes only.

import { Card } from "./card.js";
import { Carry, takenFromAddress } from "./carry.js";
import { Composer } from "./composer.js";
import { Device } from "./device.js";
import { NAME, browser, identity, isProtected, tab } from "./identity.js";
import { policyOf } from "./refusals.js";
import { Room } from "./room.js";
import { Sealed, lacking } from "./sealed.js";
import { isFramed } from "./token.js";
import { $, parsed } from "./tools.js";
import { Turn } from "./turn.js";

// Before anything else: an address is seen, copied and remembered.
const brought = takenFromAddress();
let room = null;
const channelOf = (name) => (globalThis.BroadcastChannel ? new BroadcastChannel(name) : null);
const channel = channelOf("safechat.device");
const device = new Device(tab, navigator.locks ?? null, channel);
await device.choose();
let joining = null;
let closing = null;
const card = new Card((who) => choose(who), () => giveUp());
const carry = new Carry((key) => card.useKey(key));
const composer = new Composer((text, to) => room?.say(text, to) ?? false, tab);

/** Joins from the card: of a room that is not there yet, one says first what it is to be. */
async function choose(person) {
  if (person.policy || identity.isSealed(person.room) || isFramed()) return join(person);
  const attempt = joining = {};
  card.refused(null);
  card.busy(true);
  const proves = lacking() === null && (await identity.signer(person.key)) !== null;
  const found = await policyOf({ ...person, device: device.id, proves });
  if (joining !== attempt) return undefined;
  card.busy(false);
  if (found === "new" && proves) return card.offer();
  const to = addressed(), isPromised = to?.isSealed && to.name === person.room;
  if (found === "other" && isPromised) return card.refused(`The link says that #${person.room} is sealed, and the service says that it is not. Ask whoever gave you the link.`);
  if ((found === "sealed" || isPromised) && proves) return join({ ...person, policy: "sealed" });
  if (found === "sealed") return card.refused(`#${person.room} is sealed, or asks for a proof of your key. ${lacking() ?? UNPROVEN}`, false, {}, lacking() ? null : another);
  return join(person);
}

/** What is done about a key that can only be claimed. */
const UNPROVEN = "This browser cannot prove the key under “Your key”: have it make another one, or load yours there.";
const another = {
  label: "Make a key that can be proven",
  act: async () => {
    try {
      card.useKey(await identity.renew());
      card.refused(null);
    } catch (error) {
      card.refused(error.message);
    }
  },
};

/**
 * Joins. The card stays until `welcome`, and says why it takes longer, unless one comes back
 * (a reload): then the room shows how it waits. `steal`: takes a sealed room from another tab.
 */
async function join(person, returning = false, steal = false) {
  const attempt = joining = {}, policy = person.policy ?? (identity.isSealed(person.room) ? "sealed" : null);
  const who = { ...person, device: device.id, policy };
  endRoom();
  card.refused(null);
  card.busy(!returning);
  if (returning) $("start").hidden = true;
  const sign = await identity.signer(who.key);
  const sealed = policy === "sealed" ? await openSealed(who, sign, steal, () => joining === attempt) : null;
  if (joining !== attempt) return sealed?.end();
  if (policy === "sealed" && !sealed) return undefined;
  return enterRoom(who, sign, sealed, returning);
}

/** The device of this browser in a sealed room, one tab at a time; null: it was said why not. */
async function openSealed(who, sign, steal, isWanted) {
  const refuse = (why, action) => {
    if (!isWanted()) return null;
    leave();
    card.setName(who.user, who.room);
    card.refused(why, false, {}, action);
    return null;
  };
  if (lacking()) return refuse(lacking());
  if (!sign) return refuse(`A sealed room needs a key that can be proven. ${UNPROVEN}`, another);
  await closing;   // what this tab has stored last is what it goes on from
  const locks = navigator.locks ?? null, turn = new Turn(who, locks, locks ? null : channelOf("safechat.turn"));
  if (!await turn.take(steal, () => room?.link.stop({ why: "This room went on in another tab.", action: "Use it here", taken: true }))) {
    turn.end();
    return refuse(`You are “${who.user}” in a sealed room in another tab already.`, { label: "Use it here", act: () => join(who, false, true) });
  }
  try {
    const sealed = await Sealed.open(who, sign);
    sealed.turn = turn;
    return sealed;
  } catch (error) {
    turn.end();
    return refuse(`What this browser keeps of sealed rooms cannot be used. ${error.message}`);
  }
}

function enterRoom(who, sign, sealed, returning) {
  let inside = returning;
  const current = new Room(who, {
    onWelcome: () => {
      if (sealed) identity.rememberSealed(who.room);
      if (current.arrived) return;
      current.arrived = inside = true;
      arrived(who);
    },
    onState: (state, { why, found, action, taken }) => {
      if (state === "stopped" && taken) current.sealed.end();
      if (inside) return;
      card.busy(state === "connecting");
      if (state === "waiting") card.refused(`${why} Trying again…`, true);
      if (state !== "stopped") return;
      giveUp();
      card.refused(why, false, found, action && { label: action, act: () => join(who, false, true) });
    },
    onAlone: (other) => alone(who, other),
    onAddress: (name) => { composer.address(name); drawer(false); $("text").focus(); },
    onEdit: (text, to) => composer.putBack(text, to),
    onRejoin: () => join(who, true, true),
    onReplaced: () => device.renew(),
    onSealed: () => join({ ...who, policy: "sealed" }, inside),
    onRename: (found, why) => {
      leave();
      card.setName(who.user, who.room);
      card.refused(why, false, found);
    },
    toast,
  }, sealed);
  room = current;
  composer.open(who, sealed !== null);
  if (returning) showRoom(true);
  current.start(sign);
}

/** The room, and the turn of its device. */
function endRoom() {
  closing = room?.sealed?.end() ?? closing;
  room?.end();
  room = null;
}

/** Ends a join that the card still shows: it was refused, or the person writes something else. */
function giveUp() {
  joining = null;
  endRoom();
  card.busy(false);
  card.refused(null);
}

/** To the room of this person and another one, and from there back. */
function alone({ user, key, room: name, policy, direct, back }, other) {
  const from = direct ? back : { room: name, policy };
  join({ user, key, room: other.room, policy: "sealed", direct: { user: other.user, key: other.key }, back: from }, true);
}

/** Out of the room; from one of two people back to where one came from. */
function goOut() {
  const { user, key, back } = room?.who ?? {};
  if (back) join({ user, key, ...back }, true);
  else leave();
}

/** Joins without the card: after a reload. */
async function enter({ room: name, user, policy, direct, back }) {
  join({ room: name, user, key: await identity.keyFor(name, user), policy, direct, back }, true);
}

function arrived(who) {
  card.busy(false);
  tab.set("in", JSON.stringify({ user: who.user, room: who.room, policy: who.policy, direct: who.direct, back: who.back }));
  browser.set("name", who.user);
  browser.set("room", who.room);
  history.replaceState(null, "", `#${who.room}${who.policy === "sealed" ? "~sealed" : ""}`);
  showRoom(true);
  if (matchMedia("(pointer: fine)").matches) $("text").focus();
}

function leave() {
  joining = null;
  endRoom();
  card.busy(false);
  tab.remove("in");
  showRoom(false);
  card.fillKey();
  $("room").focus();
}

function showRoom(shown) {
  $("start").hidden = shown;
  $("chat").hidden = !shown;
  drawer(false);
  if (!shown) return;
  composer.changed();
  room.log.settle();
}

function drawer(open) {
  $("chat").classList.toggle("drawer", open);
  $("people-toggle").setAttribute("aria-expanded", String(open));
  if (open) $("people-close").focus();
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => $("toast").classList.remove("on"), 1800);
}

async function share() {
  try {
    await navigator.clipboard.writeText(location.href);
    toast("Link copied");
  } catch {
    toast("Copy the address of this page to share the room");
  }
}

/** The room in the address, { name, isSealed }, or null. Whoever passes a link on says in it that its room is sealed. */
function addressed() {
  const [name, mark] = location.hash.slice(1).split("~");
  return NAME.test(name) ? { name, isSealed: mark === "sealed" } : null;
}

$("leave").addEventListener("click", goOut);
$("share").addEventListener("click", share);
$("latest").addEventListener("click", () => room?.log.toLatest());
$("seal").addEventListener("click", () => drawer(true));
$("people-toggle").addEventListener("click", () => drawer(true));
$("people-close").addEventListener("click", () => { drawer(false); $("people-toggle").focus(); });
$("veil").addEventListener("click", () => drawer(false));

addEventListener("keydown", (key) => {
  if (key.key !== "Escape" || !room) return;
  if ($("chat").classList.contains("drawer")) { drawer(false); $("people-toggle").focus(); }
  else composer.address(null);
});
for (const back of ["online", "pageshow"]) addEventListener(back, () => room?.link.hurry());
addEventListener("pagehide", () => composer.keep());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) composer.keep();
  if (document.hidden || !room) return;
  room.screen.setUnread(0);
  room.link.hurry();
});
addEventListener("hashchange", ({ oldURL }) => {
  const key = takenFromAddress(new URL(oldURL).hash);
  if (key !== null) return carry.open(key);
  const name = addressed()?.name;
  if (!name || name === room?.who.room) return undefined;
  // Another page can change the address, too: a person joins, nobody else.
  if (room) leave();
  return card.setRoom(name);
});
// The keyboard of a phone covers the page without resizing it; the room takes what is left.
window.visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale === 1) $("chat").style.setProperty("--visible", `${visualViewport.height}px`);
});

$("unprotected-start").hidden = $("unprotected").hidden = isProtected;
await card.fill(addressed()?.name);
const before = parsed(tab.get("in"), null);
if (before && before.room === (addressed()?.name ?? before.room)) enter(before);
else card.focus();
if (brought !== null) carry.open(brought);
