// Typed events with the bridge: checked by tsc alone, nothing runs.
import { Server } from "socket.io";
import { attach, Bridge } from "sioedge-bridge";
import bridges = require("sioedge-bridge");

interface FromClients { say: (text: string, answer: (n: number) => void) => void }
interface ToClients { said: (name: string, text: string) => void }
interface BetweenServers { ping: (n: number) => void }
interface Data { name: string }

const io = new Server<FromClients, ToClients, BetweenServers, Data>({ connectionStateRecovery: {} });
const bridge: Bridge = attach(io, { edges: ["http://edge-1:9000", "http://edge-2:9000"], key: "k" });
bridges.attach(new Server(), { edges: ["http://edge-1:9000"], key: "k", name: "main", data: "eager" });

io.on("connection", (socket) => {
  const name: string = socket.data.name;
  const recovered: boolean = socket.recovered;
  socket.on("say", (text, answer) => {
    io.emit("said", name, text.trim());
    answer(recovered ? 1 : 0);
  });
  io.serverSideEmit("ping", 1);
  // @ts-expect-error there is no such event
  socket.emit("unheard");
  // @ts-expect-error its second argument is text
  socket.emit("said", name, 1);
});

// @ts-expect-error the key is missing
attach(io, { edges: ["http://edge-1:9000"] });
// @ts-expect-error edges is a list
attach(io, { edges: "http://edge-1:9000", key: "k" });
// @ts-expect-error that is no server
attach({}, { edges: ["http://edge-1:9000"], key: "k" });

async function stop(): Promise<void> {
  await bridge.ready();
  await bridge.drain();
  await bridge.close();
}
process.once("SIGTERM", () => void stop());
