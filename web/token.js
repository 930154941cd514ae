// Tokens: where a room asks for one, whoever shows this page in a frame hands it over, in a message and never in an address.
// Which pages may do that, the browser knows (`gateway.frame_ancestors`).

const WAIT_MS = 10_000;   // the page around this one asks its own server first

/** Refusals that another token may change. */
export const TOKEN_REASONS = new Set(["token_required", "token_invalid", "token_expired", "forbidden"]);

let known = null;
const waiting = new Set();

globalThis.addEventListener?.("message", ({ source, data }) => {
  if (source !== globalThis.parent || data?.type !== "safechat.token" || typeof data.token !== "string") return;
  known = data.token;
  for (const take of waiting) take(known);
  waiting.clear();
});

/** The last token that was handed over, or null. */
export function token() { return known; }

/** Asks the page around this one for a new token; null: there is no such page, or it has none. */
export function renew({ room, user }) {
  const around = globalThis.parent;
  if (!around || around === globalThis || !around.postMessage) return Promise.resolve(null);
  return new Promise((resolve) => {
    const late = setTimeout(() => { waiting.delete(take); resolve(null); }, WAIT_MS);
    const take = (found) => { clearTimeout(late); resolve(found); };
    waiting.add(take);
    // What it says is in the address of the frame already, so anybody may read it.
    around.postMessage({ type: "safechat.token-wanted", room, user }, "*");
  });
}
