// The dashboard: asks GET /overview again and again, and shows it. A room is looked up when somebody
// asks for it.

const EVERY = 2000;
const PATIENCE = 10000;
/** Answers that are kept, for rates, quantiles and lines: two minutes. */
const KEPT = 61;
const HUES = 8;

const $ = (id) => document.getElementById(id);
const history = [];
let paused = false;
let sorted = { by: "shard", down: false };
let answered = null;

/** An element with text or children; attributes by name. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Answers of this node as JSON; errors are told in words. */
async function ask(path) {
  let answer;
  try {
    // The address of the page may hold the login, which fetch refuses; the browser sends it anyway.
    const url = new URL(path, location.origin + location.pathname);
    answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Error(late ? `it did not answer within ${PATIENCE / 1000} s` : "it cannot be reached: it may have stopped, or the network is gone");
  }
  const text = await answer.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // An answer of something between here and there.
  }
  if (answer.ok && body) return body;
  if (answer.status === 401) throw new Error("the login is not valid any more: load the page again");
  throw new Error(body?.message ?? `it answered ${answer.status}`);
}

/* --- the loop --- */

async function look() {
  if (!paused && !document.hidden) {
    try {
      const now = await ask("overview");
      if (history.length && history.at(-1).node !== now.node) history.length = 0;
      history.push(now);
      while (history.length > KEPT) history.shift();
      answered = Date.now();
      trouble(null);
      show(now);
    } catch (error) {
      trouble(error.message);
    }
  }
  setTimeout(look, EVERY);
}

function trouble(message) {
  const box = $("trouble");
  box.hidden = message === null;
  if (message !== null) {
    const shown = answered === null ? "" : ` What you see is from ${new Date(answered).toLocaleTimeString()}.`;
    box.textContent = `This node does not tell: ${message}. Trying again every ${EVERY / 1000} s.${shown}`;
    state("bad", "no answer");
  }
}

function state(kind, text) {
  const pill = $("state");
  if (pill.textContent !== text) pill.textContent = text;
  pill.className = `pill ${kind}`;
}

function show(now) {
  const found = problems(now);
  const bad = found.filter((problem) => problem.bad).length;
  if (bad) state("bad", bad === 1 ? "1 problem" : `${bad} problems`);
  else if (found.length) state("wait", found.length === 1 ? "1 warning" : `${found.length} warnings`);
  else state("ok", "all well");
  $("from").textContent = `as ${now.nodes.find((node) => node.this)?.name ?? now.node} sees it`;
  $("when").textContent = new Date(now.at).toLocaleTimeString();
  showProblems(found);
  showTiles(now);
  showNodes(now);
  showStores(now);
  showShards(now);
}

function showProblems(found) {
  const text = found.map((problem) => problem.text).join("\n");
  const box = $("problems");
  box.hidden = found.length === 0;
  // A screen reader reads what changes, so nothing is written again that is the same.
  if (box.dataset.text === text) return;
  box.dataset.text = text;
  box.replaceChildren(...found.map((problem) => make("li", { class: problem.bad ? "bad" : "wait" }, problem.text)));
}

/* --- rates and latencies --- */

const RATES = {
  messages: (figures) => figures.journaled,
  deliveries: (figures) => figures.delivered,
  joins: (figures) => figures.joined,
  refusals: (figures) => figures.messages_refused + figures.joins_refused,
};

function showTiles(now) {
  for (const [id, of] of Object.entries(RATES)) {
    const recent = begin(history, now, 10);
    $(id).textContent = perSecond(rate(recent, now, of));
    const steps = history.slice(1).map((answer, i) => rate(history[i], answer, of) ?? 0);
    line($(`${id}-line`), steps);
  }
  const before = begin(history, now);
  for (const name of ["frame_to_journaled", "journaled_to_delivered"]) {
    const seen = between(before, now, name);
    for (const part of [50, 99]) {
      const [value, unit] = latency(quantile(seen, part / 100));
      $(`${name}-${part}`).replaceChildren(value, unit ? make("small", {}, ` ${unit}`) : "");
    }
  }
  const sum = (of) => now.nodes.reduce((all, node) => all + (node.figures ? of(node.figures) : 0), 0);
  $("sessions").textContent = count(sum((figures) => figures.sessions));
  // A room with clients at two nodes is open at both; its shard's owner counts it once.
  $("rooms").textContent = count(shards(now).reduce((all, row) => all + (row.figures?.rooms ?? 0), 0));
  const lag = Math.max(0, ...shards(now).map((row) => row.figures?.lag_ms ?? 0));
  $("lag").replaceChildren(...parts(latency({ seconds: lag / 1000 })));
  $("waiting").textContent = count(sum((figures) => figures.shards.reduce((all, shard) => all + shard.unsettled, 0)));
}

function parts([value, unit]) {
  return [value, make("small", {}, ` ${unit}`)];
}

/** A line through the values, from the right; 0 is the lower edge. */
function line(svg, values) {
  const most = Math.max(...values, 1);
  const step = 100 / (KEPT - 2);
  const points = values.map((value, i) => [100 - (values.length - 1 - i) * step, 27 - (value / most) * 24]);
  const text = points.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" ");
  const [area, stroke] = svg.children;
  stroke.setAttribute("points", text);
  area.setAttribute("points", points.length ? `${points[0][0].toFixed(2)},28 ${text} 100,28` : "");
}

/* --- nodes --- */

/** The hue of a node, the same wherever it is shown. */
function hue(now, name) {
  const at = now.nodes.findIndex((node) => node.name === name);
  return at < 0 ? "none" : at % HUES;
}

function cell(label, ...children) {
  return make("td", { "data-label": label }, make("span", {}, ...children));
}

function showNodes(now) {
  const before = begin(history, now, 10);
  const rows = now.nodes.map((node) => {
    const { figures } = node;
    const own = (answer) => answer && { ...answer, nodes: answer.nodes.filter((one) => one.incarnation === node.incarnation) };
    const each = (of) => (figures ? perSecond(rate(own(before), own(now), of)) : "–");
    const kind = node.status === "Down" || !figures ? "bad" : node.status === "Up" && figures.ready ? "ok" : "wait";
    const word = !figures && node.status !== "Down" ? "no answer" : node.status === "Up" && !figures?.ready ? "not ready" : node.status.toLowerCase();
    const name = make("th", { scope: "row" }, make("i", { class: `dot h${hue(now, node.name)}`, "aria-hidden": "true" }), make("b", {}, node.name), make("span", { class: "address" }, node.node));
    if (node.this) name.querySelector("b").after(make("span", { class: "this" }, "this one"));
    return make(
      "tr", {}, name,
      cell("Status", make("span", { class: `pill ${kind}` }, word)),
      cell("Roles", node.roles.join(", ")),
      cell("Version", node.commit ? `${node.version} ${node.commit}` : node.version),
      cell("Up for", figures ? duration(figures.uptime_seconds) : "–"),
      cell("Sessions", figures ? count(figures.sessions) : "–"),
      cell("Shards", figures ? String(figures.shards.length) : "–"),
      cell("Messages/s", each(RATES.messages)),
      cell("Deliveries/s", each(RATES.deliveries)),
      cell("Memory", figures ? bytes(figures.memory_bytes) : "–"),
    );
  });
  $("nodes").replaceChildren(...rows);
}

function showStores(now) {
  const known = now.nodes.filter((node) => node.figures);
  const bus = known.map((node) => {
    const lost = node.figures.bus.filter((link) => !link.connected);
    const lame = node.figures.bus.some((link) => link.lame_duck);
    const word = lost.length ? `lost: ${lost.map((link) => link.connection).join(", ")}` : lame ? "server stops soon" : "connected";
    return store(node.name, lost.length ? "bad" : lame ? "wait" : "ok", word);
  });
  $("bus").replaceChildren(...bus);
  const cassandra = known.filter((node) => node.figures.cassandra).map((node) => {
    const { connected, lost } = node.figures.cassandra;
    const word = lost ? `${connected} connected, ${lost} lost` : `${connected} connected`;
    return store(node.name, lost ? (connected ? "wait" : "bad") : "ok", word);
  });
  $("cassandra").replaceChildren(...(cassandra.length ? cassandra : [make("li", { class: "none" }, "Not used: rooms are kept in JetStream.")]));
}

function store(name, kind, word) {
  return make("li", {}, make("b", {}, name), make("span", { class: `pill ${kind}` }, word));
}

/* --- shards --- */

const COLUMNS = {
  shard: (row) => row.shard,
  owner: (row) => row.node ?? "",
  epoch: (row) => row.figures?.epoch ?? -1,
  rooms: (row) => row.figures?.rooms ?? -1,
  waiting: (row) => row.figures?.unsettled ?? -1,
  lag: (row) => row.figures?.lag_ms ?? -1,
};

function showShards(now) {
  const all = shards(now);
  const shares = now.nodes.map((node) => [node.name, all.filter((row) => row.node === node.name).length]);
  const silent = all.filter((row) => !row.node).length;
  const words = shares.filter(([, n]) => n).map(([name, n]) => `${name} ${n}`);
  $("shares").textContent = `${all.length} in all: ${[...words, ...(silent ? [`nobody ${silent}`] : [])].join(", ")}`;
  $("map").replaceChildren(...all.map((row) => make("i", { class: `h${hue(now, row.node)}`, title: `${row.shard}: ${row.node ?? "nobody"}` })));
  const of = COLUMNS[sorted.by];
  const order = (one, other) => (of(one) < of(other) ? -1 : of(one) > of(other) ? 1 : one.shard - other.shard);
  const rows = all.toSorted(order);
  if (sorted.down) rows.reverse();
  $("shards").replaceChildren(...rows.map((row) => {
    const owner = row.node ? make("td", {}, make("i", { class: `dot h${hue(now, row.node)}`, "aria-hidden": "true" }), row.node) : make("td", { class: "bad" }, "nobody");
    const lag = row.figures ? `${row.figures.lag_ms} ms` : "–";
    return make("tr", {}, make("th", { scope: "row" }, String(row.shard)), owner, ...[row.figures?.epoch, row.figures?.rooms, row.figures?.unsettled].map((n) => make("td", {}, n === undefined ? "–" : String(n))), make("td", {}, lag));
  }));
}

for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => {
    const by = button.dataset.sort;
    sorted = { by, down: sorted.by === by ? !sorted.down : by !== "shard" && by !== "owner" };
    for (const other of document.querySelectorAll("[data-sort]")) {
      const direction = sorted.down ? "descending" : "ascending";
      other.closest("th").setAttribute("aria-sort", other === button ? direction : "none");
    }
    if (history.length) showShards(history.at(-1));
  });
}

/* --- a room --- */

$("look").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("room").value.trim();
  const problem = $("room-problem");
  problem.hidden = true;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
    problem.textContent = "A room is 1 to 64 characters of A-Z a-z 0-9 _ -.";
    problem.hidden = false;
    $("room").focus();
    return;
  }
  $("look-button").disabled = true;
  try {
    showRoom(await ask(`rooms/${encodeURIComponent(name)}`));
  } catch (error) {
    $("found").hidden = true;
    problem.textContent = `Room ${name} cannot be looked up: ${error.message}.`;
    problem.hidden = false;
  }
  $("look-button").disabled = false;
});

function showRoom(room) {
  const fact = (name, ...values) => make("div", {}, make("dt", {}, name), make("dd", {}, ...values));
  const commit = room.last_commit;
  const sessions = Array.isArray(room.sessions) ? room.sessions : room.sessions.known;
  const silent = Array.isArray(room.sessions) ? [] : room.sessions.unknown_at;
  const facts = [
    fact("Owner", room.owner.node ?? "nobody"),
    fact("Shard, epoch", `${room.shard}, ${room.epoch}`),
    fact("Head", room.head === 0 ? "0: nothing was ever written" : String(room.head)),
    fact("Last commit", commit ? `${new Date(commit.at).toLocaleString()}${commit.epoch === null ? "" : `, epoch ${commit.epoch}`}` : "none"),
    fact("Snapshot", room.snapshot === null ? "none yet" : `up to ${room.snapshot}`),
    fact("Content", room.bytes === null ? "too much to count" : bytes(room.bytes)),
  ];
  const people = room.members.map((user) => {
    const places = sessions.filter((session) => session.user === user).map((session) => short(session.node));
    const at = places.length ? [...new Set(places)].join(", ") : "no session";
    return make("tr", {}, make("th", { scope: "row" }, user), make("td", {}, String(places.length)), make("td", {}, at));
  });
  const head = make("thead", {}, make("tr", {}, ...["Member", "Sessions", "At"].map((text) => make("th", { scope: "col" }, text))));
  const table = people.length ? make("div", { class: "scroll" }, make("table", {}, make("caption", { class: "sr" }, `Members of ${room.room}`), head, make("tbody", {}, ...people))) : make("p", { class: "none" }, "Nobody is in it.");
  const gap = silent.length ? make("p", { class: "wait" }, `Not counted: sessions at ${silent.map(short).join(", ")}, which did not answer.`) : null;
  $("found").replaceChildren(make("h3", {}, room.room), make("dl", {}, ...facts), table, ...(gap ? [gap] : []));
  $("found").hidden = false;
}

/** The name of the node with this address, or the address. */
function short(address) {
  return history.at(-1)?.nodes.find((node) => node.node === address)?.name ?? address;
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) state("wait", "paused");
});

look();
