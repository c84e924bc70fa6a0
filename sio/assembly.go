package sio

import (
	"cmp"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/sio/parser"
)

// An assembly is a packet whose attachments a session's client has announced
// and not sent yet.
type assembly struct {
	parser.Assembler
	account *budget.Account
	charged int
	timer   loop.Timer // by when the next one has to be there
}

// overhead is what an assembly takes beside its bytes, and each of its
// attachments, about.
const (
	assemblyOverhead   = 512
	attachmentOverhead = 64
)

// assemble parses a message into sh.packet. Only sessions that wait for
// attachments have an assembly; what it holds is charged before it is copied.
func (sh *shard) assemble(es eio.Session, data []byte, binary bool) (done bool, err error) {
	if !sh.srv.speaks(es, binary) {
		return false, errParser
	}
	if packed(es) {
		return true, sh.unpack(data)
	}
	if own := sh.assemblies[es.Ref()]; own != nil {
		return sh.continued(es, own, data, binary)
	}
	switch {
	case binary:
		return sh.asm.Binary(data, &sh.packet)
	case !announces(data):
		return sh.asm.Text(data, sh.srv.o.Limits, &sh.packet)
	}
	own := &assembly{account: es.Budget(), charged: len(data) + assemblyOverhead}
	if !own.account.Charge(own.charged) {
		return false, nil // the session is gone
	}
	done, err = own.Text(data, sh.srv.o.Limits, &sh.packet)
	if own.Idle() {
		own.account.Release(own.charged)
		return done, err
	}
	sh.assemblies[es.Ref()] = own
	sh.awaitAttachment(es, own)
	return done, err
}

// announces tells whether a text is a packet's with attachments, if it is one.
func announces(text []byte) bool {
	return len(text) > 0 && (text[0] == '0'+byte(parser.BinaryEvent) || text[0] == '0'+byte(parser.BinaryAck))
}

// continued takes a message of a client that owes attachments.
func (sh *shard) continued(es eio.Session, own *assembly, data []byte, binary bool) (done bool, err error) {
	if !binary {
		done, err = own.Text(data, sh.srv.o.Limits, &sh.packet) // which it may not send
	} else {
		n := len(data) + attachmentOverhead
		if !own.account.Charge(n) {
			return false, nil // the session is gone, and the assembly with it
		}
		own.charged += n
		done, err = own.Binary(data, &sh.packet)
	}
	if own.Idle() {
		sh.forgetAssembly(es)
	} else {
		sh.awaitAttachment(es, own)
	}
	return done, err
}

// awaitAttachment gives a client the time for the next attachment that it has
// for a request's body. If it is sending then, or has to wait, it has it once more.
func (sh *shard) awaitAttachment(es eio.Session, own *assembly) {
	patience := cmp.Or(sh.srv.o.Engine.BodyTimeout, time.Minute)
	sh.loop.Schedule(&own.timer, patience, func() {
		if es.Behind() {
			sh.awaitAttachment(es, own)
			return
		}
		sh.tally.unfinished.Add(1)
		sh.srv.notice.Warn("a connection did not send the attachments that it had announced", "flag", "--body-timeout")
		es.Close()
	})
}

// forgetAssembly ends the wait for attachments, if a session has one.
func (sh *shard) forgetAssembly(es eio.Session) {
	if own := sh.assemblies[es.Ref()]; own != nil {
		sh.loop.Cancel(&own.timer)
		own.account.Release(own.charged)
		delete(sh.assemblies, es.Ref())
	}
}
