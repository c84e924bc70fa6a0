package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/sio"
)

const (
	pageSize = 100
	maxPage  = 1000
	// scanStep is how many sockets are looked at for one question: a page may be shorter
	// than was wanted then.
	scanStep = 4096
	// pageBytes bounds a page of another server, about: it is said at one time.
	pageBytes = 768 << 10
	// maxSocket bounds what is said of one socket, about.
	maxSocket = 64 << 10
	// maxPages bounds how many servers are asked, or how often, for one answer.
	maxPages = 64
)

// fields are what is said of a socket, as bits.
type fields uint8

const (
	ofRooms fields = 1 << iota
	ofData
	ofUser
	ofHandshake
)

var fieldNames = map[string]fields{"rooms": ofRooms, "data": ofData, "user": ofUser, "handshake": ofHandshake}

// A pageQuestion asks a server for a page of its sockets.
type pageQuestion struct {
	Node   string `json:"node"`
	Filter filter `json:"filter"`
	Fields fields `json:"fields"`
	At     uint64 `json:"at"`
	Limit  int    `json:"limit"`
}

func (q pageQuestion) clamped() pageQuestion {
	q.Limit = min(max(q.Limit, 1), maxPage)
	return q
}

type pageAnswer struct {
	Sockets []wire.Socket `json:"sockets"`
	Next    uint64        `json:"next"` // 0: there are no more
}

// page returns a page of this server's sockets.
func (a *API) page(q pageQuestion) pageAnswer {
	x := pageAnswer{Next: q.At}
	to, err := q.Filter.target(a.srv)
	if err != nil {
		return pageAnswer{}
	}
	to = to.Local()
	size := 0
	for seen := 0; seen < scanStep && len(x.Sockets) < q.Limit && size < pageBytes; {
		// Not more at one time than may be in the page: where to go on is known
		// behind the last of them alone.
		n := min(q.Limit-len(x.Sockets), 64, 1+(pageBytes-size)/maxSocket)
		var part []sio.Socket
		part, x.Next = to.SocketsFrom(x.Next, n)
		for _, s := range part {
			if q.Filter.has(a, s) {
				said, bytes := a.describe(s, q.Fields)
				x.Sockets = append(x.Sockets, said)
				size += bytes
			}
		}
		if seen += len(part); x.Next == 0 {
			break
		}
	}
	return x
}

// describe says of a socket of this server what is asked for, and about how many bytes
// that has.
func (a *API) describe(s sio.Socket, want fields) (x wire.Socket, size int) {
	x = wire.Socket{SID: s.PublicID(), Node: a.srv.Node(), Nsp: s.Name()}
	size = 128 + len(x.Nsp)
	if want&ofUser != 0 {
		x.User = a.o.User(s)
		size += len(x.User)
	}
	if want&ofRooms != 0 {
		size = sayRooms(&x, size, s.ID(), s.Rooms())
	}
	if want&ofData != 0 {
		data, err := dataOf(s)
		size = sayData(&x, size, data, err == nil)
	}
	if want&ofHandshake != 0 {
		x.Handshake = &wire.Handshake{}
		if st, ok := s.Stats(); ok && st.Address.IsValid() {
			x.Handshake.Address = st.Address.Addr().Unmap().String()
		}
	}
	return x, size
}

// sayRooms adds a socket's rooms but its own, as far as there is space, and returns about
// how many bytes are said with them.
func sayRooms(x *wire.Socket, size int, own string, rooms []string) int {
	for _, room := range rooms {
		if size += len(room) + 3; size > maxSocket {
			x.Truncated = true
			break
		}
		if room != own {
			x.Rooms = append(x.Rooms, room)
		}
	}
	return size
}

// sayData is sayRooms for its data, which may be none that can be said.
func sayData(x *wire.Socket, size int, data json.RawMessage, ok bool) int {
	if !ok || size+len(data) > maxSocket {
		x.Truncated = true
		return size
	}
	x.Data = data
	return size + len(data)
}

// A cursor says where a query goes on.
type cursor struct {
	Node  string `json:"n"` // or atForeign
	At    uint64 `json:"p,omitempty"`
	After string `json:"a,omitempty"` // atForeign: the id of the last one
}

func (c cursor) String() string {
	b, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(text string) (c cursor, err error) {
	if text == "" {
		return c, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || len(text) > 512 {
		return c, bad("cursor", string(action.Malformed), "is none that was given")
	}
	return c, nil
}

// query asks for a page of the sockets of all servers, those of one behind those of
// another, and those of Node's at last. Servers are asked most times at most.
func (a *API) query(ctx context.Context, f *filter, want fields, limit, most int, from cursor) (x wire.Sockets, err error) {
	x.Sockets = []wire.Socket{}
	if _, err := f.target(a.srv); err != nil {
		return x, err
	}
	nodes := a.peers.nodes()
	if i := slices.Index(nodes, from.Node); from.Node != "" && from.Node != atForeign && i < 0 && from.At != 0 {
		x.Partial = &wire.Partial{Missing: []string{clip(from.Node)}}
	}
	questions := 0
	for _, node := range nodes {
		at := uint64(0)
		switch {
		case node < from.Node:
			continue
		case node == from.Node:
			at = from.At
		}
		for more := true; more; more = at != 0 {
			if questions++; len(x.Sockets) >= limit || questions > most {
				x.Cursor = cursor{Node: node, At: at}.String()
				return x, nil
			}
			q := pageQuestion{Node: node, Filter: *f, Fields: want, At: at, Limit: limit - len(x.Sockets)}
			wait := askTime
			if x.Partial != nil { // one was waited for
				wait = shortTime
			}
			page, part, err := a.pageOf(ctx, q, wait)
			if err != nil {
				return x, err
			}
			x.Partial = both(x.Partial, part)
			x.Sockets = append(x.Sockets, page.Sockets...)
			at = page.Next
		}
	}
	if a.peers.link == nil {
		return x, nil
	}
	return a.queryForeign(ctx, x, f, want, limit, from.After)
}

// pageOf asks the server that a question is for.
func (a *API) pageOf(ctx context.Context, q pageQuestion, wait time.Duration) (pageAnswer, *wire.Partial, error) {
	if q.Node == a.srv.Node() {
		return a.page(q), nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers, part, err := askThese[pageAnswer](ctx, a.peers, []string{q.Node}, topicPage, q)
	switch {
	case err != nil:
		return pageAnswer{}, nil, err
	case len(answers) == 0:
		return pageAnswer{}, both(part, &wire.Partial{Missing: []string{q.Node}}), nil
	}
	return answers[0], part, nil
}

// querySockets is the endpoint.
func (c *call) querySockets() (any, error) {
	f, want, limit, from := &filter{}, fields(0), pageSize, cursor{}
	err := c.members(func(name string, v []byte) (err error) {
		switch name {
		case "fields":
			want, err = fieldsOf(v)
		case "limit":
			limit, err = wholeOf(name, v, 1, maxPage)
		case "cursor":
			var text string
			if text, err = textOf(name, v, 512); err == nil {
				from, err = parseCursor(text)
			}
		default:
			err = f.member(name, v)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if p := c.hides(f); p != nil {
		return nil, p
	}
	if want == 0 {
		want = ofRooms | ofData | ofUser
	}
	if c.readOnly {
		want &^= ofData
	}
	return c.a.query(c.r.Context(), f, want, limit, c.mostPages(), from)
}

func fieldsOf(v []byte) (want fields, err error) {
	names, err := namesIn("fields", v, len(fieldNames))
	for i, name := range names {
		if fieldNames[name] == 0 {
			return 0, bad("fields["+strconv.Itoa(i)+"]", string(action.Malformed), "is none of rooms, data, user, handshake")
		}
		want |= fieldNames[name]
	}
	return want, err
}

// wholeOf reads a whole number within bounds.
func wholeOf(field string, v []byte, least, most int) (int, error) {
	n, err := strconv.Atoi(string(v))
	if err != nil || n < least || n > most {
		return 0, bad(field, string(action.Malformed), "is to be a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
	return n, nil
}

// members calls f for the members of the body, which is an object.
func (c *call) members(f func(name string, v []byte) error) error {
	if err := checkJSON(c.body, c.s); err != nil {
		return err
	}
	return members(c.body, f)
}

// A socketQuestion asks who has a socket.
type socketQuestion struct {
	SID string `json:"sid"`
	Nsp string `json:"nsp,omitempty"`
}

// detail returns all that is known of a socket of this server, nil if there is none of
// that id.
func (a *API) detail(sid, nsp string) *wire.SocketDetail {
	for _, ns := range a.srv.Namespaces() {
		s, ok := ns.Lookup(sid)
		if !ok || nsp != "" && s.Name() != nsp {
			continue
		}
		x := &wire.SocketDetail{}
		x.Socket, _ = a.describe(s, ofRooms|ofData|ofUser)
		x.Handshake = handshakeOf(s)
		if at := a.o.Authority.Of(s).Expires(); !at.IsZero() {
			x.Expires = at.UnixMilli()
		}
		if st, ok := s.Stats(); ok {
			x.Transport = st.Transport
			x.Stats = &wire.SocketStats{QueueBytes: int64(st.Queued), RTTSeconds: st.RTT.Seconds(), Tasks: st.Tasks, Rooms: st.Rooms, Acks: st.Acks}
			if st.Address.IsValid() {
				x.Handshake.Address = st.Address.Addr().Unmap().String()
			}
		}
		return x
	}
	return nil
}

// secrets are fields of a request that are not shown to others, but that they were there.
var secrets = []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key"}

// handshakeOf says what is kept of how a socket came. What proves who its client is, is
// not shown.
func handshakeOf(s sio.Socket) *wire.Handshake {
	x := &wire.Handshake{}
	for _, r := range describedHere(s) {
		x = shown(r.Handshake())
	}
	return x
}

// shown is what is said of a handshake.
func shown(h sio.Handshake) *wire.Handshake {
	x := &wire.Handshake{Secure: h.Secure()}
	if h.Address().IsValid() {
		x.Address = h.Address().Addr().Unmap().String()
	}
	if h.URL() == "" { // it is not kept
		return x
	}
	path, _, _ := strings.Cut(h.URL(), "?")
	x.URL, x.Issued = path, h.Issued().UnixMilli()
	x.Query, x.Headers = flat(h.Query()), flat(h.Header())
	delete(x.Query, "access_token")
	for name := range x.Query {
		if isPrivate(name) {
			x.Query[name] = "…"
		}
	}
	for _, name := range secrets {
		if _, ok := x.Headers[name]; ok {
			x.Headers[name] = "…"
		}
	}
	return x
}

// describedHere is what other servers would be told of a socket.
func describedHere(s sio.Socket) (all []sio.RemoteSocket) {
	for page, err := range s.Namespace().Instance(s.Name()).To(s.ID()).Local().Pages(context.Background(), 1) {
		if err != nil {
			return all
		}
		all = append(all, page...)
	}
	return all
}

// maxHandshake bounds what is said of a request's fields, in bytes.
const maxHandshake = 32 << 10

// flat joins the values of each name.
func flat(m map[string][]string) map[string]string {
	x, size := map[string]string{}, 0
	for name, values := range m {
		text := strings.Join(values, ", ")
		if size += len(name) + len(text); size > maxHandshake {
			break
		}
		x[name] = text
	}
	return x
}

// socket is the endpoint.
func (c *call) socket() (any, error) {
	d, err := c.detail()
	if err == nil && c.readOnly {
		d.Data = nil
	}
	return d, err
}

// detail finds the socket that is asked for, on any server.
func (c *call) detail() (*wire.SocketDetail, error) {
	sid, nsp := c.params[0], c.query.Get("nsp")
	if d := c.a.detail(sid, nsp); d != nil {
		return d, nil
	}
	answers, part, err := ask[wire.SocketDetail](c.r.Context(), c.a.peers, topicSocket, socketQuestion{sid, nsp})
	switch {
	case err != nil:
		return nil, err
	case len(answers) > 0:
		return &answers[0], nil
	}
	d, less, err := c.a.detailForeign(c.r.Context(), sid, nsp)
	switch part = both(part, less); {
	case err != nil:
		return nil, err
	case d != nil:
		return d, nil
	case part != nil:
		p := fail(http.StatusServiceUnavailable, unavailable, "none of the servers that have answered has the socket, and some have not")
		p.is.Details = part.Missing
		return nil, p
	}
	return nil, fail(http.StatusNotFound, unknownSocket, "there is no such socket")
}
