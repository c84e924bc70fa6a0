# The chat's application in Ruby, with WEBrick. See ../README.md.
%w[json net/http openssl sqlite3 webrick].each { |library| require library }

WEBHOOK_KEY = ENV.fetch("WEBHOOK_SECRET").delete_prefix("whsec_").unpack1("m")
DB = SQLite3::Database.new(ENV.fetch("DATABASE"), results_as_hash: true)
DB.execute_batch(File.read("#{__dir__}/../schema.sql"))
LOCK = Mutex.new # of DB: each request has a thread

Refusal = Class.new(StandardError)

# text takes a text out of what a client has sent, which may be anything.
def text(arg, name, longest)
  value = arg.is_a?(Hash) ? arg[name] : nil
  good = value.is_a?(String) && value.valid_encoding? && value.match?(/\S/) && value.length <= longest
  good ? value : raise(Refusal, "#{name} must have 1 to #{longest} characters")
end

def entry(row)
  { id: row["id"].to_s, from: { id: row["nick"], nick: row["nick"] }, **row.slice("room", "text", "key", "at").transform_keys(&:to_sym) }
end

def tell_others(room, event, arg)
  [{ op: "emit", to: ["room:#{room}"], except: ["$sid"], ev: event, args: [arg] }]
end

# handle does what a client asks for. A message that comes again, by its key, is told again,
# by its id: the answer may have been lost.
def handle(event, user, arg)
  room = text(arg, "room", 32)
  case event
  when "message"
    values = [room, user, text(arg, "text", 2000), text(arg, "key", 64), (Time.now.to_f * 1000).to_i]
    said = entry(DB.execute("INSERT INTO messages (room, nick, text, key, at) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (nick, key) DO UPDATE SET key = key RETURNING id, room, nick, text, key, at", values).first)
    { ack: [said.slice(:id, :at)], actions: tell_others(said[:room], "message", said) }
  when "history"
    said = DB.execute("SELECT id, room, nick, text, key, at FROM messages WHERE room = ? ORDER BY id DESC LIMIT 50", [room])
    seen = DB.execute("SELECT nick, id FROM receipts WHERE room = ? ORDER BY id DESC LIMIT 100", [room])
    { ack: [{ history: said.reverse.map { entry(_1) }, read: seen.map { { user: _1["nick"], id: _1["id"].to_s } } }] }
  when "read"
    DB.execute("INSERT INTO receipts SELECT room, ?, id FROM messages WHERE room = ? AND id = ?
      ON CONFLICT (room, nick) DO UPDATE SET id = max(id, excluded.id)", [user, room, id = text(arg, "id", 20)])
    { actions: tell_others(room, "read", { room: room, user: user, id: id }) }
  end
end

def results(request)
  LOCK.synchronize { request["events"].select { _1["type"] == "event" }.map { result(_1) } }
end

def result(event)
  { id: event["id"], **handle(event["ev"], event["user"], event["args"].first) }
rescue Refusal => e
  { id: event["id"], ack: [{ error: e.message }] }
end

# signed? tells whether a request is the edge's, and of just now: Standard Webhooks.
def signed?(req)
  at = req["webhook-timestamp"]
  want = "v1," + [OpenSSL::HMAC.digest("SHA256", WEBHOOK_KEY, "#{req["webhook-id"]}.#{at}.#{req.body}")].pack("m0")
  req["webhook-signature"].to_s.split.any? { OpenSSL.secure_compare(_1, want) } && (Time.now.to_i - at.to_i).abs < 300
end

# announce says something to everybody, by the HTTP API of the edge.
def announce(words)
  call, key = { nsp: "/chat", ev: "system", args: [{ text: words }] }.to_json, ENV.fetch("API_KEY")
  Net::HTTP.post(URI("#{ENV.fetch("API")}/api/emit"), call, "authorization" => "Bearer #{key}", "content-type" => "application/json")
rescue SystemCallError, Timeout::Error, EOFError => e
  warn "the edge was not told: #{e.message}"
end

def login(arg)
  nick = text(arg, "nick", 24) # there are no passwords: whoever says so is it
  announce("#{nick} is new here") if LOCK.synchronize { DB.execute("INSERT OR IGNORE INTO users VALUES (?) RETURNING nick", [nick]).any? }
  part = ->(bytes) { [bytes].pack("m0").tr("+/", "-_").delete("=") }
  claims = { sub: nick, exp: Time.now.to_i + 3600, rooms: ["room:*"] }.to_json # those that it may join
  head = "#{part['{"alg":"HS256","typ":"JWT"}']}.#{part[claims]}"
  { token: "#{head}.#{part[OpenSSL::HMAC.digest("SHA256", ENV.fetch("JWT_SECRET"), head)]}" }
end

# serve answers a path by what a block makes of its requests: a status, and what becomes JSON.
def serve(server, path)
  server.mount_proc(path) do |req, res|
    raise WEBrick::HTTPStatus::RequestEntityTooLarge if req.content_length > 2 << 20 || req["transfer-encoding"]
    res.status, answer = yield(req)
  rescue Refusal, JSON::ParserError => e
    res.status, answer = 400, { error: e.message }
  ensure
    res.content_type, res.body = "application/json", answer.to_json
  end
end

host, port = ENV.fetch("LISTEN").split(":")
server = WEBrick::HTTPServer.new(BindAddress: host, Port: port, DocumentRoot: ENV.fetch("PUBLIC"), AccessLog: [])
serve(server, "/login") { |req| [200, login(JSON.parse(req.body.to_s))] }
serve(server, "/sio") { |req| signed?(req) ? [200, { results: results(JSON.parse(req.body)) }] : [401, { error: "not signed by the edge" }] }
%w[INT TERM].each { |signal| trap(signal) { server.shutdown } }
server.start
