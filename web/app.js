// The page of safe-chat, without a build step: joins one room over `safechat.v1+json` and shows it. This file wires the parts.
//
//     card, composer -> room -> link -> service
//     log, pending, screen <- room <- journal, outbox <- link
//
// `journal` holds what the room said, `outbox` what we said; `room` decides what follows from a frame. Text of others reaches the
// document as text nodes only.

import { Card } from "./card.js";
import { Composer } from "./composer.js";
import { Device } from "./device.js";
import { NAME, browser, identity, tab } from "./identity.js";
import { Room } from "./room.js";
import { $, parsed } from "./tools.js";

let room = null;
const channel = globalThis.BroadcastChannel ? new BroadcastChannel("safechat.device") : null;
const device = new Device(tab, navigator.locks ?? null, channel);
await device.choose();
const card = new Card((who) => join(who), () => giveUp());
const composer = new Composer((text, to) => room?.say(text, to) ?? false, tab);

/**
 * Joins. The card stays until `welcome`, and says why it takes longer, unless one comes back
 * (a reload): then the room shows how it waits.
 */
function join(person, returning = false) {
  const who = { ...person, device: device.id };
  room?.end();
  card.refused(null);
  card.busy(!returning);
  let inside = returning;
  const current = new Room(who, {
    onWelcome: () => {
      if (current.arrived) return;
      current.arrived = inside = true;
      arrived(who);
    },
    onState: (state, { why, found }) => {
      if (inside) return;
      card.busy(state === "connecting");
      if (state === "waiting") card.refused(`${why} Trying again…`, true);
      if (state !== "stopped") return;
      giveUp();
      card.refused(why, false, found);
    },
    onAddress: (name) => { composer.address(name); drawer(false); $("text").focus(); },
    onEdit: (text, to) => composer.putBack(text, to),
    onRejoin: () => join(person, true),
    onReplaced: () => device.renew(),
    onRename: (found, why) => {
      leave();
      card.setName(who.user, who.room);
      card.refused(why, false, found);
    },
  });
  room = current;
  composer.open(who.room, who.user);
  if (returning) showRoom(true);
  identity.signer(who.key).then((sign) => { if (room === current) current.start(sign); });
}

/** Ends a join that the card still shows: it was refused, or the person writes something else. */
function giveUp() {
  room?.end();
  room = null;
  card.busy(false);
  card.refused(null);
}

/** Joins without the card: after a reload. */
async function enter(name, user) {
  join({ room: name, user, key: await identity.keyFor(name, user) }, true);
}

function arrived(who) {
  card.busy(false);
  tab.set("in", JSON.stringify({ user: who.user, room: who.room }));
  browser.set("name", who.user);
  browser.set("room", who.room);
  history.replaceState(null, "", `#${who.room}`);
  showRoom(true);
  if (matchMedia("(pointer: fine)").matches) $("text").focus();
}

function leave() {
  room?.end();
  room = null;
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

/** The room in the address, or null. */
function addressed() {
  const name = location.hash.slice(1);
  return NAME.test(name) ? name : null;
}

$("leave").addEventListener("click", leave);
$("share").addEventListener("click", share);
$("latest").addEventListener("click", () => room?.log.toLatest());
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
addEventListener("hashchange", () => {
  const name = addressed();
  if (!name || name === room?.who.room) return;
  // Another page can change the address, too: a person joins, nobody else.
  if (room) leave();
  card.setRoom(name);
});
// The keyboard of a phone covers the page without resizing it; the room takes what is left.
window.visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale === 1) $("chat").style.setProperty("--visible", `${visualViewport.height}px`);
});

await card.fill(addressed());
const before = parsed(tab.get("in"), null);
if (before && before.room === (addressed() ?? before.room)) enter(before.room, before.user);
else card.focus();
