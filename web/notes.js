// What changed in the group of a sealed room, in words. Pure.

/** harry (phone), charly (web-1) */
export function holdersOf(all) {
  return all.map(({ user, device }) => `${user} (${device})`).join(", ");
}

/** One note of an event; `me` is the own key. */
export function words(note, me) {
  switch (note.what) {
    case "changed": return changed(note, me);
    case "key_changed": return `${note.user} has another key than before: compare your number again`;
    case "other_group": return "the room has another group than before: everything in it may be somebody else's doing";
    case "leaving": return `${holdersOf([note.who])} is leaving`;
    case "out": return "you are not in the group any more";
    case "lost": return `this device lost the group (${note.why}) and comes back`;
    default: return note.what;
  }
}

function changed({ by, joined, left, epoch }, me) {
  const who = !by || by.pub === me ? "you" : by.user;
  const others = (all) => all.filter((one) => !by || one.user !== by.user || one.device !== by.device);
  const came = others(joined), cameSelf = came.length < joined.length;
  if (epoch === 0 && !by) return "you sealed this room";
  // Of a welcome: all who are in, this device too.
  if (by && by.pub !== me && joined.some((one) => one.pub === me)) {
    return `${who} let you in, to ${holdersOf(joined.filter((one) => one.pub !== me))}`;
  }
  // It compares the group with what it knew last: who is in, not who came with it.
  if (cameSelf && who === "you") return `you came in${came.length ? `, to ${holdersOf(came)}` : ""}`;
  const said = [];
  if (cameSelf) said.push("came in");
  if (came.length) said.push(`let in ${holdersOf(came)}`);
  if (left.length) said.push(`removed ${holdersOf(left)}`);
  return `${who} ${said.join(" and ") || "renewed keys"}`;
}

/** Whether somebody should look at it. */
export function isWarning({ what }) {
  return what === "key_changed" || what === "other_group" || what === "lost";
}
