<?php
// The chat's application in PHP, behind its own web server. See ../README.md.
if ($_SERVER["REQUEST_METHOD"] !== "POST") return false; // a file of the page
$db = new PDO("sqlite:" . getenv("DATABASE"), options: [PDO::ATTR_TIMEOUT => 5, PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC]);
$db->exec(file_get_contents(__DIR__ . "/../schema.sql"));

function query(string $sql, mixed ...$values): array {
    $statement = $GLOBALS["db"]->prepare($sql);
    $statement->execute($values);
    return $statement->fetchAll();
}

// text takes a text out of what a client has sent, which may be anything.
function text(mixed $arg, string $name, int $longest): string {
    $value = $arg[$name] ?? null;
    $good = is_string($value) && preg_match("/^(?=.*\S).{1,$longest}$/Dsu", $value);
    return $good ? $value : throw new InvalidArgumentException("$name must have 1 to $longest characters");
}

function entry(array $row): array {
    return ["id" => (string) $row["id"], "from" => ["id" => $row["nick"], "nick" => $row["nick"]]] + array_diff_key($row, ["nick" => ""]);
}

function tell_others(string $room, string $event, array $arg): array {
    return [["op" => "emit", "to" => ["room:$room"], "except" => ['$sid'], "ev" => $event, "args" => [$arg]]];
}

// One that comes again, by its key, is told again, by its id: the answer may have been lost.
function message(string $user, mixed $arg): array {
    [$row] = query("INSERT INTO messages (room, nick, text, key, at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (nick, key) DO UPDATE SET key = key RETURNING id, room, nick, text, key, at",
        text($arg, "room", 32), $user, text($arg, "text", 2000), text($arg, "key", 64), (int) (microtime(true) * 1000));
    $said = entry($row);
    return ["ack" => [["id" => $said["id"], "at" => $said["at"]]], "actions" => tell_others($said["room"], "message", $said)];
}

function history(string $user, mixed $arg): array {
    $room = text($arg, "room", 32);
    $said = query("SELECT id, room, nick, text, key, at FROM messages WHERE room = ? ORDER BY id DESC LIMIT 50", $room);
    $seen = query("SELECT nick AS user, CAST(id AS TEXT) AS id FROM receipts WHERE room = ? ORDER BY receipts.id DESC LIMIT 100", $room);
    return ["ack" => [["history" => array_map("entry", array_reverse($said)), "read" => $seen]]];
}

function read(string $user, mixed $arg): array {
    query("INSERT INTO receipts SELECT room, ?, id FROM messages WHERE room = ? AND id = ?
        ON CONFLICT (room, nick) DO UPDATE SET id = max(id, excluded.id)", $user, $room = text($arg, "room", 32), $id = text($arg, "id", 20));
    return ["actions" => tell_others($room, "read", ["room" => $room, "user" => $user, "id" => $id])];
}

function result(array $event): array {
    $do = ["message" => message(...), "history" => history(...), "read" => read(...)][$event["ev"]];
    try {
        return ["id" => $event["id"]] + $do($event["user"], $event["args"][0] ?? null);
    } catch (InvalidArgumentException $e) {
        return ["id" => $event["id"], "ack" => [["error" => $e->getMessage()]]];
    }
}

// signed tells whether a request is the edge's, and of just now: Standard Webhooks.
function signed(string $body): bool {
    [$id, $at, $signatures] = array_map(fn($name) => $_SERVER["HTTP_WEBHOOK_$name"] ?? "", ["ID", "TIMESTAMP", "SIGNATURE"]);
    $key = base64_decode(substr(getenv("WEBHOOK_SECRET"), strlen("whsec_")));
    $want = "v1," . base64_encode(hash_hmac("sha256", "$id.$at.$body", $key, true));
    return array_filter(explode(" ", $signatures), fn($one) => hash_equals($want, $one)) && abs(time() - (int) $at) < 300;
}

function login(mixed $arg): string {
    $nick = text($arg, "nick", 24); // there are no passwords: whoever says so is it
    if (query("INSERT OR IGNORE INTO users VALUES (?) RETURNING nick", $nick)) announce("$nick is new here");
    $part = fn(string $bytes) => rtrim(strtr(base64_encode($bytes), "+/", "-_"), "=");
    $claims = json_encode(["sub" => $nick, "exp" => time() + 3600, "rooms" => ["room:*"]]); // those that it may join
    $head = $part('{"alg":"HS256","typ":"JWT"}') . "." . $part($claims);
    return "$head." . $part(hash_hmac("sha256", $head, getenv("JWT_SECRET"), true));
}

// announce says something to everybody, by the HTTP API of the edge.
function announce(string $words): void {
    $call = json_encode(["nsp" => "/chat", "ev" => "system", "args" => [["text" => $words]]]);
    $headers = ["Authorization: Bearer " . getenv("API_KEY"), "Content-Type: application/json"];
    $post = stream_context_create(["http" => ["method" => "POST", "timeout" => 2, "header" => $headers, "content" => $call]]);
    file_get_contents(getenv("API") . "/api/emit", context: $post);
}

$body = file_get_contents("php://input", length: 2 << 20);
$sent = fn() => json_decode($body, true, flags: JSON_THROW_ON_ERROR);
$events = fn() => array_values(array_filter($sent()["events"], fn($event) => $event["type"] === "event"));
try {
    [$status, $answer] = match (true) {
        $_SERVER["REQUEST_URI"] === "/login" => [200, ["token" => login($sent())]],
        $_SERVER["REQUEST_URI"] === "/sio" && signed($body) => [200, ["results" => array_map("result", $events())]],
        default => [$_SERVER["REQUEST_URI"] === "/sio" ? 401 : 404, ["error" => "no"]],
    };
} catch (JsonException | InvalidArgumentException $e) {
    [$status, $answer] = [400, ["error" => $e->getMessage()]];
}
header("Content-Type: application/json", response_code: $status);
echo json_encode($answer);
