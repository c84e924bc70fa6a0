# The chat's application in Python, of the standard library alone. See ../README.md.
import base64, hmac, json, os, pathlib, sqlite3, time, urllib.request
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

env = os.environ
WEBHOOK_KEY = base64.b64decode(env["WEBHOOK_SECRET"].removeprefix("whsec_"))


# text takes a text out of what a client has sent, which may be anything.
def text(arg, name, longest):
    value = arg.get(name) if isinstance(arg, dict) else None
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise ValueError(f"{name} must have 1 to {longest} characters")
    return value.encode("utf-8", "replace").decode()  # half of a pair of surrogates is no text


def entry(id, room, nick, words, key, at):
    return {"id": str(id), "room": room, "from": {"id": nick, "nick": nick}, "text": words, "key": key, "at": at}


def tell_others(room, event, arg):
    return [{"op": "emit", "to": [f"room:{room}"], "except": ["$sid"], "ev": event, "args": [arg]}]


# A message that comes again, by its key, is told again, by its id: the answer may have been lost.
def message(db, user, arg):
    values = text(arg, "room", 32), user, text(arg, "text", 2000), text(arg, "key", 64), int(time.time() * 1000)
    said = entry(*db.execute("""INSERT INTO messages (room, nick, text, key, at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (nick, key) DO UPDATE SET key = key RETURNING id, room, nick, text, key, at""", values).fetchall()[0])
    return {"ack": [{"id": said["id"], "at": said["at"]}], "actions": tell_others(said["room"], "message", said)}


def history(db, user, arg):
    room = text(arg, "room", 32)
    said = db.execute("SELECT id, room, nick, text, key, at FROM messages WHERE room = ? ORDER BY id DESC LIMIT 50", (room,))
    seen = db.execute("SELECT nick, id FROM receipts WHERE room = ? ORDER BY id DESC LIMIT 100", (room,))
    return {"ack": [{"history": [entry(*row) for row in said][::-1], "read": [{"user": nick, "id": str(id)} for nick, id in seen]}]}


def read(db, user, arg):
    room, id = text(arg, "room", 32), text(arg, "id", 20)
    db.execute("""INSERT INTO receipts SELECT room, ?, id FROM messages WHERE room = ? AND id = ?
        ON CONFLICT (room, nick) DO UPDATE SET id = max(id, excluded.id)""", (user, room, id))
    return {"actions": tell_others(room, "read", {"room": room, "user": user, "id": id})}


def result(db, event):
    do = {"message": message, "history": history, "read": read}[event["ev"]]
    try:
        return {"id": event["id"], **do(db, event["user"], event["args"][0] if event["args"] else None)}
    except ValueError as err:
        return {"id": event["id"], "ack": [{"error": str(err)}]}


# webhook does what the edge asks for, if it is the edge, and just now: Standard Webhooks.
def webhook(db, headers, body):
    id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    want = b"v1," + base64.b64encode(hmac.digest(WEBHOOK_KEY, f"{id}.{at}.".encode() + body, "sha256"))
    signed = any(hmac.compare_digest(want, one.encode()) for one in headers.get("webhook-signature", "").split())
    if not signed or abs(time.time() - int(at)) > 300:
        return 401, {"error": "not signed by the edge"}
    return 200, {"results": [result(db, event) for event in json.loads(body)["events"] if event["type"] == "event"]}


def login(db, headers, body):
    nick = text(json.loads(body), "nick", 24)  # there are no passwords: whoever says so is it
    if db.execute("INSERT OR IGNORE INTO users VALUES (?)", (nick,)).rowcount == 1:
        announce(f"{nick} is new here")
    part = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=")
    claims = {"sub": nick, "exp": int(time.time()) + 3600, "rooms": ["room:*"]}  # those that it may join
    head = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return 200, {"token": (head + b"." + part(hmac.digest(env["JWT_SECRET"].encode(), head, "sha256"))).decode()}


# announce says something to everybody, by the HTTP API of the edge.
def announce(words):
    call = json.dumps({"nsp": "/chat", "ev": "system", "args": [{"text": words}]}).encode()
    headers = {"authorization": f"Bearer {env['API_KEY']}", "content-type": "application/json"}
    try:
        urllib.request.urlopen(urllib.request.Request(env["API"] + "/api/emit", call, headers), timeout=2).close()
    except OSError as err:
        print("the edge was not told:", err)


class Application(SimpleHTTPRequestHandler):
    protocol_version, timeout = "HTTP/1.1", 90  # connections are kept

    def do_POST(self):
        length, do = int(self.headers.get("content-length", -1)), {"/sio": webhook, "/login": login}.get(self.path)
        if not do or not 0 <= length <= 2 << 20:
            return self.send_error(413 if do else 404)
        body = self.rfile.read(length)
        try:
            with closing(sqlite3.connect(env["DATABASE"], isolation_level=None)) as db:  # each statement is kept as it ends
                status, answer = do(db, self.headers, body)
        except ValueError as err:
            status, answer = 400, {"error": str(err)}
        answer = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


with closing(sqlite3.connect(env["DATABASE"])) as db:
    db.executescript((pathlib.Path(__file__).parent.parent / "schema.sql").read_text())
host, port = env["LISTEN"].rsplit(":", 1)
ThreadingHTTPServer((host, int(port)), partial(Application, directory=env["PUBLIC"])).serve_forever()
