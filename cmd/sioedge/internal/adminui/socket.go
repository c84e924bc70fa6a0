package adminui

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// A socket is one as pages are told of it.
type socket struct {
	ID        string          `json:"id"`
	ClientID  string          `json:"clientId"`
	Transport string          `json:"transport"`
	Namespace string          `json:"nsp"`
	Data      json.RawMessage `json:"data"`
	Handshake handshake       `json:"handshake"`
	Rooms     []string        `json:"rooms"`
}

// A handshake is a socket's first request, without what proves who its client is.
type handshake struct {
	Address string         `json:"address"`
	Headers map[string]any `json:"headers"`
	Query   map[string]any `json:"query"`
	Issued  int64          `json:"issued"`
	Secure  bool           `json:"secure"`
	Time    string         `json:"time"`
	URL     string         `json:"url"`
	XDomain bool           `json:"xdomain"`
}

// clientIDLen is the length of what Node shows of the ids of connections.
const clientIDLen = 12

// clientID names the connection of a socket of this server: no other of the cluster has
// the name, and it is not by what the connection could be used.
func clientID(s sio.Socket, node string) string {
	sum := sha256.Sum256([]byte(node + " " + s.Conn().String()))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:clientIDLen]
}

// described returns what is known of a socket of this server, but for its data.
func described(s sio.Socket, node, transport string, rooms []string) *socket {
	return &socket{ID: s.ID(), ClientID: clientID(s, node), Transport: transport, Namespace: s.Name(), Data: noData, Handshake: shown(s.Handshake()), Rooms: rooms}
}

// jsTime is how JavaScript prints a date.
const jsTime = "Mon Jan 02 2006 15:04:05 GMT-0700 (Coordinated Universal Time)"

// shown returns what is shown of a handshake.
func shown(h sio.Handshake) handshake {
	x := handshake{
		Headers: flat(h.Header(), strings.ToLower, secretField), Query: flat(h.Query(), nil, secretValue), Issued: h.Issued().UnixMilli(),
		Secure: h.Secure(), Time: h.Issued().UTC().Format(jsTime), XDomain: h.XDomain(),
	}
	if a := h.Address(); a.IsValid() {
		x.Address = a.Addr().Unmap().String()
	}
	path, query, ok := strings.Cut(h.URL(), "?")
	if x.URL = path; ok {
		x.URL += "?" + masked(query)
	}
	return x
}

// hidden is shown in place of a secret.
const hidden = "…"

// secretField tells whether a field of a request proves who somebody is.
func secretField(name string) bool {
	return slices.Contains([]string{"authorization", "cookie", "proxy-authorization", "x-api-key"}, name)
}

// secretValue tells whether a value of a query may be a secret, by its name.
func secretValue(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"token", "secret", "password", "auth", "jwt", "session", "signature"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return name == "key" || name == "sig" || name == "apikey" || name == "sid"
}

// masked returns a query with its secrets hidden.
func masked(query string) string {
	parts := strings.Split(query, "&")
	for i, part := range parts {
		if name, _, ok := strings.Cut(part, "="); ok && secretValue(name) {
			parts[i] = name + "=" + hidden
		}
	}
	return strings.Join(parts, "&")
}

// flat returns lists of one as that one, by what rename makes of their names; nil: nothing.
func flat(m map[string][]string, rename func(string) string, secret func(name string) bool) map[string]any {
	out := make(map[string]any, len(m))
	for name, values := range m {
		if rename != nil {
			name = rename(name)
		}
		switch {
		case secret(name):
			out[name] = hidden
		case len(values) == 1:
			out[name] = values[0]
		default:
			out[name] = values
		}
	}
	return out
}

// noData is the data of a socket with which nothing was stored.
var noData = json.RawMessage("{}")

// dataOf returns what was stored with a socket of this server. It may not be called on a
// loop: what encodes it is the application's.
func dataOf(s sio.Socket) (data json.RawMessage) {
	defer func() {
		if recover() != nil {
			data = noData
		}
	}()
	switch d := s.Data().(type) {
	case nil:
		return noData
	case json.RawMessage:
		return bounded(d)
	default:
		text, err := value.AppendJSON(nil, d)
		if err != nil {
			return noData
		}
		return bounded(text)
	}
}

// bounded returns data, or how long it is.
func bounded(data json.RawMessage) json.RawMessage {
	if len(data) <= maxData {
		return data
	}
	return fmt.Appendf(nil, `{"(not shown)":"%d bytes"}`, len(data))
}

// extra is what Node's servers tell each other of a socket within its data.
type extra struct {
	ClientID  string `json:"clientId"`
	Transport string `json:"transport"`
}

// describe is what other servers are told of a socket's data: with what their pages show.
func describe(s sio.Socket, node, transport string, data json.RawMessage) json.RawMessage {
	inner, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "{")
	if !ok {
		return data
	}
	head, err := json.Marshal(extra{clientID(s, node), transport})
	if err != nil {
		return data
	}
	out := append([]byte(`{"_admin":`), head...)
	if strings.TrimSpace(inner) != "}" {
		out = append(out, ',')
	}
	return append(out, inner...)
}

// told returns what another server says of a socket.
func told(r sio.RemoteSocket, namespace string) *socket {
	x := &socket{ID: r.ID(), Namespace: namespace, Data: noData, Handshake: shown(r.Handshake()), Rooms: r.Rooms()}
	var members map[string]json.RawMessage
	var data json.RawMessage
	if r.Data(&data) == nil && value.Skip(data, value.SkipSpace(data, 0), value.MaxDepth) >= 0 {
		x.Data = data
	}
	if json.Unmarshal(x.Data, &members) == nil {
		var e extra
		_ = json.Unmarshal(members["_admin"], &e) // what can be read
		x.ClientID, x.Transport = cut(e.ClientID), cut(e.Transport)
		if _, ok := members["_admin"]; ok {
			delete(members, "_admin")
			x.Data, _ = json.Marshal(members)
		}
	}
	x.Data = bounded(x.Data)
	if x.ClientID == "" {
		x.ClientID = cut(x.ID)
	}
	if x.Rooms == nil {
		x.Rooms = []string{x.ID}
	}
	return x
}

// cut returns as much of a text as Node shows of ids.
func cut(s string) string { return s[:min(len(s), clientIDLen)] }

// gatherTime is how long other servers are waited for, altogether.
const gatherTime = 3 * time.Second

// maxGathered bounds the text of all sockets, and maxData that of what was stored with one,
// in bytes.
const (
	maxGathered = 8 << 20
	maxData     = 8 << 10
)

// gather returns the sockets of some namespaces of all servers, as JSON. It is false if
// there are more than may be shown, which pages are told then; what servers do not tell in
// time is missing.
func (u *UI) gather(names []string) (list []byte, ok bool) {
	all, ok := u.sockets(names)
	if ok {
		list, _ = json.Marshal(all)
	}
	if ok && len(list) <= maxGathered {
		return list, true
	}
	u.mu.Lock()
	changed := !u.level.crowded
	u.level.crowded, u.level.synced = true, u.now()
	u.settle(u.now())
	u.mu.Unlock()
	if changed {
		u.sayCrowded(true)
	}
	return nil, false
}

func (u *UI) sockets(names []string) (all []*socket, ok bool) {
	ctx, done := context.WithTimeout(u.stopped, gatherTime)
	defer done()
	all = []*socket{}
	for _, name := range names {
		to, ok := u.srv.Find(name)
		if !ok {
			continue
		}
		for page, err := range to.Pages(ctx, 100) {
			if err != nil {
				u.note.Info("not all servers have told their sockets for the Admin UI", "namespace", name, "error", err)
			}
			for _, r := range page {
				if s, here := to.Namespace().Lookup(r.ID()); here && s.Name() == name {
					x := described(s, u.me.node, s.Transport(), r.Rooms())
					x.Data = dataOf(s)
					all = append(all, x)
				} else {
					all = append(all, told(r, name))
				}
			}
			if len(all) > maxSockets {
				return nil, false
			}
		}
	}
	return all, true
}
