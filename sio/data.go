package sio

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio/internal/keyed"
)

// Data returns what SetData stored, nil before. Of a socket that was recovered
// through a cluster ([rooms.Log]) it is that as a json.RawMessage: see [DataOf].
func (s Socket) Data() any { return shown(s.data()) }

// shown is what an application sees of data.
func shown(data any) any {
	if text, ok := data.(travelled); ok {
		return json.RawMessage(text)
	}
	return data
}

// data is Data as it is kept.
func (s Socket) data() any {
	if d := s.srv().details.get(s.ref); d != nil {
		return d.data
	}
	return nil
}

// SetData stores a value with the socket, for the application. It is kept as it is,
// until the disconnect handlers have returned, and comes back when the socket is
// recovered; as JSON it is what other servers are told ([RemoteSocket.Data]), and
// what comes back through a cluster. For values that stay here see [Key].
func (s Socket) SetData(v any) {
	p, err := s.enter()
	if err != nil {
		return
	}
	defer s.stored()
	defer p.Leave()
	s.srv().details.edit(s.ref, func(d *detail) {
		if !s.gone() { // asked here, so that details.remove comes later
			d.data = v
		}
	})
}

// EditData has f make of what is stored with the socket (Data) what is from then on, as by
// SetData; meanwhile nobody else stores anything. It keeps what there is if f returns an
// error, which EditData returns, or [ErrClosed] if the socket has left. F must be quick,
// and must not ask anything of a socket, since others wait for it.
//
//	err := s.EditData(func(old any) (any, error) {
//		n, _ := old.(int)
//		return n + 1, nil
//	})
func (s Socket) EditData(f func(old any) (any, error)) (err error) {
	p, err := s.enter()
	if err != nil {
		return err
	}
	defer s.stored()
	defer p.Leave()
	s.srv().details.edit(s.ref, func(d *detail) {
		if s.gone() { // asked here, so that details.remove comes later
			err = ErrClosed
			return
		}
		var v any
		if v, err = f(shown(d.data)); err == nil {
			d.data = v
		}
	})
	return err
}

// travelled is a socket's data that came back through a cluster, as JSON.
type travelled json.RawMessage

// DataOf returns what [Socket.SetData] stored, if it is a T. Of a socket that was
// recovered through a cluster it decodes the JSON that this has become, and stores
// the result, so that Data is a T from then on. Anything else is an error that names
// both types: that JSON is no T, or that there is nothing. Of a socket that is gone
// it is [ErrClosed].
func DataOf[T any](s Socket) (v T, err error) {
	d := s.srv().details.get(s.ref)
	if d == nil && s.gone() {
		return v, ErrClosed
	}
	var data any
	if d != nil {
		data = d.data
	}
	if text, ok := data.(travelled); ok {
		if err := json.Unmarshal(text, &v); err != nil {
			return *new(T), fmt.Errorf("sio: the socket's data is JSON of another server, not %v: %w", reflect.TypeFor[T](), err)
		}
		data = s.arrived(v)
	}
	v, ok := data.(T)
	if !ok {
		return v, fmt.Errorf("sio: the socket's data is %T, not %v", data, reflect.TypeFor[T]())
	}
	return v, nil
}

// arrived stores what data that travelled has been decoded into, and returns it; or
// what somebody else has stored in the meantime.
func (s Socket) arrived(v any) (data any) {
	data = v
	s.srv().details.edit(s.ref, func(d *detail) {
		switch _, ok := d.data.(travelled); {
		case !ok && d.data != nil:
			data = d.data
		case !s.gone(): // asked here, so that details.remove comes later
			d.data = v
		}
	})
	return data
}

// A Key is the name of a value of type T that sockets can have, for a package that
// keeps something with sockets that is not its own:
//
//	var account = sio.NewKey[*Account]()
//
//	account.Set(s, a)    // in a middleware
//	a, ok := account.Get(s)
//
// Values are kept as they are, until the disconnect handlers have returned. They
// stay in this process: a socket that is recovered has them again, but not through a
// cluster ([rooms.Log]), and other servers are not told of them. For what is to
// travel there is [Socket.SetData], for what all sockets of a connection have
// [ConnKey]. A value takes about 60 bytes beside its own; a socket without any takes
// no memory for them. Any goroutine may use a Key.
type Key[T any] struct{ id *keyed.Key }

// NewKey returns a Key that is unlike any other.
func NewKey[T any]() Key[T] { return Key[T]{new(keyed.Key)} }

// Set stores the socket's value. It is [ErrClosed] if the socket is gone. It panics
// for a Key that NewKey has not made.
func (k Key[T]) Set(s Socket, v T) error {
	if k.id == nil {
		panic("sio: a Key is made by NewKey")
	}
	p, err := s.enter()
	if err != nil {
		return err
	}
	defer p.Leave()
	err = ErrClosed
	s.srv().values.Edit(uint64(s.ref), func(l keyed.List) keyed.List {
		if s.gone() { // asked here, so that Server.forget comes later
			return l
		}
		err = nil
		return keyed.With(l, k.id, v)
	})
	return err
}

// Get returns the socket's value; it is false if there is none.
func (k Key[T]) Get(s Socket) (v T, ok bool) {
	return valueOf[T](s.srv().values.Of(uint64(s.ref)), k.id)
}

// Delete forgets the socket's value.
func (k Key[T]) Delete(s Socket) {
	p, err := s.enter()
	if err != nil {
		return
	}
	defer p.Leave()
	s.srv().values.Edit(uint64(s.ref), func(l keyed.List) keyed.List { return keyed.Without(l, k.id) })
}

// valueOf returns the value of a list by a key.
func valueOf[T any](l keyed.List, k *keyed.Key) (v T, ok bool) {
	x, ok := keyed.Get(l, k)
	if ok {
		v, ok = x.(T)
		ok = ok || x == nil // a nil of an interface's
	}
	return v, ok
}

// A Conn names the Engine.IO connection that the sockets of a client's namespaces share.
// It is comparable, a map key, and pins nothing. Of a socket it is the same for the
// socket's life, and afterwards; a client that reconnects, with recovery or without,
// has another one.
type Conn struct{ ref uint64 }

// Conn returns the name of the connection that the socket came with.
func (s Socket) Conn() Conn { return Conn{s.conn} }

// String names the connection, unlike any other of this server: hexadecimal digits.
func (c Conn) String() string { return strconv.FormatUint(c.ref, 16) }

// Number returns what String writes, as a number.
func (c Conn) Number() uint64 { return c.ref }

// A ConnKey is a [Key] of the connection: what one namespace stores the others of the
// connection find, until the connection has ended. After that the disconnect
// handlers of its sockets find what there was when their socket left. Who the client
// is, for one, is found out once, by the middleware of the first namespace:
//
//	var user = sio.NewConnKey[*User]()
//
//	u, ok := user.Get(s) // of another namespace's token
//
// A client that comes back has a new connection, without values, also if its socket is
// recovered. A value takes 64 bytes at most beside its own; a connection without any
// takes no memory for them. Any goroutine may use a ConnKey.
type ConnKey[T any] struct{ id *keyed.Key }

// NewConnKey returns a ConnKey that is unlike any other.
func NewConnKey[T any]() ConnKey[T] { return ConnKey[T]{new(keyed.Key)} }

// Set stores the connection's value. It is [ErrClosed] if the connection has ended, or
// the socket is gone. It panics for a ConnKey that NewConnKey has not made.
func (k ConnKey[T]) Set(s Socket, v T) error {
	if k.id == nil {
		panic("sio: a ConnKey is made by NewConnKey")
	}
	p, err := s.enter()
	if err != nil {
		return err
	}
	defer p.Leave()
	err = ErrClosed
	s.srv().conns.Edit(s.conn, func(l keyed.List) keyed.List {
		if s.gone() || !s.srv().eio.IsOpen(s.conn) { // asked here, so that connEnded comes later
			return l
		}
		err = nil
		return keyed.With(l, k.id, v)
	})
	return err
}

// Get returns the connection's value; it is false if there is none.
func (k ConnKey[T]) Get(s Socket) (v T, ok bool) {
	l := s.srv().conns.Of(s.conn)
	if l == nil {
		l = s.srv().partings.Of(uint64(s.ref))
	}
	return valueOf[T](l, k.id)
}

// Delete forgets the connection's value.
func (k ConnKey[T]) Delete(s Socket) {
	p, err := s.enter()
	if err != nil {
		return
	}
	defer p.Leave()
	s.srv().conns.Edit(s.conn, func(l keyed.List) keyed.List { return keyed.Without(l, k.id) })
}

// OnEnd has f called with the value of each connection that ends while it has one, once
// all its sockets have left it; their OnDisconnect may come later. It is for what has to
// be given back, and set where the ConnKey is made; a second one replaces the first. F
// runs on the event loop, where it must not block.
func (k ConnKey[T]) OnEnd(f func(v T)) {
	g := func(v any) {
		x, _ := v.(T) // not of a nil of an interface's
		f(x)
	}
	k.id.Ended.Store(&g)
}

// connEnded forgets the values of a connection.
func (sh *shard) connEnded(es eio.Session) {
	keyed.Each(sh.srv.conns.Take(es.Ref()), func(k *keyed.Key, v any) {
		f := k.Ended.Load()
		if f == nil {
			return
		}
		if err := sh.srv.guard(func() error { (*f)(v); return nil }); err != nil {
			sh.srv.notice.Warn("a function of ConnKey.OnEnd panicked", "error", err)
		}
	})
}
