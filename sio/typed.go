package sio

import (
	"context"
	"errors"
)

// Typed makes a Handler of a function that takes the event's first argument as
// a T. An event without arguments gives the zero T.
func Typed[T any](h func(Socket, T) error) Handler {
	return func(s Socket, m *Msg) error {
		var v T
		if err := m.Decode(&v); err != nil {
			return err
		}
		return h(s, v)
	}
}

// TypedAck makes a Handler of a function that takes the event's first argument
// as a T and returns what the client is answered, if it wants to know: the
// result, or of an error {"error": message} with "data" if the error has any.
// See [Error] for what the client sees of an error.
func TypedAck[T, R any](h func(Socket, T) (R, error)) Handler {
	return func(s Socket, m *Msg) error {
		err := ackResult(h, s, m)
		if err == nil {
			return nil
		}
		e := internalError
		answer := map[string]any{}
		ackErr := s.srv().guard(func() error { // Data may panic as it is encoded
			e = clientError(err)
			if answer["error"] = e.Message; e.Data != nil {
				answer["data"] = e.Data
			}
			return m.Ack(answer)
		})
		if ackErr != nil {
			return errors.Join(ackErr, m.Ack(map[string]any{"error": e.Message}))
		}
		if e == err {
			return nil // meant for the client, who has it
		}
		return err
	}
}

// ackResult has h called and the client answered. An error, or a panic, means
// that it was not; but a client whose handler has ended the goroutine is.
func ackResult[T, R any](h func(Socket, T) (R, error), s Socket, m *Msg) (err error) {
	returned := false
	defer func() {
		if !returned {
			_ = m.Ack(map[string]any{"error": internalError.Message})
		}
	}()
	err = ackReturned(h, s, m)
	returned = true
	return err
}

func ackReturned[T, R any](h func(Socket, T) (R, error), s Socket, m *Msg) (err error) {
	defer s.srv().recovered(&err)
	var v T
	if err := m.Decode(&v); err != nil {
		return err
	}
	r, err := h(s, v)
	if err != nil {
		return err
	}
	return m.Ack(r)
}

// On sets the handler of an event whose first argument is a T.
func On[T any](n *Namespace, event string, h func(Socket, T) error) { n.Handle(event, Typed(h)) }

// OnAck sets the handler of an event whose first argument is a T and that is
// acknowledged with an R. See [TypedAck].
func OnAck[T, R any](n *Namespace, event string, h func(Socket, T) (R, error)) {
	n.Handle(event, TypedAck(h))
}

// Ask sends an event and waits for the client's acknowledgement as an R. See
// [Socket.EmitAck].
func Ask[R any](ctx context.Context, s Socket, event string, args ...any) (R, error) {
	var r R
	a, err := s.EmitAck(ctx, event, args...)
	if err == nil {
		err = a.Decode(&r)
	}
	return r, err
}

// An Emitter is what an event can be sent to: a Socket, a Namespace, a
// BroadcastOperator.
type Emitter interface {
	Emit(event string, args ...any) error
}

// An Event is an event's name together with the type of its argument, for
// contracts that the compiler checks at both ends.
type Event[T any] string

// On sets the event's handler.
func (e Event[T]) On(n *Namespace, h func(Socket, T) error) { On(n, string(e), h) }

// Emit sends the event.
func (e Event[T]) Emit(to Emitter, v T) error { return to.Emit(string(e), v) }
