// What the dashboard computes from the answers of GET /overview: rates and quantiles between two of
// them, and what needs attention, in words. No page here, so that tests can run it.

/** Seconds that rates and quantiles look back. */
export const WINDOW = 60;
/** Milliseconds behind which a shard lags visibly. */
const LAG = 2000;

/** The nodes' figures by run of a process: counts begin anew with a new one. */
function byRun(overview) {
  const known = overview.nodes.filter((node) => node.figures);
  return new Map(known.map((node) => [node.incarnation, node.figures]));
}

/** The sum of what a count has grown, over all nodes that both answers have. */
function grown(before, now, of) {
  const earlier = byRun(before);
  let sum = 0;
  for (const [run, figures] of byRun(now)) {
    if (earlier.has(run)) sum += Math.max(0, of(figures) - of(earlier.get(run)));
  }
  return sum;
}

/** Per second between two answers; null when there is no time between them. */
export function rate(before, now, of) {
  const seconds = before ? (now.at - before.at) / 1000 : 0;
  return seconds > 0 ? grown(before, now, of) / seconds : null;
}

/** The answer from which to look back: the oldest within the window. */
export function begin(history, now, seconds = WINDOW) {
  return history.find((past) => past.at < now.at && now.at - past.at <= seconds * 1000) ?? null;
}

/** A histogram of what came between two answers, of all nodes together. */
export function between(before, now, name) {
  const [first] = byRun(now).values();
  if (!before || !first) return null;
  const { bounds } = first[name];
  const counts = Array.from({ length: bounds.length + 1 }, (_, i) => grown(before, now, (figures) => figures[name].counts[i] ?? 0));
  return { bounds, counts };
}

/**
 * The value below which this part of a histogram lies, in seconds, as Prometheus estimates it; null
 * when there is nothing in it. `over`: it lies above the last bound, so that it is more than that.
 */
export function quantile(histogram, part) {
  const total = histogram?.counts.at(-1) ?? 0;
  if (!(total > 0)) return null;
  const { bounds, counts } = histogram;
  const rank = part * total;
  const at = counts.findIndex((count) => count >= rank);
  if (at >= bounds.length) return { seconds: bounds.at(-1), over: true };
  const [low, below] = at === 0 ? [0, 0] : [bounds[at - 1], counts[at - 1]];
  const inside = counts[at] - below;
  const share = inside > 0 ? (rank - below) / inside : 1;
  return { seconds: low + (bounds[at] - low) * share, over: false };
}

/** Every shard of the cluster, with who says that it writes it; null: nobody does. */
export function shards(overview) {
  const rows = Array.from({ length: overview.shards }, (_, shard) => ({ shard, node: null, figures: null }));
  for (const node of overview.nodes) {
    for (const figures of node.figures?.shards ?? []) {
      const row = rows[figures.shard];
      // Of two, the newer epoch: the other one does not know yet that it was replaced.
      if (row && (row.figures?.epoch ?? -1) <= figures.epoch) Object.assign(row, { node: node.name, figures });
    }
  }
  return rows;
}

/** What needs attention, worst first: `{bad, text}`. */
export function problems(overview) {
  const found = [];
  const say = (bad, text) => found.push({ bad, text });
  if (!overview.fresh) say(true, "This node has not heard of the cluster for a while. What follows may be old.");
  for (const node of overview.nodes) {
    const { name, figures } = node;
    if (node.status === "Down") say(true, `${name} is dead, or was declared down. Others take its shards.`);
    else if (!figures) say(true, `${name} does not answer: ${node.error}.`);
    else if (!node.reachable) say(true, `${name} is not heard by every node.`);
    if (!figures) continue;
    const stops = node.draining || node.status === "Leaving" || node.status === "Exiting";
    if (stops) say(false, `${name} stops: it hands its shards over and sends its clients elsewhere.`);
    else if (!figures.ready) say(true, `${name} is not ready: ${figures.why.join("; ") || "it does not say why"}.`);
    for (const warning of figures.warnings) say(false, `${name}: ${warning}.`);
    const gone = figures.bus.filter((link) => !link.connected).map((link) => link.connection);
    if (gone.length) say(true, `${name} has no connection to NATS for ${gone.join(", ")}.`);
    if (figures.bus.some((link) => link.lame_duck)) say(false, `${name}: its nats-server stops soon; it connects to another one.`);
    if (figures.cassandra?.lost) {
      const none = figures.cassandra.connected === 0;
      say(none, `${name} has no connection to ${figures.cassandra.lost} of Cassandra's nodes.`);
    }
  }
  const all = shards(overview);
  const silent = all.filter((row) => !row.node);
  if (silent.length === all.length && all.length > 0) say(true, "No shard is written by a node that answers.");
  else if (silent.length) say(true, `${silent.length === 1 ? "Shard" : "Shards"} ${list(silent.map((row) => row.shard))} ${silent.length === 1 ? "is" : "are"} not written by any node that answers.`);
  const slow = all.filter((row) => (row.figures?.lag_ms ?? 0) > LAG);
  if (slow.length) say(false, `${slow.length === 1 ? "Shard" : "Shards"} ${list(slow.map((row) => row.shard))} ${slow.length === 1 ? "lags" : "lag"} behind.`);
  return found.sort((one, other) => Number(other.bad) - Number(one.bad));
}

/** A few of them, and how many more there are. */
function list(items, most = 8) {
  const more = items.length - most;
  return more > 0 ? `${items.slice(0, most).join(", ")} and ${more} more` : items.join(", ");
}

/* --- as people read it --- */

export function count(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(value < 1e5 ? 1 : 0)} k`;
  return String(Math.round(value));
}

export function perSecond(value) {
  if (value === null) return "–";
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

export function bytes(value) {
  if (value < 1024) return `${value} B`;
  const [size, unit] = value < 1048576 ? [value / 1024, "KiB"] : value < 1073741824 ? [value / 1048576, "MiB"] : [value / 1073741824, "GiB"];
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}

/** A latency: `[number, unit]`. */
export function latency(found) {
  if (!found) return ["–", ""];
  const over = found.over ? "> " : "";
  if (found.seconds >= 1) return [over + found.seconds.toFixed(found.seconds < 10 ? 1 : 0), "s"];
  const ms = found.seconds * 1000;
  return [over + (ms < 10 ? ms.toFixed(1) : Math.round(ms)), "ms"];
}

export function duration(seconds) {
  const [d, h, m] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min` : `${Math.floor(seconds)} s`;
}
