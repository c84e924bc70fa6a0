package sio_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// whatTheGoneDo has a row for each method of a Socket, and for the functions that
// take one: what it returns when the socket has gone. A method that can fail returns
// ErrClosed.
func whatTheGoneDo(id string) map[string]struct {
	call func(s sio.Socket) any
	want any
} {
	ctx, key, connKey := context.Background(), sio.NewKey[int](), sio.NewConnKey[int]()
	first := func(_ any, err error) any { return err }
	type row = struct {
		call func(s sio.Socket) any
		want any
	}
	return map[string]row{
		"ID":          {func(s sio.Socket) any { return s.ID() }, id},
		"Name":        {func(s sio.Socket) any { return s.Name() }, "/"},
		"Identify":    {func(s sio.Socket) any { return s.Identify("ann") }, true},
		"Namespace":   {func(s sio.Socket) any { return s.Namespace().Name() }, "/"},
		"Conn":        {func(s sio.Socket) any { return s.Conn() != sio.Conn{} }, true},
		"Param":       {func(s sio.Socket) any { return s.Param("id") }, ""},
		"LogValue":    {func(s sio.Socket) any { return s.LogValue().String() }, "[namespace=/ id=" + id + "]"},
		"PublicID":    {func(s sio.Socket) any { return s.PublicID() == s.ID() }, true},
		"ReplyTo":     {func(s sio.Socket) any { return s.ReplyTo(7).Ack() }, sio.ErrClosed},
		"Connected":   {func(s sio.Socket) any { return s.Connected() }, false},
		"In":          {func(s sio.Socket) any { return s.In("r") }, false},
		"Recoverable": {func(s sio.Socket) any { return s.Recoverable() }, false},
		"Recovered":   {func(s sio.Socket) any { return s.Recovered() }, false},
		"Rooms":       {func(s sio.Socket) any { return s.Rooms() }, []string(nil)},
		"Transport":   {func(s sio.Socket) any { return s.Transport() }, ""},
		"Data":        {func(s sio.Socket) any { return s.Data() }, nil},
		"Handshake":   {func(s sio.Socket) any { return s.Handshake() }, sio.Handshake{}},
		"Context":     {func(s sio.Socket) any { return context.Cause(s.Context()) }, sio.ErrClosed},

		"Join": {func(s sio.Socket) any { s.Join("r"); return nil }, nil},
		"JoinReplay": {func(s sio.Socket) any {
			s.Namespace().KeepHistory(sio.History{Size: 1})
			s.JoinReplay([]string{"r"}, 1)
			s.Namespace().KeepHistory(sio.History{})
			return nil
		}, nil},
		"JoinReplayWait": {func(s sio.Socket) any { return s.JoinReplayWait(ctx, []string{"r"}, 1) }, sio.ErrClosed},

		"Leave":     {func(s sio.Socket) any { s.Leave("r"); return nil }, nil},
		"ExpireAt":  {func(s sio.Socket) any { s.ExpireAt(time.Now(), func(sio.Socket) {}); return nil }, nil},
		"SetData":   {func(s sio.Socket) any { s.SetData(1); return s.Data() }, nil},
		"CloseConn": {func(s sio.Socket) any { s.CloseConn(); return nil }, nil},
		"EditData":  {func(s sio.Socket) any { return s.EditData(func(any) (any, error) { return 1, nil }) }, sio.ErrClosed},
		"Stats":     {func(s sio.Socket) any { x, ok := s.Stats(); return ok || x != sio.SocketStats{} }, false},

		"Emit":          {func(s sio.Socket) any { return s.Emit("x") }, sio.ErrClosed},
		"EmitAck":       {func(s sio.Socket) any { return first(s.EmitAck(ctx, "x")) }, sio.ErrClosed},
		"EmitAckFunc":   {func(s sio.Socket) any { return s.EmitAckFunc(time.Minute, func(sio.Args, error) {}, "x") }, sio.ErrClosed},
		"JoinWait":      {func(s sio.Socket) any { return s.JoinWait(ctx, "r") }, sio.ErrClosed},
		"Disconnect":    {func(s sio.Socket) any { return s.Disconnect(sio.DisconnectOptions{Conn: true}) }, sio.ErrClosed},
		"CloseConnWith": {func(s sio.Socket) any { return s.CloseConnWith(4000, "") }, sio.ErrClosed},
		"Auth":          {func(s sio.Socket) any { return s.Auth(new(any)) }, sio.ErrClosed},
		"Self":          {func(s sio.Socket) any { return s.Self().Emit("x") }, sio.ErrClosed},
		"Volatile":      {func(s sio.Socket) any { return s.Volatile().Emit("x") }, sio.ErrClosed},
		"Compress":      {func(s sio.Socket) any { return s.Compress(false).Emit("x") }, sio.ErrClosed},
		"To":            {func(s sio.Socket) any { ns := s.To("r").Namespace(); return ns.Name() }, "/"},
		"Except":        {func(s sio.Socket) any { ns := s.Except("r").Namespace(); return ns.Name() }, "/"},
		"Broadcast":     {func(s sio.Socket) any { ns := s.Broadcast().Namespace(); return ns.Name() }, "/"},

		"Self().To":           {func(s sio.Socket) any { return s.Self().To("r").Emit("x") }, sio.ErrClosed},
		"Self().Except":       {func(s sio.Socket) any { return s.Self().Except("r").Emit("x") }, sio.ErrClosed},
		"Self().Disconnect":   {func(s sio.Socket) any { return s.Self().Disconnect(sio.DisconnectOptions{}) }, sio.ErrClosed},
		"Volatile().EmitAck":  {func(s sio.Socket) any { return first(s.Volatile().EmitAck(ctx, "x")) }, sio.ErrClosed},
		"Self().To().EmitAck": {func(s sio.Socket) any { return first(s.Self().To("r").EmitAck(ctx, "x")) }, sio.ErrClosed},
		"Ask":                 {func(s sio.Socket) any { return first(sio.Ask[int](ctx, s, "x")) }, sio.ErrClosed},
		"Event.Emit":          {func(s sio.Socket) any { return sio.Event[int]("x").Emit(s, 1) }, sio.ErrClosed},
		"DataOf":              {func(s sio.Socket) any { return first(sio.DataOf[int](s)) }, sio.ErrClosed},
		"Key.Set":             {func(s sio.Socket) any { return key.Set(s, 1) }, sio.ErrClosed},
		"Key.Get":             {func(s sio.Socket) any { v, ok := key.Get(s); return fmt.Sprint(v, ok) }, "0 false"},
		"Key.Delete":          {func(s sio.Socket) any { key.Delete(s); return nil }, nil},
		"ConnKey.Set":         {func(s sio.Socket) any { return connKey.Set(s, 1) }, sio.ErrClosed},
		"ConnKey.Get":         {func(s sio.Socket) any { v, ok := connKey.Get(s); return fmt.Sprint(v, ok) }, "0 false"},
		"Gone":                {func(s sio.Socket) any { return s.Gone() }, true},
		"EmitAckID":           {func(s sio.Socket) any { return first(s.EmitAckID(time.Minute, func(sio.Args, error) {}, "x")) }, sio.ErrClosed},
		"AwaitAck":            {func(s sio.Socket) any { s.AwaitAck(1, time.Minute, func(sio.Args, error) {}, "x"); return nil }, nil},
		"Number":              {func(s sio.Socket) any { return s.Number() != 0 }, true},
		"Pack":                {func(s sio.Socket) any { return len(s.Pack(nil)) > 0 }, true},
		"ConnKey.Delete":      {func(s sio.Socket) any { connKey.Delete(s); return nil }, nil},
	}
}

// All methods of a socket that has gone do as whatTheGoneDo says, and none waits:
// not for a loop that does nothing, and not for what waits for it.
func TestMethodsOfWhoHasGone(t *testing.T) {
	table := whatTheGoneDo("")
	for m := range reflect.TypeFor[sio.Socket]().NumMethod() {
		name := reflect.TypeFor[sio.Socket]().Method(m).Name
		if forTests := []string{"LoopIndex", "Slot", "Writable", "Proven"}; table[name].call == nil && !slices.Contains(forTests, name) {
			t.Errorf("whatTheGoneDo has no row for %s", name)
		}
	}
	for _, mode := range []string{"alone", "recovery", "cluster", "cluster with a log"} {
		t.Run(mode, func(t *testing.T) {
			o := sio.Options{Loop: loops(1)}
			switch mode {
			case "recovery":
				o.Recovery.Window = time.Minute
			case "cluster":
				o.Adapter = (&bus{}).stop()
			case "cluster with a log":
				o.Adapter, o.Recovery.Window = newLedger().book(), time.Minute
			}
			left, gate, stuck := make(chan sio.Socket, 1), make(chan struct{}), make(chan sio.Socket)
			srv := serve(t, o, func(srv *sio.Server) {
				ns := srv.Of("/")
				ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s })
				ns.HandleInline("stick", func(s sio.Socket, _ *sio.Msg) error { stuck <- s; <-gate; return nil })
			})
			open := func() *client {
				c := srv.dial()
				c.send("40")
				c.next()
				return c
			}
			other, c := open(), open()
			c.send("41")
			s := take(t, left)
			eventually(t, "forgetting its details", func() bool { return errors.Is(s.Auth(new(any)), sio.ErrClosed) })
			other.send(`42["stick"]`)
			here := take(t, stuck)
			var filled error
			for range 16 { // as much as may wait for a loop, and some more
				filled = errors.Join(filled, here.Emit("x", strings.Repeat("x", 1_100_000)))
			}
			free := sync.OnceFunc(func() { close(gate) })
			defer free()
			got := make(chan map[string]any, 1)
			// ends when no method waits
			go func() {
				all := map[string]any{}
				for name, row := range whatTheGoneDo(s.ID()) {
					all[name] = row.call(s)
				}
				got <- all
			}()
			all := take(t, got)
			free()
			for name, row := range whatTheGoneDo(s.ID()) {
				err, _ := all[name].(error)
				want, _ := row.want.(error)
				if want != nil && !errors.Is(err, want) || want == nil && !reflect.DeepEqual(all[name], row.want) {
					t.Errorf("%s = %v, want %v", name, all[name], row.want)
				}
			}
			other.conn.Close()
			take(t, left)
			_ = filled // with a log not all is for the loop
		})
	}
}

// A handler may return ErrClosed, wrapped and joined: nobody is told.
func TestErrClosedOfAHandlerIsNotLogged(t *testing.T) {
	srv, j := serveLogged(t, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		ns.Handle("closed", func(sio.Socket, *sio.Msg) error { return errors.Join(fmt.Errorf("gone: %w", sio.ErrClosed)) })
		ns.HandleInline("inline", func(sio.Socket, *sio.Msg) error { return sio.ErrClosed })
		sio.OnAck(ns, "ack", func(sio.Socket, int) (int, error) { return 0, sio.ErrClosed })
		ns.OnDisconnect(func(sio.Socket, sio.Reason) {})
		srv.Of("/in").OnConnect(func(sio.Socket) error { return sio.ErrClosed })
	})
	c := srv.join("40")
	c.send(`42["closed"]`, `42["inline"]`, `421["ack",1]`)
	c.expect(`431[{"error":"internal error"}]`)
	c.join("40/in,")
	c.expect("41/in,")
	c.quiet("")
	if st := srv.Stats(); st.Errors != 0 {
		t.Errorf("%d errors are counted, want none", st.Errors)
	}
	if lines := j.lines(); slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "closed") }) {
		t.Errorf("the log has %q", lines)
	}
}

// A socket is a group of its namespace and its id in a log line.
func TestSocketInALogLine(t *testing.T) {
	p := newParty(t, 1)
	j := &journal{}
	slog.New(slog.NewTextHandler(j, nil)).Info("here", "socket", p.sockets[0])
	if got, want := strings.Join(j.lines(), ""), "socket.namespace=/ socket.id="+p.sockets[0].ID(); !strings.Contains(got, want) {
		t.Errorf("the line is %q, want %s in it", got, want)
	}
	if got := (sio.Socket{}).LogValue().String(); got != "[]" {
		t.Errorf("LogValue of the zero Socket is %s", got)
	}
}
