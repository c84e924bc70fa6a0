// Commands by lines of JSON on stdin, answers by lines on stdout. Bytes are
// {"$b": hex}, undefined is {"$u": true}.

import { createInterface } from "node:readline";

export function pack(value) {
  if (value === undefined) return { $u: true };
  if (value instanceof ArrayBuffer) return { $b: Buffer.from(value).toString("hex") };
  if (ArrayBuffer.isView(value)) return { $b: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex") };
  if (Array.isArray(value)) return value.map(pack);
  if (value !== null && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, pack(v)]));
  return value;
}

export function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$b === "string") return Buffer.from(value.$b, "hex");
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, unpack(v)]));
}

const write = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

// serve answers commands, each with what commands[op] returns, and says first
// what ready is. The process ends with its stdin.
export function serve(ready, commands) {
  createInterface({ input: process.stdin })
    .on("line", async (line) => {
      const c = { args: [], ...unpack(JSON.parse(line)) };
      try {
        if (!commands[c.op]) throw new Error(`no command is called ${c.op}`);
        write({ id: c.id, ok: pack((await commands[c.op](c)) ?? null) });
      } catch (err) {
        write({ id: c.id, error: String(err.stack ?? err) });
      }
    })
    .on("close", () => process.exit(0));
  write({ id: 0, ok: ready });
}

// reply is what a server or a client answers when it is asked in a way; it is a
// list of arguments, or nothing for no answer at all.
export function reply(name, way, ...rest) {
  switch (way) {
    case "binary":
      return [Buffer.from([...Buffer.from(name), 0, 255])];
    case "nested":
      return [{ from: name, bytes: [Buffer.from(name)] }];
    case "nothing":
      return [];
    case "null":
      return [null];
    case "all but":
      return rest.includes(name) ? undefined : [name];
    default:
      return [name];
  }
}

// first is what is before the first number of a publisher that a client hears: nothing, but
// if that speaks by itself, it may have begun before the client was there.
export const first = (who, n) => (who.includes("by itself") ? n - 1 : 0);
