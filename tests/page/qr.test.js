// QR codes of the page and of the terminal, as a reader reads them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { gunzipSync } from "node:zlib";

import { draw } from "../../web/qr.js";
import { read } from "./reader.js";

const HALVES = { " ": [0, 0], "\u2580": [1, 0], "\u2584": [0, 1], "\u2588": [1, 1] };

let seal;
before(async () => {
  seal = await import("../../web/seal.js");
  await seal.default({ module_or_path: gunzipSync(readFileSync(new URL("../../web/seal_bg.wasm.gz", import.meta.url))) });
});

/** What an SVG of the page shows. */
function drawn(text) {
  const shown = {}, path = { setAttribute: (name, value) => { shown[name] = value; } };
  draw({ firstElementChild: path, setAttribute: path.setAttribute }, seal, text);
  const [left, top, width, height] = shown.viewBox.split(" ").map(Number);
  assert.deepEqual([left, top, height], [-4, -4, width]);
  const dark = new Set([...shown.d.matchAll(/M(\d+ \d+)h1v1h-1z/g)].map(([, at]) => at)), size = width - 8;
  return Array.from({ length: size }, (_, y) => Array.from({ length: size }, (_, x) => dark.has(`${x} ${y}`)));
}

describe("a QR code", () => {
  it("of the page has the digits that people compare, and the link with a key", () => {
    for (const text of ["012345678901234567890123456789012345678901234567890123456789", link("http://192.168.1.20:8080/chat/")]) {
      assert.equal(read(drawn(text)), text);
    }
  });

  // src/cli/keys/qr.rs draws the same.
  it("of the terminal has the link that stands below it, in black on white with a margin", () => {
    const lines = readFileSync(new URL("../golden/key.qr", import.meta.url), "utf8").trimEnd().split("\n"), below = lines.pop();
    const rows = lines.flatMap((line) => {
      const [, modules] = /^\u001b\[38;5;16;48;5;231m(.*)\u001b\[0m$/.exec(line);
      return [0, 1].map((half) => Array.from(modules, (one) => HALVES[one][half] === 1));
    });
    const size = rows[0].length - 8, isDark = (row) => row.includes(true);
    assert.ok(!rows.slice(0, 4).some(isDark) && !rows.slice(4 + size).some(isDark));
    assert.equal(read(rows.slice(4, 4 + size).map((row) => row.slice(4, 4 + size))), below);
    assert.equal(below, link("https://chat.example/"));
  });
});

function link(page) {
  return `${page}#key=${readFileSync(new URL("../../seal/tests/identity.v1", import.meta.url), "utf8").trim()}`;
}
