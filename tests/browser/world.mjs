// Browsers and terminals of one run. Each wait has an end, and says what it waited for.

import { execFileSync, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { read } from "../page/reader.js";

const PATIENCE_MS = 30_000;

/** An address of nobody (RFC 5737), which the browser is told is that of the node: what comes from there by http it calls insecure. */
const PLAIN = "192.0.2.1";

/** What a terminal is told beside what it shows: where, and in which colour. */
const CONTROLS = /\u001b\[[0-9;?]*[A-Za-z]/g;

/** `safe-chat chat --seal`, as a script drives it; `isTyped`: as a person does, with commands, at the terminal that `script` (util-linux) gives it. */
export class Terminal {
  constructor({ program, url, keys }, room, user, isTyped = false) {
    this.lines = [];
    this.waiting = [];
    Object.assign(this, { program, key: join(keys, user) });
    const args = ["chat", url, "--room", room, "--user", user, "--seal", "--key-file", this.key];
    const [run, ...rest] = isTyped ? ["script", "-qfec", [program, ...args].join(" "), "/dev/null"] : [program, ...args];
    this.end = isTyped ? "\r" : "\n";
    this.process = spawn(run, rest, { stdio: "pipe" });
    // The room is on stdout, what concerns this terminal on stderr.
    for (const stream of [this.process.stdout, this.process.stderr]) {
      let rest = "";
      stream.on("data", (data) => {
        const lines = `${rest}${data}`.replaceAll(CONTROLS, "").split("\n");
        rest = lines.pop();
        for (const line of lines) this.heard(line);
      });
    }
  }

  heard(line) {
    this.lines.push(line);
    for (const one of [...this.waiting]) one();
  }

  types(line) { this.process.stdin.write(`${line}${this.end}`); }

  /** The first line from `from` on that fits. */
  reads(pattern, from = 0) {
    return new Promise((resolve, reject) => {
      const end = () => { clearTimeout(late); this.waiting.splice(this.waiting.indexOf(look), 1); };
      const look = () => {
        const found = this.lines.slice(from).find((line) => pattern.test(line));
        if (found) { end(); resolve(found); }
      };
      const late = setTimeout(() => { end(); reject(new Error(`the terminal did not say ${pattern}, but:\n${this.lines.join("\n")}`)); }, PATIENCE_MS);
      this.waiting.push(look);
      look();
    });
  }

  /** What it compares with who has this key. */
  number(key) {
    const args = ["keys", "verify", key, "--key-file", this.key];
    return execFileSync(this.program, args, { encoding: "utf8" }).match(/(\d{5} ?){12}/)[0];
  }

  ends() {
    return new Promise((ended) => {
      this.process.on("exit", ended);
      this.process.stdin.end();
    });
  }
}

export class World {
  /** From the environment, as `cargo xtask browser` sets it. */
  constructor() {
    const { SAFE_CHAT_URL: url, SAFE_CHAT_PROGRAM: program, SAFE_CHAT_BROWSER: browser, SAFE_CHAT_SHOTS: shots, SAFE_CHAT_PLAYWRIGHT: playwright } = process.env;
    Object.assign(this, { url, program, browser, shots, playwright, keys: mkdtempSync(join(tmpdir(), "safe-chat-browser-")) });
    mkdirSync(shots, { recursive: true });
    const plain = new URL(url);
    plain.hostname = PLAIN;
    this.plain = plain.href;
    this.terminals = [];
    this.faults = [];
  }

  async start() {
    const { chromium } = createRequire(join(this.playwright, "package.json"))("playwright-core");
    // As root a browser has no sandbox; it opens nothing but the page.
    this.running = await chromium.launch({ executablePath: this.browser, args: ["--no-sandbox", `--host-resolver-rules=MAP ${PLAIN} ${new URL(this.url).hostname}`] });
  }

  async end() {
    for (const terminal of this.terminals) terminal.process.kill();
    await this.running?.close();
  }

  /** What there is to see when something went wrong. */
  async tells() {
    for (const terminal of this.terminals) console.log(`terminal:\n  ${terminal.lines.join("\n  ")}`);
    const pages = this.running?.contexts().flatMap((context) => context.pages()) ?? [];
    for (const [i, page] of pages.entries()) await this.shot(page, `fault-${i}`).catch(() => {});
    console.log(`complaints of the page: ${JSON.stringify(this.faults)}; pictures: ${this.shots}/fault-*.png`);
  }

  terminal(room, user, isTyped = false) {
    const terminal = new Terminal(this, room, user, isTyped);
    this.terminals.push(terminal);
    return terminal;
  }

  /** A browser of its own: nothing remembered. */
  async person(options = {}) {
    const context = await this.running.newContext({ viewport: { width: 1180, height: 800 }, ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    return context;
  }

  async tab(context) {
    const page = await context.newPage();
    page.on("pageerror", (error) => this.faults.push(error.message));
    page.on("console", (message) => { if (/safe-chat|Content Security/.test(message.text())) this.faults.push(message.text()); });
    page.on("dialog", (dialog) => dialog.accept());
    return page;
  }

  shot(page, name) { return page.screenshot({ path: join(this.shots, `${name}.png`) }); }
}

// --- what a person does in the page

export async function goes(page, world, room, user, url = world.url) {
  await page.goto(`${url}#${room}`);
  await page.waitForFunction(() => document.querySelector("#key").value);   // the page has begun
  await page.fill("#name", user);
  await page.click("#enter");
}

/** To where this person and one of the group are alone. */
export async function goesAlone(page, user) {
  await page.click(`#group-people .member:has-text('${user}')`);
  await page.click("#person-alone");
  await page.locator("#room-name", { hasText: `${user}, alone` }).waitFor();
  await page.waitForSelector("#seal[data-state=compared], #seal[data-state=in]");
}

export async function makesSealed(page, door = "invited") {
  await page.check("#make-sealed");
  if (door === "open") await page.check("#door-open");
  await page.click("#enter");
  await page.waitForSelector("#seal[data-state=compared], #seal[data-state=in]");
}

export async function says(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
  await page.locator("#log .row.own .bubble", { hasText: text }).first().waitFor();
}

export const reads = (page, text) => page.locator("#log .bubble", { hasText: text }).first().waitFor();
export const notes = (page, text) => page.locator("#log .quiet", { hasText: text }).first().waitFor();

/** What a QR code of the page says. */
export const scans = async (page, id) => {
  const [viewBox, path] = await page.locator(id).evaluate((svg) => [svg.getAttribute("viewBox"), svg.firstElementChild.getAttribute("d")]);
  const dark = new Set([...path.matchAll(/M(\d+ \d+)h/g)].map(([, at]) => at)), size = Number(viewBox.split(" ")[2]) - 8;
  return read(Array.from({ length: size }, (_, y) => Array.from({ length: size }, (_, x) => dark.has(`${x} ${y}`))));
};

export const keyOf = (page) => page.evaluate(() => localStorage.getItem("safechat.key"));

/** All that the page's stores have, as text. */
export function stored(page) {
  return page.evaluate(async () => {
    const all = [JSON.stringify(localStorage), JSON.stringify(sessionStorage)];
    const done = (request) => new Promise((resolve, reject) => { request.onsuccess = () => resolve(request.result); request.onerror = () => reject(request.error); });
    for (const { name } of await indexedDB.databases()) {
      const base = await done(indexedDB.open(name));
      for (const store of base.objectStoreNames) {
        for (const value of await done(base.transaction(store).objectStore(store).getAll())) {
          const bytes = value?.locked ? new TextDecoder("latin1").decode(value.locked) : "";
          all.push(`${name}/${store}: ${JSON.stringify(value)} ${bytes}`);
        }
      }
      base.close();
    }
    return all.join("\n");
  });
}
