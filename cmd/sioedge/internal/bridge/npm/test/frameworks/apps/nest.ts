// A gateway of NestJS as its documentation has them, whose adapter attaches the bridge.
import "reflect-metadata";
import { CanActivate, ExecutionContext, Injectable, Module, UseGuards } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { IoAdapter } from "@nestjs/platform-socket.io";
import {
  ConnectedSocket, MessageBody, OnGatewayConnection, OnGatewayDisconnect, OnGatewayInit, SubscribeMessage, WebSocketGateway,
  WebSocketServer, WsException, WsResponse,
} from "@nestjs/websockets";
import { Observable, from, map } from "rxjs";
import type { Namespace, Server, ServerOptions, Socket } from "socket.io";
import { Bridge, attach } from "sioedge-bridge";

class BridgedAdapter extends IoAdapter {
  readonly bridges: Bridge[] = [];

  createIOServer(port: number, options?: ServerOptions): Server {
    const io: Server = super.createIOServer(port, options);
    this.bridges.push(attach(io, { edges: [process.env.EDGE!], key: process.env.KEY!, name: "main" }));
    return io;
  }
}

@Injectable()
class Admins implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return context.switchToWs().getClient<Socket>().handshake.auth.admin === true;
  }
}

@WebSocketGateway({ namespace: "/nest", cors: true })
class ChatGateway implements OnGatewayInit, OnGatewayConnection, OnGatewayDisconnect {
  @WebSocketServer() server!: Namespace;

  afterInit(server: Namespace): void {
    server.use((socket, next) => next(socket.handshake.auth.name ? undefined : new Error("who?")));
  }

  handleConnection(socket: Socket): void {
    socket.data.name = socket.handshake.auth.name;
    this.server.emit("came", socket.data.name);
  }

  handleDisconnect(socket: Socket): void {
    this.server.emit("left", socket.data.name);
  }

  @SubscribeMessage("echo") echo(@MessageBody() body: unknown): unknown {
    return body;
  }

  @SubscribeMessage("event") event(@MessageBody("x") x: number): WsResponse<number> {
    return { event: "answer", data: x + 1 };
  }

  @SubscribeMessage("many") many(@MessageBody() n: number): Observable<WsResponse<number>> {
    return from(Array.from({ length: n }, (_, i) => i)).pipe(map((data) => ({ event: "one", data })));
  }

  @SubscribeMessage("join") async join(@ConnectedSocket() socket: Socket, @MessageBody() room: string): Promise<number> {
    await socket.join(room);
    this.server.to(room).except(socket.id).emit("joined", socket.data.name);
    return (await this.server.in(room).fetchSockets()).length;
  }

  @SubscribeMessage("fail") fail(): never {
    throw new WsException("as asked");
  }

  @UseGuards(Admins) @SubscribeMessage("secret") secret(): string {
    return "42";
  }
}

@WebSocketGateway()
class RootGateway {
  @SubscribeMessage("where") where(@ConnectedSocket() socket: Socket): string {
    return socket.nsp.name;
  }
}

@Module({ providers: [ChatGateway, RootGateway] })
class App {}

async function main(): Promise<void> {
  const app = await NestFactory.create(App, { logger: ["error", "warn"] });
  const adapter = new BridgedAdapter(app);
  app.useWebSocketAdapter(adapter);
  await app.listen(0, "127.0.0.1");
  await Promise.all(adapter.bridges.map((bridge) => bridge.ready()));
  console.log(JSON.stringify({ ready: true, url: await app.getUrl(), bridges: adapter.bridges.length }));
  process.stdin.on("end", () => void app.close().then(() => process.exit())).resume();
}
void main();
