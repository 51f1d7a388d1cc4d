// The load of `cargo bench --bench peers` on Bun: a topic for each task.

const offsets = new Map();

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const path = new URL(request.url).pathname;
    const task = path.startsWith("/ws/tasks/") ? path.slice("/ws/tasks/".length) : null;
    if (server.upgrade(request, { data: { task } })) return;
    return new Response("a WebSocket is expected", { status: 426 });
  },
  websocket: {
    idleTimeout: 0,
    perMessageDeflate: false,
    open(socket) {
      if (socket.data.task === null) return;
      socket.subscribe(socket.data.task);
      socket.send('{"event_type":"connection_established","data":{}}');
    },
    message(_socket, text) {
      const { task_id, event_type, data } = JSON.parse(text);
      const offset = (offsets.get(task_id) ?? 0) + 1;
      offsets.set(task_id, offset);
      const timestamp = new Date().toISOString();
      const event = JSON.stringify({ event_type, task_id, offset, timestamp, data });
      server.publish(task_id, event);
    },
  },
});

console.log(`127.0.0.1:${server.port}`);
