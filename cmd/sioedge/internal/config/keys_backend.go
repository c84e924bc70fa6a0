package config

import (
	"strings"
	"time"
)

var internalKeys = Section{"Operators and the HTTP API", `What backends and operators ask of the server goes to a listener of its own, which is not for clients. Its API is open when
there is a key: api.keys, or one that is made of secret, the hexadecimal HMAC-SHA-256 of "sioedge api key v1".`, []Key{
	{Path: "secret", Flag: "secret", Secret: true, Doc: "what keys of the API, and secrets of backends, are made of where they have none of their own; at least 32 bytes, best as $SIOEDGE_SECRET"},
	{Path: "internal.listen", Flag: "internal-listen", Default: "127.0.0.1:9000", check: checkInternal, Doc: "address of that listener: host:port, unix:/path (with ?mode=0660 and owner=user:group, 0600 without), or systemd:name; empty: there is none. If the default is taken, as by a second server, there is none either, unless something needs it"},
	{Path: "api.keys", Flag: "api-key", Secret: true, Reload: true, Doc: "keys (Authorization: Bearer, or X-API-Key), each of which opens the HTTP API, repeatable so that they can rotate; at least 24 bytes, best as $SIOEDGE_API_KEY"},
	{Path: "api.max_body", Flag: "api-max-body", Default: "1MiB", Least: 1024, Reload: true, Doc: "bytes of a request's body, and of a line of a stream"},
	{Path: "api.max_requests", Flag: "api-max-requests", Default: "256", Least: 1, Reload: true, Doc: "requests of one key at a time, streams left out"},
	{Path: "api.max_streams", Flag: "api-max-streams", Default: "64", Least: 1, Reload: true, Doc: "streams (/api/stream) of one key at a time"},
	{Path: "api.max_room_data", Flag: "api-max-room-data", Default: "16MiB", Least: 1024, Reload: true, Doc: "bytes that are stored with rooms (PUT /api/rooms), all together; more is refused"},
}}

var backendKeys = Section{"Backends", `Each is an application that is told by signed HTTP requests what clients do, and whose answers act. webhook is the one that
namespaces have which name no other, and what those under backends have if they do not say it themselves.`, named(append(defaultBackend, Key{Path: "backends", Reload: true, Doc: "further backends, by name, for namespaces (backend) and events that name them"}))}

// defaultBackend are the keys of webhook.
var defaultBackend = []Key{
	{Path: "webhook.url", Flag: "webhook-url", Reload: true, Doc: "where requests go: http://, https://, unix:/path/to/socket:/path; {type} in the path is the kind of what they tell; empty: there is no such backend"},
	{Path: "webhook.secret", Flag: "webhook-secret", Secret: true, Reload: true, Doc: "signs them (Standard Webhooks): whsec_… or at least 24 bytes; best as $SIOEDGE_WEBHOOK_SECRET; empty: made of secret, the hexadecimal HMAC-SHA-256 of \"sioedge webhook v1 default\""},
	{Path: "webhook.secret_previous", Flag: "webhook-secret-previous", Secret: true, Reload: true, Doc: "signs them too, while secrets rotate"},
	{Path: "webhook.timeout", Flag: "webhook-timeout", Default: "3s", Least: 1, Reload: true, Doc: "how long an answer may take"},
	{Path: "webhook.events", Flag: "webhook-events", Default: "connect,event,disconnect", Commas: true, OneOf: Hooks, Reload: true, Doc: "what it is asked (connect) and told (event, disconnect, connected, room, refresh, node), unless a namespace says it (hooks)"},
	{Path: "webhook.on_error", Flag: "on-backend-error", Default: "close", OneOf: []string{"close", "reject", "allow"}, Reload: true, Doc: "what becomes of who connects while it does not answer: close (the client comes back), reject (connect_error), allow"},
	{Path: "webhook.lanes", Flag: "webhook-lanes", Default: "64", Least: 1, Most: 65536, Doc: "queues of what waits for it, each with one request at a time; a connection has one of them, so that its events stay in order"},
	{Path: "webhook.concurrency", Flag: "webhook-concurrency", Default: "64", Least: 1, Most: 65536, Reload: true, Doc: "requests at one time, of all lanes"},
	{Path: "webhook.max_batch", Flag: "webhook-max-batch", Default: "256", Least: 1, Most: 65536, Reload: true, Doc: "items of one request"},
	{Path: "webhook.max_batch_bytes", Flag: "webhook-max-batch-bytes", Default: "1MiB", Least: 1024, Reload: true, Doc: "bytes of one request; an item that is longer goes alone"},
	{Path: "webhook.max_answer", Flag: "webhook-max-answer", Default: "1MiB", Least: 1024, Reload: true, Doc: "bytes of an answer"},
	{Path: "webhook.queue", Flag: "webhook-queue", Default: "16MiB", Least: 1024, Reload: true, Doc: "bytes that wait, of all lanes; clients are not read from above it"},
	{Path: "webhook.retry_for", Flag: "webhook-retry-for", Default: "10m", Least: 1, Reload: true, Doc: "how long what it must know (all but events) is tried again"},
	{Path: "webhook.disconnect_rate", Flag: "webhook-disconnect-rate", Default: "1000", Least: 1, Reload: true, Doc: "disconnects a second that it is told of; the others wait"},
	{Path: "webhook.ack_errors", Flag: "webhook-ack-errors", Default: "false", Reload: true, Doc: `answer clients whose acknowledgement it did not give: {"$error": …}`},
	{Path: "webhook.format", Flag: "webhook-format", Default: "compact", OneOf: []string{"compact", "cloudevents"}, Reload: true, Doc: "of requests: compact, cloudevents (a batch of CloudEvents 1.0)"},
	{Path: "webhook.binary", Flag: "webhook-binary", Default: "base64", OneOf: []string{"base64", "multipart"}, Reload: true, Doc: "how attachments are sent: base64 in the JSON, or multipart as parts of their own"},
	{Path: "webhook.forward_headers", Flag: "forward-headers", Default: "cookie,authorization,user-agent,x-request-id,traceparent", Commas: true, Reload: true, Doc: "fields of a client's request that it is told"},
	{Path: "webhook.cache_ttl", Flag: "webhook-cache-ttl", Default: "5m", Reload: true, Doc: "how long an answer to connect may be kept at most, for who brings the same; it is if it has a cache_ttl; 0: not at all"},
	{Path: "webhook.cache_size", Flag: "webhook-cache-size", Default: "65536", Least: 1, Reload: true, Doc: "answers that are kept"},
	{Path: "webhook.ca", Flag: "webhook-ca", Reload: true, Doc: "certificates of who may have signed its own, in PEM, or the path of a file of it; empty: those of the system"},
	{Path: "webhook.cert", Flag: "webhook-cert", Reload: true, Doc: "certificate that requests are made with, in PEM, or the path of a file of it"},
	{Path: "webhook.key", Flag: "webhook-key", Secret: true, Reload: true, Doc: "its key, likewise"},
}

// named adds the keys of further backends: those of webhook, which they inherit.
func named(all []Key) []Key {
	for _, k := range defaultBackend {
		k.Doc, k.Path = "as "+k.Path, "backends.*"+strings.TrimPrefix(k.Path, "webhook")
		k.Flag, k.Default, k.Reload = "", "", false
		all = append(all, k)
	}
	return all
}

var bridgeKeys = Section{"Bridges", `Each is an application in Node, on socket.io with the package sioedge-bridge: its processes dial internal.listen (/bridge), and
have the handlers of the namespaces that name the bridge (bridge). A text alone in place of a bridge's settings is its key.`, []Key{
	{Path: "bridges", Reload: true, Doc: "bridges, by name (letters, digits, - and _), for namespaces that name them"},
	{Path: "bridges.*.keys", Secret: true, Doc: "keys (Authorization: Bearer, or X-API-Key), each of which admits its processes, so that they can rotate; at least 24 bytes, best as ${file:…}; empty: those that open the API"},
	{Path: "bridges.*.takeover", Default: "10s", Doc: "how long clients whose process went wait for another, before their connections are closed so that they come back"},
	{Path: "bridges.*.timeout", Default: "10s", Least: int64(time.Second), Doc: "how long nothing may come on a link; both sides ping every third of it"},
	{Path: "bridges.*.grace", Default: "1s", Doc: "how long a process whose link ended may come back to its clients, before they are given to another"},
	{Path: "bridges.*.data", Default: "drain", OneOf: []string{"drain", "eager"}, Doc: "when processes tell the sockets' data: drain (as they hand sockets over; a crash loses it), eager (whenever it changes)"},
	{Path: "bridges.*.max_data", Default: "64KiB", Least: 1, Doc: "bytes of the data of one socket that another process gets, as JSON"},
	{Path: "bridges.*.window", Default: "4MiB", Least: 1 << 16, Doc: "bytes under way from a process, and to it, that have not been worked off; the sender waits beyond, and clients with it"},
	{Path: "bridges.*.max_message", Default: "16MiB", Least: 1 << 16, Doc: "bytes of one message of a link, each way; at least twice limits.max_payload"},
	{Path: "bridges.*.max_waiting", Default: "256KiB", Least: 1024, Doc: "bytes of one connection's events that wait for a process; beyond, its client is not read from"},
	{Path: "bridges.*.max_links", Default: "64", Least: 1, Most: mostLinks, Doc: "links at a time; more are refused"},
}}
