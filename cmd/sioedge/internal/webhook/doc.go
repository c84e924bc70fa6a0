// Package webhook asks and tells an application by HTTP what clients do, and has done
// what it answers.
//
// # The way of an event
//
//	loop: Backend.Event ─► lane: the JSON of the event is appended to a batch
//	lane's goroutine: the batch is sealed, signed, sent ─► results ─► action.Do, in order
//
// A lane has one request under way; what comes meanwhile leaves in the next one. So events
// of a socket stay in order, nothing is delayed while little is to do, and requests grow
// under load. Clients that want in have lanes of their own, so that they wait for no event
// and no retry, and their requests go first.
//
// # Requests
//
// They are POSTs of application/json with the fields of Standard Webhooks 1.0: webhook-id,
// webhook-timestamp, webhook-signature, the last with a signature for each of the two
// secrets while they rotate. A secret whsec_… is base64, any other text is taken as it is.
// The body is
//
//	{"node":"edge-a1","events":[{"id":"01J9…","type":"event","time":1764000000123,"nsp":"/",…},…]}
//
// or, with format cloudevents, a batch of CloudEvents 1.0 whose data are the members of
// these items but id and time. With binary multipart a request that has attachments is
// multipart/form-data: the field "events" is that body, "attachments" in it are the names
// of file parts behind it, and the signature is of all of it. (Programs that verify it need
// the body as it came: in PHP, with enable_post_data_reading off.)
//
// The ids of items are ULIDs that grow, or what Tell is given. A request that is sent again
// has the same webhook-id, and its items have theirs; so that what comes twice is known. One
// that has less in it than before is another request with the same items.
//
// traceparent is forwarded in the handshake of connect if forward_headers has it. The
// request has it as a field as well, if all its clients bring the same.
//
// # Answers
//
// Nothing but what is below is understood: redirects are not followed, an encoded answer is
// not unpacked, the environment's proxies are not asked, and after max_answer bytes it is
// not read on.
//
//	2xx with application/json, or nothing       taken; results without an item are counted
//	2xx that cannot be parsed, or is too large  taken; nobody is answered
//	2xx of another type, 3xx, 401, 403, 404 …   not taken: somebody else has answered, or settings are wrong
//	408, 425, 429, 502, 503, 504                not taken; Retry-After is honoured up to a minute
//	500, other 5xx                              not taken; sent again in halves: one item may be why
//	400, 409, 413, 415, 422                     not taken; sent again in halves at once; an item alone is lost
//	410                                         not taken, and nothing is sent again
//	no answer                                   not taken
//
// What is not taken is sent again: an event three times in all, after half a second and two;
// one whose client waits for an acknowledgement is not, unless it was refused for what shared
// its request; other kinds, which are kept, stay at the head of their lane until they are
// taken, for retry_for. What is lost is counted by its kind and reason, logged, and told
// with the next request: {"type":"lost","counts":{"event":3},"since":ms}. Clients that want
// in are decided about by on_error, at once or when they have waited for long enough.
//
// Items of an answer are done in the order of what was sent: data, join and expireAt, then
// emits, then actions. The acknowledgement goes behind them, but before the socket is
// disconnected.
//
// # The breaker
//
// When half of the requests of five seconds, and at least twenty, have failed, none is made
// for two seconds; then one is, to try. Meanwhile on_error decides about clients at once,
// and events wait in their lanes: tries of that kind are not counted.
//
// # Bounds
//
//   - all that waits, and what is under way: queue. Events have three quarters of it, and a
//     lane an eighth; above that they wait in their sockets' inboxes, by sio.Msg.Later, so
//     that their clients are not read from. What is kept may use the rest, and is lost above.
//   - a request: max_batch items, and max_batch_bytes unless one item alone has more
//   - requests at one time: concurrency; a request: timeout; its answer: max_answer
//   - answers to connect that are kept: cache_size, and 1 KiB each on average; see cache.go
//   - an answer's results and what is in them: action.Limits
//
// An idle backend has no goroutine and no buffer.
//
// # When the server's clients are handed over
//
// Lanes make no further request, and what is under way is waited for, for most of the time
// that there is. What waits goes to the successor, which tells it by the ids, and in the
// requests, that it had, behind the pauses that are left; answers that are kept do not go.
// Clients that want in are asked about until no handler runs any more.
package webhook
