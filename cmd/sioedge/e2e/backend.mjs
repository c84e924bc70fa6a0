// An application that sioedge asks and tells by HTTP. Requests are verified by the library
// of Standard Webhooks; what they tell comes as lines of JSON: {"item"}, or {"wrong"}.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { Webhook } = createRequire(new URL("../../../sio/interop/package.json", import.meta.url))("standardwebhooks");
const signed = new Webhook(process.argv[2]);
const say = (x) => process.stdout.write(JSON.stringify(x) + "\n");

const answers = {
  connect({ auth, handshake }) {
    const user = auth?.token ?? handshake.query.access_token;
    if (!user || user === "eve") return { error: { message: "not allowed", data: { code: 403, user: user ?? null } } };
    return {
      user, data: { plan: "pro" }, join: ["lobby", `user:${user}`],
      emit: [{ ev: "welcome", args: [{ user }] }],
    };
  },
  event({ ev, args, user, data, attachments, ack }) {
    switch (ev) {
      case "echo": return { ack: args, attachments };
      case "whoami": return { ack: [{ user, data }] };
      case "say": return { actions: [{ op: "emit", to: [args[0]], except: ["$sid"], ev: "said", args: [{ user, text: args[1] }] }], ...(ack && { ack: [true] }) };
      case "enter": return { ack: [true], actions: [{ op: "join", rooms: [args[0]] }] };
      case "exit": return { ack: [true], actions: [{ op: "leave", rooms: [args[0]] }] };
      case "mark": return { ack: [true], actions: [{ op: "data", set: args[0] }] };
      case "ban": return { actions: [{ op: "emit", to: [`user:${args[0]}`], ev: "banned", args: [] }, { op: "disconnect", code: 4403, reason: "banned", close: true }] };
    }
  },
};

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part)).on("end", () => {
    let body;
    try {
      body = signed.verify(Buffer.concat(parts), request.headers);
    } catch (e) {
      say({ wrong: e.message });
      response.writeHead(401).end();
      return;
    }
    for (const item of body.events) say({ item: { ...item, node: body.node } });
    const results = body.events.map((item) => ({ id: item.id, ...answers[item.type]?.(item) }));
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ results }));
  });
});
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
process.stdin.on("end", () => process.exit()).resume();
