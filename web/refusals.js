// What the end of a connection or a refused one means, and how to say it to a person.

const ANSWER_MS = 10_000;

/** What a close code means for us: reconnect or not, and in which words. */
export function closePolicy(code, reason) {
  switch (code) {
    case 4001: return { reconnect: false, why: "An operator ended this session." };
    case 4002: return { reconnect: false, why: "The service did not understand this page: too many bad frames. A reload may bring a newer page." };
    case 4004: return { reconnect: false, why: `The proof of your key failed${reason ? `: ${reason}` : ""}.` };
    case 4005: return { replaced: true, why: "Another connection took this tab's session over." };
    case 4003: return { reconnect: true, soon: true, why: "This page was too slow for the room; it takes up where it stopped." };
    case 4006: return { reconnect: true, soon: true, why: "The service heard nothing from here." };
    case 4007: return { reconnect: true, soon: true, why: "The permission to be here has expired." };
    case 4008: return { reconnect: false, why: "The service does not accept the permission to be here." };
    case 4010: return { reconnect: true, why: "The room is not available now." };
    case 1001: return { reconnect: true, why: "The service moves this session to another node." };
    default: return { reconnect: true, why: "The connection was lost." };
  }
}

/** Refusals that mean that the name is somebody else's. */
export const TAKEN = new Set(["key_mismatch", "proof_required"]);

/** Refusals that pass by themselves. */
export const RETRYABLE = new Set(["draining", "unavailable", "rate_limited", "busy"]);

/**
 * Why a connection was not accepted. A page cannot see the HTTP answer to a failed upgrade, so it
 * asks the same address again without one, which is refused for the same reason.
 * { reason, message, retryAfter } is a refusal in the service's words, { down } means that nothing
 * or something else answered, { blocked } that the service would take the upgrade.
 */
export async function diagnose({ room, user, key, device, proves, policy }, token = null) {
  const query = new URLSearchParams({ pub: key, device });
  if (policy) query.set("policy", policy);
  if (proves) query.set("auth", 1);
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  try {
    const found = await asked(`chat/${room}/user/${user}?${query}`, { headers });
    if (found.reason !== "upgrade_required") return found;
    return (await foreignOrigin(room, user, key, headers)) ?? { blocked: true };
  } catch {
    return { down: true };
  }
}

/**
 * What a room is: "sealed", "other" (open or proven), or "new", when nobody has made it yet; null: it
 * cannot be seen. `proves`: whether this browser proves its key; without that it sees less.
 */
export async function policyOf({ room, user, key, device, proves }) {
  const refusal = async (policy) => {
    const query = new URLSearchParams({ pub: key, device, policy, ...(proves ? { auth: 1 } : {}) });
    return (await asked(`chat/${room}/user/${user}?${query}`)).reason;
  };
  try {
    const sealed = proves ? await refusal("sealed") : "upgrade_required";
    if (sealed === "other_policy") return "other";
    if (sealed !== "upgrade_required") return null;
    const open = await refusal("open");
    if (open === "other_policy") return "sealed";
    return open === "upgrade_required" ? "new" : null;
  } catch {
    return null;
  }
}

/**
 * A browser names the page's origin with an upgrade and with a POST, but with a GET of the same
 * site only as Referer, which proxies and extensions may remove. So a POST tells for certain
 * whether the origin is the reason; without a message in it nothing is sent.
 */
async function foreignOrigin(room, user, key, headers) {
  const query = new URLSearchParams({ user, pub: key });
  const found = await asked(`rooms/${room}/messages?${query}`, { method: "POST", body: "{}", headers });
  return found.reason === "bad_origin" ? found : null;
}

/** Asks what is beside the page. */
async function asked(path, options = {}) {
  // The page otherwise names itself to nobody; here the service is to see where it is.
  const usual = { cache: "no-store", referrerPolicy: "same-origin" };
  const signal = AbortSignal.timeout?.(ANSWER_MS);
  const answer = await fetch(new URL(path, location.href), { ...usual, signal, ...options });
  const { error } = await answer.json().catch(() => ({}));
  const { status } = answer;
  if (!error?.reason) return { down: true, status };
  const retryAfter = Number(answer.headers.get("retry-after")) * 1000 || null;
  return { reason: error.reason, message: error.message ?? "", retryAfter, status };
}

/** A refusal in words for a person. */
export function words(found, { room, user, policy }) {
  const { host, origin } = location;
  if (found.down && found.status) {
    return `${host} answers, but not as safe-chat (HTTP ${found.status}).`;
  }
  if (found.down) return `No answer from ${host}.`;
  if (found.blocked) {
    return `The service would let you into #${room}, but something between here and there does not `
      + "pass WebSockets on.";
  }
  switch (found.reason) {
    case "key_mismatch": return `The name “${user}” is taken in #${room}: somebody came first, with another key. Choose another name, or load the key that was used there (under “Your key”).`;
    case "proof_required": return `“${user}” needs a proof of the key in #${room}, which this browser cannot give. Come with the browser that has the key, or choose another name.`;
    case "too_many_sessions": return `“${user}” is in #${room} with too many sessions already. `
      + "Close one of them, or wait a minute if it is gone.";
    case "bad_origin": return `The service does not let pages of ${origin} in. A proxy can be the cause: `
      + `let it pass the header Host on and name ${host} in gateway.public_hosts, or name ${origin} in `
      + "gateway.allowed_origins.";
    case "token_required": return `#${room} needs a permission, which the page around this one gives: `
      + "open it from where you are known.";
    case "token_expired": return `The permission to be in #${room} has expired: open it again from where you are known.`;
    case "token_invalid": return `The service does not accept the permission for #${room}.`;
    case "forbidden": return `“${user}” has no permission for #${room}.`;
    case "other_policy": return policy === "sealed"
      ? `#${room} is not sealed: the service would read all that is said in it. Take another room.`
      : `Somebody has just made #${room}, and it is not what you wanted. Join again to see it.`;
    case "bad_pub": return "The service does not accept this key.";
    case "bad_user": return `The service does not accept the name “${user}”.`;
    case "bad_room": return `The service does not accept the room name “${room}”.`;
    case "draining": return "This node is being stopped; another one takes over.";
    case "rate_limited": return "Too many connections or messages come from here just now.";
    case "unavailable": return `#${room} is not available now.`;
    default: return found.message ? `${found.reason}: ${found.message}` : found.reason;
  }
}
