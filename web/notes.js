// What changed in the group of a sealed room, in words. Pure.

import { plural } from "./tools.js";

/** harry (phone), charly (web-1) */
export function holdersOf(all) {
  return all.map(({ user, device }) => `${user} (${device})`).join(", ");
}

/** Of a way in that somebody else's made void. */
const FASTER = "somebody was faster";

/** One note of an event; `me` is the own key. */
export function words(note, me) {
  switch (note.what) {
    case "changed": return changed(note, me);
    case "key_changed": return `${note.user} has another key than before: it may be somebody else. Compare your number again, by another way`;
    case "other_group": return "the room has another group than before: everything in it may be somebody else's doing. Compare numbers with the others, by another way, before you say anything here";
    case "leaving": return leaving(note, me);
    case "shared": return shared(note, me);
    case "asked": return asked(note, me);
    case "out": return out(note, me);
    case "lost": if (note.why.startsWith(FASTER)) return "somebody else came in at the same moment: this device tries again";
      return `this device cannot follow the group any more (${note.why}): it comes back by itself, and does not read what is said until then`;
    default: return note.what;
  }
}

function out({ by }, me) {
  const said = "you are not in the group any more";
  // Nobody: this device has left, or it is of before notes said who.
  if (!by) return said;
  return `${by.pub === me ? `your device ${by.device}` : by.user} removed this device: ${said}`;
}

function leaving({ who, revoked }, me) {
  if (!revoked) return `${holdersOf([who])} is leaving`;
  return `${who.pub === me ? "you have" : `${who.user} has`} revoked the device ${who.device}`;
}

/** Nothing but the word of who shares them says that they were said so. */
function shared({ by, with: key, user, count, messages }, me) {
  const who = by.pub === me ? "you" : by.user, whom = key === me ? "you" : user ?? "somebody who is gone";
  const hidden = key === me ? count - messages.length : 0;
  const said = `${who} shared ${plural(count, "earlier message")} with ${whom}`;
  return hidden ? `${said} (${hidden} not shown: of when this device was there itself, or more than may be)` : said;
}

function asked({ by, count }, me) {
  const asks = by.pub === me ? "you ask" : `${holdersOf([by])} asks`;
  return `${asks} for the last ${plural(count, "message")} from before`;
}

function changed({ how, by, joined, left }, me) {
  const isOwn = !by || by.pub === me, who = isOwn ? "you" : by.user;
  const isBy = (one) => by && one.user === by.user && one.device === by.device;
  // Who comes in compares the group with what it knew last: who is in, not who came with it.
  const others = joined.filter((one) => !isBy(one)), to = others.length ? `, to ${holdersOf(others)}` : "";
  // Of before notes said how.
  switch (how ?? (by ? joined.some(isBy) && "in" : "founded")) {
    case "founded": return "you sealed this room";
    case "in": return isOwn ? `you came in${to}` : `${who} came in`;
    case "back": return isOwn ? `you came back${meanwhile(others, left)}` : `${who} came back`;
    case "let_in": return `${who} let you in, to ${holdersOf(joined.filter((one) => one.pub !== me))}`;
    case "let_in_again": return `${who} let you in again${meanwhile(joined.filter((one) => one.pub !== me), left)}`;
    case "gone": return `${holdersOf(left)} went by ${left.length === 1 ? "itself" : "themselves"}`;
    default: return commit(who, by, joined, left);
  }
}

function commit(who, by, joined, left) {
  const said = [];
  if (joined.length) said.push(`let in ${holdersOf(joined)}`);
  const isOwn = by && left.every((one) => one.pub === by.pub), whose = who === "you" ? "your" : "their own";
  if (left.length) said.push(`removed ${isOwn ? `${whose} device ${left.map((one) => one.device).join(", ")}` : holdersOf(left)}`);
  return `${who} ${said.join(" and ") || "renewed keys"}`;
}

function meanwhile(came, went) {
  const said = [];
  if (came.length) said.push(`${holdersOf(came)} came`);
  if (went.length) said.push(`${holdersOf(went)} went`);
  return said.length ? `; meanwhile ${said.join(" and ")}` : "";
}

/** Whether somebody should look at it. */
export function isWarning({ what, by, why }) {
  return what === "key_changed" || what === "other_group" || (what === "lost" && !why.startsWith(FASTER)) || (what === "out" && Boolean(by));
}
