// The least chat on Bun: rooms are topics of uWebSockets, in the protocol of `loadtest bare`.
// Nothing is stored; the last events are kept for those who resume.   bun bun.js PORT
const KEPT = 4096;
const rooms = new Map();

function room(name) {
  let found = rooms.get(name);
  if (!found) rooms.set(name, (found = { head: 0, recent: [] }));
  return found;
}

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request) {
    const url = new URL(request.url);
    const [, , name, , user] = url.pathname.split("/");
    const since = url.searchParams.get("since");
    const data = { name, user, since: since === null ? null : Number(since) };
    if (server.upgrade(request, { data })) return;
    return new Response("a WebSocket is needed", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    backpressureLimit: 256 * 1024 * 1024,
    open(socket) {
      const { name, user, since } = socket.data;
      const { head, recent } = room(name);
      socket.subscribe(name);
      const missed = since === null ? 0 : head - since;
      socket.send(JSON.stringify({
        type: "welcome", room: name, user, session: "bun", seq: head,
        recovered: missed <= recent.length, members: [], epoch: 1, node: "bun",
      }));
      for (const event of recent.slice(recent.length - missed)) socket.send(event);
    },
    message(socket, text) {
      const frame = JSON.parse(text);
      if (frame.type === "ping") return void socket.send(`{"type":"pong","id":"${frame.id}"}`);
      if (frame.type !== "send") return;
      const { name, user } = socket.data;
      const here = room(name);
      const seq = ++here.head;
      const event = JSON.stringify({
        type: "event", seq, at: Date.now(), kind: "text", from: user, text: frame.text, id: frame.id,
      });
      here.recent.push(event);
      if (here.recent.length > 2 * KEPT) here.recent = here.recent.slice(-KEPT);
      server.publish(name, event);
      socket.send(JSON.stringify({
        type: "journaled", id: frame.id, seq, epoch: 1, duplicate: false,
      }));
    },
  },
});
