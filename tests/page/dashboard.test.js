// What the dashboard computes: rates and quantiles between two answers, and what needs attention.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { begin, between, bytes, count, duration, latency, perSecond, problems, quantile, rate, shards } from "../../src/ops/dashboard/figures.js";

const figures = (more = {}) => ({
  ready: true, why: [], warnings: [], journaled: 0, bus: [], cassandra: null,
  frame_to_journaled: { bounds: [0.1, 1], counts: [0, 0, 0] }, shards: [], ...more,
});
const node = (name, more = {}) => ({ name, incarnation: name, status: "Up", reachable: true, draining: false, figures: figures(), ...more });
const overview = (at, nodes, more = {}) => ({ at, fresh: true, shards: 0, nodes, ...more });
const texts = (answer) => problems(answer).map((problem) => problem.text);

describe("rates", () => {
  const journaled = (n) => figures({ journaled: n });
  const of = (it) => it.journaled;

  it("are those of all nodes together", () => {
    const before = overview(1000, [node("a", { figures: journaled(5) }), node("b", { figures: journaled(7) })]);
    const now = overview(3000, [node("a", { figures: journaled(15) }), node("b", { figures: journaled(17) })]);
    assert.equal(rate(before, now, of), 10);
    assert.equal(rate(null, now, of), null);
  });

  it("do not count a node that began anew, or that came later", () => {
    const before = overview(1000, [node("a", { figures: journaled(500) })]);
    const now = overview(2000, [node("a", { incarnation: "a2", figures: journaled(3) }), node("b", { figures: journaled(9) })]);
    assert.equal(rate(before, now, of), 0);
  });

  it("look back as far as the window", () => {
    const past = [0, 30_000, 61_000, 90_000].map((at) => overview(at, []));
    assert.equal(begin(past, past[3]).at, 30_000);
    assert.equal(begin([past[3]], past[3]), null);
  });
});

describe("quantiles", () => {
  const told = (counts) => ({ bounds: [0.1, 0.2, 1], counts });

  it("are estimated within their bucket", () => {
    assert.deepEqual(quantile(told([0, 10, 10, 10]), 0.5), { seconds: 0.15000000000000002, over: false });
    assert.deepEqual(quantile(told([10, 10, 10, 10]), 0.5), { seconds: 0.05, over: false });
  });

  it("above the last bound are more than that, and of nothing are nothing", () => {
    assert.deepEqual(quantile(told([0, 0, 1, 10]), 0.99), { seconds: 1, over: true });
    assert.equal(quantile(told([0, 0, 0, 0]), 0.5), null);
    assert.equal(quantile(null, 0.5), null);
  });

  it("are of what came between two answers", () => {
    const at = (time, counts) => overview(time, [node("a", { figures: figures({ frame_to_journaled: { bounds: [0.1, 1], counts } }) })]);
    assert.deepEqual(between(at(0, [5, 6, 6]), at(1, [5, 9, 9]), "frame_to_journaled").counts, [0, 3, 3]);
  });
});

describe("what needs attention", () => {
  it("is nothing when all is well", () => {
    const shard = { shard: 0, epoch: 1, rooms: 0, unsettled: 0, lag_ms: 5 };
    const all = overview(0, [node("a", { figures: figures({ shards: [shard] }) })], { shards: 1 });
    assert.deepEqual(texts(all), []);
  });

  it("is told in words, worst first", () => {
    const bus = [{ connection: "live", connected: false, lame_duck: false }];
    const all = overview(0, [
      node("a", { figures: figures({ warnings: ["the clock is off"], bus }) }),
      node("b", { figures: undefined, error: "it does not answer within a second" }),
      node("c", { draining: true, figures: figures({ ready: false, why: ["draining"] }) }),
      node("d", { figures: figures({ ready: false, why: ["no journal"], cassandra: { connected: 0, lost: 3 } }) }),
    ]);
    assert.deepEqual(texts(all), [
      "a has no connection to NATS for live.",
      "b does not answer: it does not answer within a second.",
      "d is not ready: no journal.",
      "d has no connection to 3 of Cassandra's nodes.",
      "a: the clock is off.",
      "c stops: it hands its shards over and sends its clients elsewhere.",
    ]);
  });

  it("names shards that nobody writes, and those that lag", () => {
    const shard = (n, lag_ms) => ({ shard: n, epoch: 1, rooms: 0, unsettled: 0, lag_ms });
    const all = overview(0, [node("a", { figures: figures({ shards: [shard(0, 9000), shard(2, 0)] }) })], { shards: 4 });
    assert.deepEqual(texts(all), ["Shards 1, 3 are not written by any node that answers.", "Shard 0 lags behind."]);
  });
});

it("a shard is of the node with the newest epoch", () => {
  const writes = (epoch) => figures({ shards: [{ shard: 0, epoch, rooms: 0, unsettled: 0, lag_ms: 0 }] });
  const all = overview(0, [node("new", { figures: writes(5) }), node("old", { figures: writes(4) })], { shards: 2 });
  assert.deepEqual(shards(all).map((row) => row.node), ["new", null]);
});

it("figures are written for people", () => {
  assert.deepEqual([0, 999, 12_345, 250_000, 2_500_000].map(count), ["0", "999", "12.3 k", "250 k", "2.5 M"]);
  assert.deepEqual([null, 0, 0.25, 9.94, 10].map(perSecond), ["–", "0", "0.3", "9.9", "10"]);
  assert.deepEqual([5, 2048, 300 * 1048576].map(bytes), ["5 B", "2.0 KiB", "300 MiB"]);
  assert.deepEqual([59, 61, 3700, 200_000].map(duration), ["59 s", "1 min", "1 h 1 min", "2 d 7 h"]);
  assert.deepEqual(latency({ seconds: 0.0042, over: false }), ["4.2", "ms"]);
  assert.deepEqual(latency({ seconds: 10, over: true }), ["> 10", "s"]);
  assert.deepEqual(latency(null), ["–", ""]);
});
