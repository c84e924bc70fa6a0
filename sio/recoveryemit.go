package sio

import (
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/parser"
)

// frameLogged returns the frames of an event with an offset as its last argument.
// The offset is where in frames it is to be written.
func frameLogged(namespace string, e rooms.Event) (frames, offset []byte) {
	buf := packets.Get()
	defer packets.Put(buf)
	buf.B = parser.AppendHead(buf.B[:0], parser.Event, len(e.Attachments), namespace, 0, false)
	buf.B = append(buf.B, e.Data[:len(e.Data)-1]...)
	buf.B = append(buf.B, `,"`+blankOffset+`"]`...)
	frames = appendFrames(nil, buf.B, nil)
	end := len(frames) - len(`"]`)
	return appendFrames(frames, nil, e.Attachments), frames[end-offsetLen : end]
}

// endsInString tells whether a client would take the last argument of an event,
// or its name, for an offset.
func endsInString(data []byte) bool { return len(data) > 1 && data[len(data)-2] == '"' }

// deliverLogged is deliver for one instance where events are kept.
func (b BroadcastOperator) deliverLogged(in *instance, e rooms.Event) {
	frames, offset := frameLogged(in.name, e)
	srv := b.server()
	d := &delivery{srv: srv, b: b.broadcast(in, frames)}
	m := d.b.Message.(*message)
	m.tail = offsetTail
	x := b.logged(in, m)
	srv.log.mu.Lock()
	if e.Volatile {
		// Not kept. But it must not take the place of the last offset that
		// the client has, so it repeats that.
		srv.log.write(offset, srv.log.last())
	} else {
		srv.log.append(x, offset)
	}
	wake := srv.post(d)
	srv.log.mu.Unlock()
	srv.wake(wake)
}

// emitLogged is Emit where events are kept.
func (s Socket) emitLogged(event string, args []any, plain bool) error {
	if s.gone() {
		return ErrClosed
	}
	e, err := s.srv().encodeEvent(event, args)
	if err != nil {
		return err
	}
	frames, offset := frameLogged(s.in.name, e)
	m := newMessage(frames, plain)
	m.tail = offsetTail
	x := s.itself().logged(s.in, m)
	log := s.srv().log
	log.mu.Lock()
	defer log.mu.Unlock()
	log.append(x, offset)
	if !s.shard().loop.Mail(uint64(s.ref), mailKind(plain, offsetTail), frames, nil) {
		return ErrClosed
	}
	return nil
}
