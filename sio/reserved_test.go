package sio_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// A handler that could never be called is a mistake of the program's.
func TestHandlersOfReservedNamesPanic(t *testing.T) {
	ns := newParty(t, 1).ns
	handler := func(sio.Socket, *sio.Msg) error { return nil }
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		for how, register := range map[string]func(){
			"Handle":           func() { ns.Handle(name, handler) },
			"HandleInline":     func() { ns.HandleInline(name, handler) },
			"On":               func() { sio.On(ns, name, func(sio.Socket, int) error { return nil }) },
			"OnAck":            func() { sio.OnAck(ns, name, func(sio.Socket, int) (int, error) { return 0, nil }) },
			"Event.On":         func() { sio.Event[int](name).On(ns, func(sio.Socket, int) error { return nil }) },
			"HandleServerSide": func() { ns.HandleServerSide(name, func(*sio.Msg) error { return nil }) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s(%s) did not panic", how, name)
					}
				}()
				register()
			}()
		}
	}
	ns.Handle("connection", handler) // an event like any other
}

// ListenAndServe says that it has been ended in order, and so does one that comes
// too late; anything else is another error.
func TestListenAndServeEndsWithErrServerClosed(t *testing.T) {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server has been shut down
	go func() { served <- srv.ListenAndServe("127.0.0.1:0") }()
	srv.AwaitRunning()
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := take(t, served); !errors.Is(err, sio.ErrServerClosed) {
		t.Errorf("ListenAndServe = %v, want %v", err, sio.ErrServerClosed)
	}
	if err := srv.ListenAndServe("127.0.0.1:0"); !errors.Is(err, sio.ErrServerClosed) {
		t.Errorf("ListenAndServe after Shutdown = %v, want %v", err, sio.ErrServerClosed)
	}
	if srv, err = sio.New(sio.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := srv.ListenAndServe("nonsense"); err == nil || errors.Is(err, sio.ErrServerClosed) {
		t.Errorf("ListenAndServe(nonsense) = %v, want what is wrong with it", err)
	}
}
