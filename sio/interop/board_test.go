//go:build interop

package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// TestInteropMarketBoard: a client that pauses reading its socket sees, of each of 500
// symbols, prices that only go forward, up to the last, and those that it does not see
// have been counted.
func TestInteropMarketBoard(t *testing.T) {
	for _, kind := range []string{"4", "3", "2"} {
		for _, window := range []time.Duration{0, time.Minute} {
			t.Run(fmt.Sprintf("client %s, recovery %v", kind, window), func(t *testing.T) { board(t, kind, window) })
		}
	}
}

func board(t *testing.T, kind string, window time.Duration) {
	const symbols, rounds = 500, 150
	srv, err := sio.New(sio.Options{Loop: loop.Options{Loops: 1}, Engine: eio.Options{AllowEIO3: true},
		PerMessageDeflate: &eio.Compression{Threshold: 256}, Recovery: sio.Recovery{Window: window, MaxBytes: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	ns := srv.Of("/")
	ns.SetClass("price", func(a sio.Args) sio.Class {
		var symbol string
		_ = a.Decode(&symbol)
		return sio.Class{Policy: sio.Conflate, Key: symbol}
	})
	got := make(chan int64, 1)
	ns.Handle("begin", func(s sio.Socket, _ *sio.Msg) error {
		for price := 1; price <= rounds; price++ {
			for symbol := range symbols {
				if err := ns.Emit("price", fmt.Sprint(symbol), price, noise(price, symbol)); err != nil {
					return err
				}
			}
			time.Sleep(10 * time.Millisecond) // its market is no faster
		}
		return s.Emit("end", rounds)
	})
	sio.OnAck(ns, "got", func(_ sio.Socket, n int64) (bool, error) { got <- n; return true, nil })
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	defer stop(t, srv, served)
	node(t, "board.mjs", "http://"+addr.String(), fmt.Sprint(symbols), kind)
	st := srv.Stats()
	if n := <-got; n+st.Namespaces[0].Dropped != symbols*rounds || st.Namespaces[0].Dropped == 0 {
		t.Errorf("of %d prices the client has %d, and %d were dropped", symbols*rounds, n, st.Namespaces[0].Dropped)
	}
}

// noise returns an attachment that begins with the price and does not compress.
func noise(price, symbol int) []byte {
	b := make([]byte, 700)
	x := uint64(price)*2654435761 + uint64(symbol)
	for i := 0; i+8 <= len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	b[0] = byte(price)
	return b
}
