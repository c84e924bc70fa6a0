// Package wire reads and writes the messages with which the servers of a
// cluster speak to each other through Redis, as the npm packages do:
//
//	@socket.io/redis-adapter 8           Broadcast, Request, Response     ("classic", PUBLISH)
//	@socket.io/redis-emitter 5           Broadcast, Request               (the same, from programs that are no server)
//	@socket.io/redis-adapter 8, sharded  Message                          (SPUBLISH)
//	@socket.io/redis-streams-adapter 0.3 Message, its entries, Session    (XADD, PUBLISH, SET)
//
// In classic clusters a broadcast is published, and what wants an answer is a
// request on one channel with its responses on another:
//
//	PUBLISH socket.io#/#           ["uid",{"type":2,"data":["hello",1],"nsp":"/"},{"rooms":[],"except":[],"flags":{}}]
//	PUBLISH socket.io-request#/#   {"uid":"uid","requestId":"id","type":1}
//	PUBLISH socket.io-response#/#  {"requestId":"id","rooms":["room1"]}
//
// The others have one family of messages for all that:
//
//	SPUBLISH socket.io#/#          {"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{…}},"uid":"uid","nsp":"/"}
//
// Both write some messages as JSON and some, mostly those with bytes in them, as
// MessagePack; the Parse functions tell by the first byte. Here an event is
// always the JSON text that clients get, with placeholders for its attachments,
// which is what package value writes.
//
// Everything is a pure function. What is parsed is made of views of the message,
// but for strings: it may be kept only together with the message, which may not
// be changed then. Members that are unknown are ignored, those that are missing
// count as empty, and their order is of no importance, since other programs than
// Node's write these messages too. The errors of the Parse functions say what is
// wrong with a message that is to be ignored.
package wire
