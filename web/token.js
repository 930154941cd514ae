// Tokens: where a room asks for one, whoever shows this page in a frame hands it over, in a message and never in an address.
// Which pages may do that, the browser knows (`gateway.frame_ancestors`).

const FORM = /^[A-Za-z0-9._-]+$/;            // what can be the name of a subprotocol; a JWT is no more
const WAIT_MS = { connect: 1_000, refused: 10_000 };   // the page around this one asks its own server first

/** Refusals that another token may change. */
export const TOKEN_REASONS = new Set(["token_required", "token_invalid", "token_expired", "forbidden"]);

let known = null;      // { token, room }, the last one; without a room it was handed over unasked, for any
let asked = null;      // the room that was asked for last
let isMute = false;    // the page around this one was asked, and does not answer
const waiting = new Set();

globalThis.addEventListener?.("message", ({ source, data }) => {
  if (source !== globalThis.parent || data?.type !== "safechat.token" || typeof data.token !== "string") return;
  const token = data.token.trim(), about = typeof data.room === "string" ? data.room : null;
  isMute = false;
  const isToken = FORM.test(token);
  if (isToken) known = { token, room: about ?? asked };
  else console.warn("The page around this one handed over what is no token: letters, digits, and . _ - are.");
  for (const { room, take } of [...waiting]) if (about === null || about === room) take(isToken ? token : null);
});

/** The last token that was handed over for a room, or null. */
export function token(room) { return known && (known.room === null || known.room === room) ? known.token : null; }

/** Whether a page around this one can be asked. */
export function isFramed() {
  const around = globalThis.parent;
  return Boolean(around && around !== globalThis && around.postMessage);
}

/** Asks the page around this one for a new token; null: there is no such page, or it has none. */
export function renew(who) { return ask(who, WAIT_MS.refused); }

/**
 * The token for a connection to come: a new one if it comes soon, else the last one. A page that shows this one in a frame and has
 * never answered is asked, and not waited for.
 */
export async function fresh(who) {
  const wanted = ask(who, WAIT_MS.connect);
  const found = isMute ? null : await wanted;
  return found ?? token(who.room);
}

function ask({ room, user }, patience) {
  if (!isFramed()) return Promise.resolve(null);
  return new Promise((resolve) => {
    const take = (found) => { clearTimeout(late); waiting.delete(entry); resolve(found); };
    const entry = { room, take };
    const late = setTimeout(() => { isMute = known === null; take(null); }, patience);
    waiting.add(entry);
    asked = room;
    // What it says is in the address of the frame already, so anybody may read it.
    globalThis.parent.postMessage({ type: "safechat.token-wanted", room, user }, "*");
  });
}
