package sio

import (
	"bytes"
	"encoding/json"
	"net/url"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio/parser"
)

// Clients of Socket.IO 2 speak Engine.IO 3 and Socket.IO protocol 4. Events and
// acknowledgements are the same; connecting is not:
//
//	S 40                              right after the opening, unasked
//	C 40/chat?token=abc,              the query is what auth is in protocol 5
//	S 40/chat,                        without an id, which the client makes itself: /chat#<session id>
//	S 44/chat,"not authorized"        or the data of the error alone

// isOld tells whether a session's client is one of Socket.IO 2.
func (srv *Server) isOld(es eio.Session) bool { return srv.o.Engine.AllowEIO3 && es.Revision() == 3 }

// greet connects a new client of Socket.IO 2 to the root, as it expects without
// asking.
func (sh *shard) greet(es eio.Session) {
	if sh.srv.o.Parser == MessagePack {
		es.SetUser(packedSession) // it will not speak first
	}
	sh.connect(es, &parser.Packet{Type: parser.Connect, Namespace: []byte("/")}, nil)
}

// cutQuery takes the query off a packet's namespace; that of a CONNECT becomes
// its auth.
func cutQuery(p *parser.Packet) (query []byte) {
	p.Namespace, query, _ = bytes.Cut(p.Namespace, []byte("?"))
	if p.Type == parser.Connect {
		p.Data = queryAuth(query)
	}
	return query
}

// queryAuth returns a query as a JSON object of strings, nil if there is none. The
// last value of a name counts.
func queryAuth(query []byte) []byte {
	values, _ := url.ParseQuery(string(query)) // what can be parsed
	if len(values) == 0 {
		return nil
	}
	auth := make(map[string]string, len(values))
	for name, v := range values {
		auth[name] = v[len(v)-1]
	}
	b, err := json.Marshal(auth)
	if err != nil {
		panic("sio: strings have no JSON: " + err.Error())
	}
	return b
}

// withQuery returns the handshake of a socket whose client gave a query with the
// name of the namespace.
func (h *Handshake) withQuery(query []byte) *Handshake {
	if h == nil || len(query) == 0 {
		return h
	}
	own := *h
	own.query = string(query)
	return &own
}

// oldID returns the id that a client of Socket.IO 2 has in a namespace.
func oldID(es eio.Session, name string) string {
	if name == "/" {
		return es.ID()
	}
	return name + "#" + es.ID()
}

// setID gives a connecting socket an id that is not that of its Ref, and has it
// join the room of that name, which no socket of its own kind needs.
func (sh *shard) setID(slot uint32, id string) {
	sh.rename(slot, id)
	sh.local.Join(slot, sh.instance(slot).id, id)
}

// reject tells a client that its socket was not admitted.
func (sh *shard) reject(es eio.Session, name string, e *Error) {
	if !sh.srv.isOld(es) {
		sh.refuse(es, name, e)
		return
	}
	sh.tally.refused.Add(1)
	var payload any = e.Message
	if e.Data != nil {
		payload = e.Data
	}
	head := parser.AppendHead(nil, parser.ConnectError, 0, name, 0, false)
	text, _ := parser.AppendJSON(head, payload) // a text, or JSON: see refusal
	sh.transmit(es, eio.AppendText(nil, text), false)
}
