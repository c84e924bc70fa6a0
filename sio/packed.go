package sio

import (
	"bytes"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio/parser"
)

// A Parser says how packets are encoded; server and client must agree on it.
type Parser uint8

// The parsers.
const (
	// JSON is the default of every client: JSON with binary attachments.
	JSON Parser = iota
	// MessagePack is the npm package socket.io-msgpack-parser.
	MessagePack
	// EitherParser takes whichever a client's first packet is in.
	EitherParser
)

// packedSession is set in a session's user word if its client speaks
// MessagePack.
const packedSession = 1 << 30

// userFlags are the bits of a session's user word that are no slot.
const userFlags = everJoined | packedSession

func packed(es eio.Session) bool { return es.User()&packedSession != 0 }

// speaks decides by its first message which parser a session's client speaks,
// and tells whether a message is in it.
func (srv *Server) speaks(es eio.Session, binary bool) bool {
	switch {
	case srv.o.Parser == JSON || packed(es):
	case es.User() != 0: // decided: JSON
		return true
	case binary:
		es.SetUser(packedSession)
	}
	return srv.o.Parser != MessagePack && !packed(es) || packed(es) && binary
}

// unpack parses a MessagePack packet into sh.packet, as the JSON parser would
// have left it: handlers need not know.
func (sh *shard) unpack(data []byte) error {
	p := &sh.packet
	if err := parser.ParseMsgpack(data, sh.srv.o.Limits, p); err != nil {
		return err
	}
	var err error
	text := sh.unpacked[:0]
	var attachments [][]byte
	if p.Data != nil && p.Type == parser.Connect {
		if text, _, err = parser.AppendJSONFromMsgpack(text, p.Data, nil); err != nil {
			return err
		}
		p.Data = text
	}
	ends := make([]int, 0, 8)
	for _, arg := range p.Args {
		if text, attachments, err = parser.AppendJSONFromMsgpack(text, arg, attachments); err != nil {
			return err
		}
		ends = append(ends, len(text))
	}
	at := 0
	for i, end := range ends {
		p.Args[i] = text[at:end]
		at = end
	}
	for i, a := range attachments {
		attachments[i] = bytes.Clone(a) // they may be kept
	}
	p.Buffers, p.Attachments, p.Encoding = attachments, len(attachments), parser.JSON
	sh.unpacked = text[:0]
	if cap(text) > 64<<10 {
		sh.unpacked = nil
	}
	return nil
}

// packFrames turns the frames of one JSON packet and its attachments into the
// frame of a MessagePack packet. It is nil if the packet cannot be one.
func packFrames(frames []byte) []byte {
	var text []byte
	var attachments [][]byte
	eio.EachMessage(frames, func(data []byte, binary bool) {
		if binary {
			attachments = append(attachments, data)
		} else {
			text = data
		}
	})
	var p parser.Packet
	if parser.Parse(text, parser.Limits{MaxAttachments: max(len(attachments), 1), MaxDepth: 1 << 20, MaxArgs: 1 << 30}, &p) != nil {
		return nil
	}
	p.Buffers = attachments
	b, err := parser.AppendMsgpackPacket(nil, &p)
	if err != nil {
		return nil
	}
	return eio.AppendBinary(nil, b)
}

// transmit sends the frames of one packet to a session, which are copied, and
// not compressed if plain.
func (sh *shard) transmit(es eio.Session, frames []byte, plain bool) {
	if packed(es) {
		frames = packFrames(frames)
	}
	if plain {
		es.SendPlain(frames)
		return
	}
	es.Send(frames)
}
