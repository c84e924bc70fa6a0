import { EventEmitter } from "node:events";
import type { SecureContextOptions, ConnectionOptions } from "node:tls";
import type { Server } from "socket.io";

export interface BridgeOptions {
  /** The edges' internal listeners, as `http://HOST:PORT` or `https://HOST:PORT`. Every process dials every edge. */
  edges: string[];
  /** The API key that the edges have for this bridge. */
  key: string;
  /** The bridge's name in the edges' settings. Default: "main". */
  name?: string;
  /** What this process is called at the edges, 1 to 64 of A-Z a-z 0-9 _ -; no two have the same. Default: random. */
  uid?: string;
  /** When `socket.data` is sent to the edge: at each change, or when a socket is in and when it goes on. Default: as the edge says. */
  data?: "eager" | "drain";
  /** Bytes that an edge may have under way to this process. Default: 4 MiB. */
  window?: number;
  /** Bytes of the largest batch that an edge may send. Default: 64 MiB. */
  maxMessage?: number;
  /** Bytes that may wait for an edge that takes nothing, before its link is given up. Default: 256 MiB. */
  maxPending?: number;
  /** Milliseconds that `drain` waits for acknowledgements that clients expect of handlers. Default: 2000. */
  settle?: number;
  /** Whether `drain` emits "disconnecting" and "disconnect" ("server shutting down") of sockets that go on at another process. Default: false. */
  disconnectOnHandover?: boolean;
  /** Signals that drain the bridge, and then exit the process. Default: none. */
  drainOn?: NodeJS.Signals | NodeJS.Signals[];
  /** For https: as of `tls.connect`. */
  tls?: SecureContextOptions & Pick<ConnectionOptions, "rejectUnauthorized" | "servername" | "checkServerIdentity">;
  /** Told what goes wrong, once in a while of each kind. Default: console.warn; false: nobody. */
  log?: false | ((message: string, details: { edge?: string; kind: string }) => void);
}

export interface DrainOptions {
  /** As in BridgeOptions. */
  settle?: number;
  /** Aborted, what would be waited for is not. */
  signal?: AbortSignal;
}

export interface EdgeState {
  url: string;
  /** The edge's own name. */
  id: string;
  state: "up" | "down" | "closed";
  /** Whether clients are connected through it, or will be still when the link is back. */
  session: boolean;
  connections: number;
  sockets: number;
  /** uids of the other processes there. */
  peers: string[];
  /** Bytes sent that the edge has not worked off. */
  waiting: number;
  received: number;
  sent: number;
  batchesReceived: number;
  batchesSent: number;
  bytesReceived: number;
  bytesSent: number;
  /** How often a link that was cut went on, and how often its session was lost. */
  resumed: number;
  lost: number;
  /** Messages of a number that this version does not know. */
  unknown: number;
  /** Messages that were larger than the edge takes. */
  tooBig: number;
  /** How often the edge did not keep to the protocol, refused the link, or took nothing until maxPending. */
  broken: number;
  refused: number;
  overflows: number;
}

export interface BridgeStats {
  connections: number;
  events: number;
  tooBig: number;
  /** How often `socket.data` was larger than the edge takes. */
  dataTooBig: number;
  /** Connections closed since an edge sent too much before their sockets were in. */
  tooEarly: number;
  /** Events that were not sent: nested too deep, or with what looks like another attachment's placeholder. */
  improper: number;
}

export interface EdgeEvent {
  url: string;
  id: string;
  state: "up" | "down";
  resumed?: boolean;
  error?: Error;
}

/** Identity is who the edge says that a client is: `socket.conn.identity`, null if the edge does not know. */
export interface Identity {
  user: string;
  claims: Record<string, unknown> | undefined;
}

interface BridgeEvents {
  edge: (event: EdgeEvent) => void;
  error: (error: Error & { edge?: string; status?: number }) => void;
  closed: () => void;
}

export class Bridge extends EventEmitter {
  private constructor();
  readonly uid: string;
  readonly edges: EdgeState[];
  readonly stats: BridgeStats;
  /** Fulfilled when all edges are linked; with `any`, when one is. */
  ready(options?: { any?: boolean; signal?: AbortSignal }): Promise<void>;
  /** Hands all sockets over to other processes, without their clients' noticing, and closes the bridge. */
  drain(options?: DrainOptions): Promise<void>;
  /** Closes all connections, whose clients come back by themselves, and ends the links. */
  close(): Promise<void>;

  on<E extends keyof BridgeEvents>(event: E, listener: BridgeEvents[E]): this;
  once<E extends keyof BridgeEvents>(event: E, listener: BridgeEvents[E]): this;
  off<E extends keyof BridgeEvents>(event: E, listener: BridgeEvents[E]): this;
}

/** attach links a server to edges. It throws a TypeError if an option is wrong. */
export function attach(io: Server<any, any, any, any>, options: BridgeOptions): Bridge;
