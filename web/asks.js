// Questions over HTTP about sealed rooms: key packages, welcomes, groups. Each is signed with the key of this browser (docs/protocol.md).

import { fromBase64url } from "./tools.js";
import { wasm } from "./wasm.js";

const KEYS = "safe-chat keys proof v1", REQUEST = "safe-chat request proof v1";
const ANSWER_MS = 10_000;

/** The service said no; `after`: milliseconds until it may say something else. */
export class Refused extends Error {
  constructor(status, { reason, message } = {}, after = null) {
    super(message || reason || `the service answers HTTP ${status}`);
    Object.assign(this, { status, reason, after });
  }
}

const text = (part) => new TextEncoder().encode(part);

/** Each part behind its length in two bytes. */
export function parts(...all) {
  return new Uint8Array(all.flatMap((part) => [part.length >> 8, part.length & 255, ...part]));
}

function big(time) {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setBigUint64(0, BigInt(time));
  return new Uint8Array(bytes.buffer);
}

export class Asks {
  /** `who`: { room, user, key }; `sign` signs for the key. `subtle`: WebCrypto, where there is one. */
  constructor(who, sign, subtle = crypto.subtle) { Object.assign(this, { who, sign, subtle }); }

  async signed(method, front, body) {
    const time = Date.now(), hash = await this.hash(text(body));
    const signature = await this.sign(parts(...front, fromBase64url(this.who.key), big(time), hash));
    return `host=${location.host}, time=${time}, signature=${signature}`;
  }

  async hash(bytes) {
    return this.subtle ? new Uint8Array(await this.subtle.digest("SHA-256", bytes)) : (await wasm()).sha256(bytes);
  }

  /** The answer as JSON; null: there is none (404). */
  async ask(method, path, query, body = "") {
    const proof = await this.signed(method, [text(KEYS), text(method), text(location.host), text(path)], body);
    return this.send(method, `${path.slice(1)}${query}`, body, proof);
  }

  async send(method, path, body, proof) {
    const headers = { "safe-chat-proof": proof };
    if (body) headers["content-type"] = "application/json";
    const options = { method, headers, cache: "no-store", referrerPolicy: "same-origin", signal: AbortSignal.timeout(ANSWER_MS) };
    const answer = await fetch(new URL(path, location.href), { ...options, body: body || undefined });
    const found = await answer.json().catch(() => ({}));
    if (answer.status === 200) return found;
    if (answer.status === 404) return null;
    const after = Number(answer.headers.get("retry-after") ?? NaN);
    throw new Refused(answer.status, found.error, after > 0 ? after * 1_000 : null);
  }

  /** What every member and newcomer may know of the group; null: the room has none. */
  group() { return this.ofRoom(this.who.room, "group", {}); }

  /** The last events of a room. */
  async last(room, limit) { return (await this.ofRoom(room, "history", { limit }))?.events ?? []; }

  async ofRoom(room, what, query) {
    const { user, key } = this.who, named = [text("GET"), text(location.host), text(room), text(user)];
    const proof = await this.signed("GET", [text(REQUEST), ...named], "");
    return this.send("GET", `rooms/${room}/${what}?${new URLSearchParams({ user, pub: key, ...query })}`, "", proof);
  }

  /** What waits for this device, of all rooms. */
  async welcomes(device) {
    const { user, key } = this.who;
    return (await this.ask("GET", `/welcomes/${key}/${user}/${device}`, ""))?.welcomes ?? [];
  }

  /** The newest welcome of this device to this room, or null. */
  async welcome(device) {
    const { room, user, key } = this.who, path = `/welcomes/${key}/${user}/${device}`;
    const all = await this.welcomes(device), newest = all.filter((one) => one.room === room).sort((a, b) => b.seq - a.seq)[0];
    return newest ? this.ask("GET", `${path}/${newest.id}`, "") : null;
  }

  /** The device has it. */
  confirm(device, id) {
    const { user, key } = this.who;
    return this.ask("DELETE", `/welcomes/${key}/${user}/${device}/${id}`, "");
  }

  /** Devices of this person of which there are key packages. */
  async devices() {
    const { user, key } = this.who;
    return (await this.ask("GET", `/keys/${key}/${user}/devices`, ""))?.devices ?? [];
  }

  /** One-time key packages that are left of a device. */
  async left(device) {
    return (await this.devices()).find((one) => one.device === device)?.one_time ?? 0;
  }

  /** Publishes key packages: the body is JSON. */
  publish(device, body) {
    const { user, key } = this.who;
    return this.ask("POST", `/keys/${key}/${user}/devices/${device}`, "", body);
  }

  /** Nobody is given key packages of this device any more. */
  forget(device) {
    const { user, key } = this.who;
    return this.ask("DELETE", `/keys/${key}/${user}/devices/${device}`, "");
  }

  /** A key package of each device of somebody, [{ device, package }], and the devices that have none now. */
  async claim(user, key) {
    const found = await this.ask("POST", `/keys/${key}/${user}/claim`, `?pub=${this.who.key}`);
    return { packages: found?.packages ?? [], missing: found?.missing ?? [] };
  }
}
