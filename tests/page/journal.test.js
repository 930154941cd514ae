// The events of the room that the page holds.

import assert from "node:assert/strict";
import { it } from "node:test";

import { Journal } from "../../web/journal.js";

it("says when an event was stored that it holds and can show", () => {
  const journal = new Journal();
  journal.take({ seq: 5, at: 500, kind: "joined", from: "harry" });
  journal.take({ seq: 6, at: 600, kind: "text", from: "harry", text: "Hello" });
  journal.take({ seq: 7, at: 700, kind: "of a later version", from: "harry" });
  journal.takeEarlier([{ seq: 2, at: 200, kind: "joined", from: "kim" }], true);
  assert.deepEqual([2, 3, 4, 5, 6, 7, 8].map((seq) => journal.at(seq)), [200, null, null, 500, 600, null, null]);
});
