// The least chat on socket.io, in its memory: events carry the frames of `loadtest bare`.
// Nothing is stored; the last events are kept for those who resume.   node socketio.js PORT
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const KEPT = 4096;
const rooms = new Map();

function room(name) {
  let found = rooms.get(name);
  if (!found) rooms.set(name, (found = { head: 0, recent: [] }));
  return found;
}

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.on("connection", (socket) => {
  const { room: name, user, since } = socket.handshake.auth;
  const { head, recent } = room(name);
  socket.join(name);
  const missed = since === null ? 0 : head - since;
  socket.emit("e", {
    type: "welcome", room: name, user, session: socket.id, seq: head,
    recovered: missed <= recent.length, members: [], epoch: 1, node: "socketio",
  });
  for (const event of recent.slice(recent.length - missed)) socket.emit("e", event);
  socket.on("c", (frame) => {
    if (frame.type !== "send") return;
    const here = room(name);
    const seq = ++here.head;
    const event = {
      type: "event", seq, at: Date.now(), kind: "text", from: user, text: frame.text, id: frame.id,
    };
    here.recent.push(event);
    if (here.recent.length > 2 * KEPT) here.recent = here.recent.slice(-KEPT);
    io.to(name).emit("e", event);
    socket.emit("e", { type: "journaled", id: frame.id, seq, epoch: 1, duplicate: false });
  });
});

http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
