// The load of `cargo bench --bench peers` on Node.js with `ws`: a set of sockets for each task.

const { createServer } = require("node:http");
const { WebSocketServer } = require("ws");

const tasks = new Map();
const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });

function of(id) {
  let task = tasks.get(id);
  if (task === undefined) tasks.set(id, (task = { offset: 0, sockets: new Set() }));
  return task;
}

server.on("connection", (socket, request) => {
  if (request.url.startsWith("/ws/tasks/")) {
    const { sockets } = of(request.url.slice("/ws/tasks/".length));
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.send('{"event_type":"connection_established","data":{}}');
    return;
  }
  socket.on("message", (text) => {
    const { task_id, event_type, data } = JSON.parse(text);
    const task = of(task_id);
    const offset = ++task.offset;
    const timestamp = new Date().toISOString();
    const event = JSON.stringify({ event_type, task_id, offset, timestamp, data });
    for (const each of task.sockets) each.send(event);
  });
});

http.listen(0, "127.0.0.1", 4096, () => console.log(`127.0.0.1:${http.address().port}`));
