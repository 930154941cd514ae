// The page of safe-chat, without a build step: joins one room over `safechat.v1+json` and shows it. This file wires the parts.
//
//     card, composer -> room -> link -> service
//     log, pending, screen <- room <- journal, outbox <- link
//
// `journal` holds what the room said, `outbox` what we said; `room` decides what follows from a frame. Text of others reaches the
// document as text nodes only.

import { Card } from "./card.js";
import { Composer } from "./composer.js";
import { NAME, browser, identity, tab } from "./identity.js";
import { Room } from "./room.js";
import { $, parsed } from "./tools.js";

let room = null;
const card = new Card((who) => join(who));
const composer = new Composer((text, to) => room?.say(text, to) ?? false, tab);

/** Joins. The card stays until `welcome`, unless one comes back (a reload): then the room shows how it waits. */
function join(who, returning = false) {
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
    onState: (state, { why }) => {
      if (inside) return;
      if (state === "stopped") fail(why, false);
      if (state === "waiting") fail(`${why} Try again in a moment.`, true);
    },
    onAddress: (name) => { composer.address(name); drawer(false); $("text").focus(); },
    onEdit: (text, to) => composer.putBack(text, to),
    onRejoin: () => join(who, true),
  });
  const fail = (why, passing) => {
    current.end();
    if (room === current) room = null;
    card.busy(false);
    card.refused(why, passing);
  };
  room = current;
  composer.open(who.room, who.user);
  if (returning) showRoom(true);
  current.start();
}

/** Joins without the card: after a reload, or when the address changed to another room. */
async function enter(name, user) {
  join({ room: name, user, key: await identity.keyFor(name, user), device: identity.device() }, true);
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
  if ($("chat").classList.contains("drawer")) drawer(false);
  else composer.address(null);
});
addEventListener("online", () => room?.link.hurry());
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
  card.setRoom(name);
  if (room) enter(name, room.who.user);
});
// The keyboard of a phone covers the page without resizing it; the room takes what is left.
window.visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale === 1) $("chat").style.setProperty("--visible", `${visualViewport.height}px`);
});

await card.fill(addressed());
const before = parsed(tab.get("in"), null);
if (before && before.room === (addressed() ?? before.room)) enter(before.room, before.user);
else card.focus();
