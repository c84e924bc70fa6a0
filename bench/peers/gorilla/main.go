// Gorilla is the plain way to write a WebSocket server in Go: a goroutine for
// each connection with github.com/gorilla/websocket, and as much of Engine.IO 4
// and Socket.IO 5 as the load generator needs. A broadcast is prepared once.
package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	pingInterval = 25 * time.Second
	pingTimeout  = 20 * time.Second
	writeTimeout = 5 * time.Second
)

var upgrader = websocket.Upgrader{
	ReadBufferSize: 1024, WriteBufferPool: &sync.Pool{},
	CheckOrigin: func(*http.Request) bool { return true },
}

func main() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err == nil {
		fmt.Println("listening on", l.Addr())
		h := &hub{rooms: map[string]map[*conn]struct{}{}}
		err = http.Serve(l, h)
	}
	fmt.Fprintln(os.Stderr, "gorilla:", err)
	os.Exit(1)
}

// A hub is all connections by room; "" is everybody.
type hub struct {
	mu    sync.RWMutex
	rooms map[string]map[*conn]struct{}
}

func (h *hub) join(room string, c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[room] == nil {
		h.rooms[room] = map[*conn]struct{}{}
	}
	h.rooms[room][c] = struct{}{}
	c.rooms = append(c.rooms, room)
}

func (h *hub) leave(room string, c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.rooms[room], c)
	if len(h.rooms[room]) == 0 {
		delete(h.rooms, room)
	}
}

// publish sends packet to a room, on the caller's goroutine.
func (h *hub) publish(room string, packet []byte) {
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, packet)
	if err != nil {
		return
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for c := range h.rooms[room] {
		c.write(func() error { return c.ws.WritePreparedMessage(m) })
	}
}

type conn struct {
	ws    *websocket.Conn
	rooms []string // read by its goroutine alone, written with hub.mu held

	mu   sync.Mutex // held while writing
	ping *time.Timer
}

// write runs f with the right to write. A peer that does not read loses its
// connection.
func (c *conn) write(f func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	if f() != nil {
		c.ws.Close()
	}
}

func (c *conn) send(packet []byte) {
	c.write(func() error { return c.ws.WriteMessage(websocket.TextMessage, packet) })
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &conn{ws: ws}
	c.send(fmt.Appendf(nil, `0{"sid":"%p","upgrades":[],"pingInterval":%d,"pingTimeout":%d,"maxPayload":1000000}`,
		c, pingInterval.Milliseconds(), pingTimeout.Milliseconds()))
	c.ping = time.AfterFunc(pingInterval, func() {
		c.send([]byte("2"))
		c.ping.Reset(pingInterval)
	})
	defer func() {
		c.ping.Stop()
		for _, room := range c.rooms {
			h.leave(room, c)
		}
		ws.Close()
	}()
	for {
		_ = ws.SetReadDeadline(time.Now().Add(pingInterval + pingTimeout))
		_, p, err := ws.ReadMessage()
		if err != nil || !h.packet(c, p) {
			return
		}
	}
}

// packet handles one packet and reports whether the connection goes on.
func (h *hub) packet(c *conn, p []byte) bool {
	switch {
	case bytes.HasPrefix(p, []byte("42")):
		id, args, ok := bytes.Cut(p[2:], []byte(`["`))
		name, args, ok2 := bytes.Cut(args, []byte(`",`))
		if ok && ok2 {
			h.event(c, id, string(name), args)
		}
	case bytes.HasPrefix(p, []byte("40")):
		h.join("", c)
		c.send(fmt.Appendf(nil, `40{"sid":"%p"}`, c))
	case bytes.HasPrefix(p, []byte("41")):
		return false
	}
	return true
}

// event handles an event; args is what follows its name, the bracket included.
func (h *hub) event(c *conn, id []byte, name string, args []byte) {
	answer := []byte("true]")
	switch name {
	case "echo":
		answer = args
	case "join":
		h.join(string(bytes.Trim(args, `"]`)), c)
	case "leave":
		h.leave(string(bytes.Trim(args, `"]`)), c)
	case "publish":
		room, payload, _ := bytes.Cut(args, []byte(","))
		h.publish(string(bytes.Trim(room, `"`)), append([]byte(`42["msg",`), payload...))
	}
	if len(id) > 0 {
		c.send(fmt.Appendf(nil, "43%s[%s", id, answer))
	}
}
