"""Clients of python-socketio, told by lines of JSON what to do, as those of agent.mjs."""

import asyncio
import json
import sys

import socketio

clients = {}


def say(x):
    sys.stdout.write(json.dumps(x) + "\n")
    sys.stdout.flush()


async def connect(c, url, namespace, auth=None, headers=None, transports=None, recover=False, **_):
    io = socketio.AsyncClient(reconnection=recover, reconnection_delay_max=5)
    clients[c] = io, namespace

    async def connected():
        say({"c": c, "on": "connect", "sid": io.get_sid(namespace), "recovered": False})

    async def refused(data=None):
        e = data if isinstance(data, dict) else {"message": str(data)}
        say({"c": c, "on": "connect_error", "error": e})

    async def disconnected():
        say({"c": c, "on": "disconnect", "reason": "", "code": 0, "text": ""})

    async def heard(event, *args):
        say({"c": c, "on": "event", "event": event, "args": args})

    io.on("connect", connected, namespace=namespace)
    io.on("connect_error", refused, namespace=namespace)
    io.on("disconnect", disconnected, namespace=namespace)
    io.on("*", heard, namespace=namespace)

    async def begin():
        try:
            await io.connect(url, headers=headers or {}, auth=auth, transports=transports or ["websocket"], namespaces=[namespace], wait=False)
        except socketio.exceptions.ConnectionError as e:
            say({"c": c, "on": "connect_error", "error": {"message": str(e)}})

    asyncio.ensure_future(begin())


async def ask(c, event, args, wait=10_000, **_):
    io, namespace = clients[c]
    answer = asyncio.get_running_loop().create_future()
    data = tuple(args) if len(args) != 1 else args[0]
    await io.emit(event, data, namespace=namespace, callback=lambda *a: answer.done() or answer.set_result(a))
    return list(await asyncio.wait_for(answer, wait / 1000))


async def emit(c, event, args, **_):
    io, namespace = clients[c]
    await io.emit(event, tuple(args), namespace=namespace)


async def leave(c, **_):
    await clients[c][0].disconnect()


async def drop(c, **_):
    await clients[c][0].eio.ws.close()


async def sid(c, **_):
    io, namespace = clients[c]
    return io.get_sid(namespace) or ""


ops = {"sid": sid, "connect": connect, "ask": ask, "emit": emit, "leave": leave, "drop": drop}


async def do(op):
    try:
        name, i = op.pop("op"), op.pop("id")
        say({"id": i, "result": await ops[name](**op)})
    except Exception as e:
        say({"id": i, "error": f"{type(e).__name__}: {e}"})


async def main():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asyncio.ensure_future(do(json.loads(line)))


asyncio.run(main())
