// Small tools: elements, numbers, times, random ids. None of them knows the chat.

export const $ = (id) => document.getElementById(id);
export const bytes = (text) => new TextEncoder().encode(text).length;
export const number = new Intl.NumberFormat();
export const plural = (n, one) => `${number.format(n)} ${one}${n === 1 ? "" : "s"}`;
/** 40 s, 3 min */
export const duration = (ms) => (ms < 120_000 ? `${Math.ceil(ms / 1_000)} s` : `${Math.ceil(ms / 60_000)} min`);
export const wellFormed = (text) => (text.toWellFormed ? text.toWellFormed() : text);

export function base64url(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

export function fromBase64url(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
}

export function randomId(size) {
  return base64url(crypto.getRandomValues(new Uint8Array(size)));
}

/** Creates an element: make("b", { className: "x" }, "text", child). Strings become text nodes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** The name of a user. A service that is not honest could give text instead, that reads like a message of somebody. */
export const named = (name) => (name === "*" || /^[A-Za-z0-9_-]{1,64}$/.test(name) ? name : "(no name)");

export function parsed(json, otherwise) {
  try { return JSON.parse(json) ?? otherwise; } catch { return otherwise; }
}
