// What the end of a connection or a refused one means, and how to say it to a person.

const ANSWER_MS = 10_000;

/** What a close code means for us: reconnect or not, and in which words. */
export function closePolicy(code) {
  switch (code) {
    case 4001: return { reconnect: false, why: "An operator ended this session." };
    case 4002: return { reconnect: false, why: "The service did not understand this page: too many bad frames. A reload may bring a newer page." };
    case 4004: return { reconnect: false, why: "The proof of your key failed." };
    case 4005: return { reconnect: false, why: "This session went on in another tab.", action: "Use it here" };
    case 4003: return { reconnect: true, soon: true, why: "This page was too slow for the room; it takes up where it stopped." };
    case 4006: return { reconnect: true, soon: true, why: "The service heard nothing from here." };
    case 4010: return { reconnect: true, why: "The room is not available now." };
    case 1001: return { reconnect: true, why: "The service moves this session to another node." };
    default: return { reconnect: true, why: "The connection was lost." };
  }
}

export const RETRYABLE = new Set(["draining", "unavailable", "rate_limited"]);

/**
 * Why a connection was not accepted. A page cannot see the HTTP answer to a failed upgrade, so it asks again without one:
 * { down } nothing answers, { reason, message, retryAfter } a refusal in the service's words, { unknown } it only refuses WebSockets.
 */
export async function diagnose({ room, user, key }) {
  const ask = (path) => fetch(path, { cache: "no-store", signal: AbortSignal.timeout?.(ANSWER_MS) });
  const refusal = async (answer) => {
    const { error } = await answer.json().catch(() => ({}));
    const retryAfter = Number(answer.headers.get("retry-after")) * 1000 || null;
    if (error?.reason) return { reason: error.reason, message: error.message ?? "", retryAfter };
    return answer.status >= 500 ? { down: true, status: answer.status } : null;
  };
  try {
    const history = await ask(`/rooms/${room}/history?limit=1`);
    if (!history.ok) return (await refusal(history)) ?? { unknown: true };
    const upgrade = await refusal(await ask(`/chat/${room}/user/${user}?pub=${key}`));
    return upgrade && !["upgrade_required", "not_found"].includes(upgrade.reason) ? upgrade : { unknown: true };
  } catch {
    return { down: true };
  }
}

/** A refusal in words for a person. */
export function words(found, { room, user }) {
  switch (found.reason) {
    case "key_mismatch": return `The name “${user}” is taken in #${room}: somebody came first, with another key. Choose another name, or bring the key that was used there (under “Your key”).`;
    case "too_many_sessions": return `“${user}” is in #${room} with too many sessions already. Close one of them.`;
    case "bad_pub": return "The service does not accept this key.";
    case "draining": return "This node is being stopped; another one takes over.";
    case undefined: return `The service answers, but did not let you into #${room}. Perhaps the name “${user}” is taken there with another key, or has too many sessions open; or something between here and the service does not pass WebSockets on.`;
    default: return found.message ? `${found.reason}: ${found.message}` : found.reason;
  }
}
