package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

// A route is an endpoint. All there is to say of it is here: see routes.
type route struct {
	method, path string // segments such as {sid} are parameters
	name         string // in counts, and as operationId
	doc          string
	params       []param // of the query
	body, answer any     // values of the JSON that is read and written; nil body: there is none
	line         any     // of a streamed answer, if it can be streamed; nil: it cannot
	statuses     []int   // of failures, beside those of every route
	stream       bool    // the body is one, and so is the answer

	serve func(c *call) (any, error) // nil and nil: has been written
	write func(c *call) error        // of a stream
}

// A param is a parameter of the query.
type param struct {
	name, doc string
	many      bool // it may be there more than once
	kind      kind
}

// A kind is the type of a parameter.
type kind string

const (
	text    kind = "string"
	integer kind = "integer"
	boolean kind = "boolean"
)

func (r *route) param(name string) *param {
	for i := range r.params {
		if r.params[i].name == name {
			return &r.params[i]
		}
	}
	return nil
}

// A router finds routes.
type router struct {
	fixed  map[string]methods // by path
	others []pattern          // with parameters
}

type methods map[string]*route

type pattern struct {
	segments []string
	methods
}

func newRouter(all []*route) *router {
	rt := &router{fixed: map[string]methods{}}
	for _, r := range all {
		if !strings.Contains(r.path, "{") {
			if rt.fixed[r.path] == nil {
				rt.fixed[r.path] = methods{}
			}
			rt.fixed[r.path][r.method] = r
			continue
		}
		segments := strings.Split(r.path, "/")
		i := slices.IndexFunc(rt.others, func(p pattern) bool { return slices.Equal(p.segments, segments) })
		if i < 0 {
			i = len(rt.others)
			rt.others = append(rt.others, pattern{segments, methods{}})
		}
		rt.others[i].methods[r.method] = r
	}
	return rt
}

// find returns the route of a path, as it is escaped, with what its parameters are. If
// there are others of the path, allowed are their methods.
func (rt *router) find(method, path string) (r *route, params []string, allowed string) {
	if m, ok := rt.fixed[path]; ok {
		r, allowed = m.of(method)
		return r, nil, allowed
	}
	for _, p := range rt.others {
		if params, ok := p.match(path); ok {
			r, allowed = p.of(method)
			return r, params, allowed
		}
	}
	return nil, nil, ""
}

// of returns the route of a method; HEAD is GET, whose body is not sent.
func (m methods) of(method string) (r *route, allowed string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if r = m[method]; r != nil {
		return r, ""
	}
	names := []string{}
	for name := range m {
		if names = append(names, name); name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return nil, strings.Join(names, ", ")
}

// maxPath bounds the bytes of a path that has parameters.
const maxPath = 8 << 10

func (p *pattern) match(path string) (params []string, ok bool) {
	if len(path) > maxPath || strings.Count(path, "/")+1 != len(p.segments) {
		return nil, false
	}
	for i, s := range strings.Split(path, "/") {
		if want := p.segments[i]; !strings.HasPrefix(want, "{") {
			if s != want {
				return nil, false
			}
			continue
		}
		text, err := url.PathUnescape(s)
		if err != nil || text == "" {
			return nil, false
		}
		params = append(params, text)
	}
	return params, true
}

// namesOf returns the names of a path's parameters.
func namesOf(path string) (names []string) {
	for s := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(s, "{") {
			names = append(names, strings.Trim(s, "{}"))
		}
	}
	return names
}

var (
	idParam  = param{"id", "idempotency key, as the header Idempotency-Key is", false, text}
	nspParam = param{"nsp", "the namespace, as clients join it; /", false, text}
)

// routes is what there is.
var routes []*route

func init() {
	routes = []*route{
		{
			method: http.MethodPost, path: wire.EmitPath, name: "emit", doc: "Emit an event; with ack, wait for acknowledgements.",
			params: []param{{"ack", "how long acknowledgements are waited for, such as 5s; the answer is Acks then, or of Accept: application/x-ndjson one AckLine for each", false, text}, idParam},
			body:   wire.Emit{}, answer: oneOf{wire.Emitted{}, wire.Acks{}}, line: wire.AckLine{}, statuses: []int{404, 409, 422, 503}, serve: (*call).emit,
		},
		{
			method: http.MethodPost, path: wire.RawPath, name: "raw", doc: "Emit an event whose name and arguments are the body, a list, which is passed on as it is.",
			params: []param{nspParam, {"to", "a room, or the id of a socket; without it everybody", true, text}, {"except", "a room whose sockets do not get it", true, text},
				{"volatile", "dropped for who is slow", false, boolean}, {"compress", "whether it may be sent compressed", false, boolean}, {"local", "to sockets of this server alone", false, boolean}, idParam},
			body: []any{}, answer: wire.Emitted{}, statuses: []int{404, 409, 422, 503}, serve: (*call).raw,
		},
		{
			method: http.MethodPost, path: wire.BatchPath, name: "batch", doc: "Do several commands, in order, or in parallel.",
			params: []param{idParam}, body: wire.Batch{}, answer: wire.Results{}, statuses: []int{409, 422}, serve: (*call).batch,
		},
		{
			method: http.MethodPost, path: wire.StreamPath, name: "stream", doc: "Do the commands of an endless body, one a line, and answer each with a line.",
			body: wire.Command{}, answer: nil, line: wire.Result{}, stream: true, write: (*call).stream,
		},
	}
	routes = append(routes, ofSockets()...)
	routes = append(routes, drains()...)
	routes = append(routes, upgrades()...)
	routes = append(routes, []*route{
		{method: http.MethodPost, path: wire.ReloadPath, name: "reload", doc: "Read the configuration again, as SIGHUP does.", answer: wire.Reloaded{}, statuses: []int{422}, serve: (*call).reload},
		{method: http.MethodGet, path: wire.OpenAPIPath, name: "openapi", doc: "This document.", answer: map[string]any{}, serve: (*call).openAPI},
	}...)
}

// ofSockets are the routes that say who is there, and do something to them.
func ofSockets() []*route {
	limit, next := param{"limit", "of a page: 100, 1000 at most", false, integer}, param{"cursor", "of the page before", false, text}
	change := func(path, name, doc string) *route {
		return &route{method: http.MethodPost, path: path, name: "sockets_" + name, doc: doc, body: wire.Change{}, answer: wire.Changed{}, statuses: []int{404, 503}, serve: endpointOf(name)}
	}
	return []*route{
		{method: http.MethodPost, path: wire.QueryPath, name: "sockets_query", doc: "A page of the sockets that a filter has, of all servers.", body: wire.Query{}, answer: wire.Sockets{}, statuses: []int{404, 503}, serve: (*call).querySockets},
		change(wire.JoinPath, "join", "Put sockets into rooms."),
		change(wire.LeavePath, "leave", "Take sockets out of rooms."),
		change(wire.DisconnectPath, "disconnect", "Disconnect sockets."),
		change(wire.DataPath, "data", "Set members of what is stored with sockets."),
		{method: http.MethodGet, path: wire.SocketPath + "{sid}", name: "socket", doc: "All that is known of a socket, of any server.", params: []param{nspParam}, answer: wire.SocketDetail{}, statuses: []int{404, 503}, serve: (*call).socket},
		{method: http.MethodPost, path: wire.UsersPath + "{user}/disconnect", name: "user_disconnect", doc: "Disconnect a user everywhere.", body: wire.UserDisconnect{}, answer: wire.Changed{}, statuses: []int{503}, serve: (*call).userDisconnect},
		{method: http.MethodPost, path: wire.RevokePath, name: "revoke", doc: "End tokens before they expire, and disconnect who has them.", body: wire.Revoke{}, answer: wire.Revoked{}, statuses: []int{503}, serve: endpointOf("revoke")},
		{
			method: http.MethodGet, path: wire.RoomsPath, name: "rooms", doc: "A page of the rooms of a namespace, with the sockets in them, in the order of their names.",
			params: []param{nspParam, {"prefix", "of names", false, text}, limit, next}, answer: wire.Rooms{}, statuses: []int{404, 503}, serve: (*call).listRooms,
		},
		{method: http.MethodGet, path: wire.RoomsPath + "/{nsp}/{room}", name: "room", doc: "How many sockets are in a room, a page of them, and what is stored with it. A slash in a name is %2F.", params: []param{limit, next}, answer: wire.RoomDetail{}, statuses: []int{404, 503}, serve: (*call).room},
		{method: http.MethodPut, path: wire.RoomsPath + "/{nsp}/{room}", name: "room_put", doc: "Store something with a room, on all servers.", body: wire.RoomData{}, answer: wire.RoomStored{}, statuses: []int{404, 503}, serve: (*call).putRoom},
		{method: http.MethodGet, path: wire.PresencePath, name: "presence", doc: "The users in a room, where the namespace has presence.", params: []param{nspParam, {"room", "the room", false, text}}, answer: wire.Presence{}, statuses: []int{404, 503}, serve: (*call).presence},
		{method: http.MethodGet, path: wire.NamespacesPath, name: "namespaces", doc: "The namespaces of this server.", answer: wire.Namespaces{}, serve: (*call).namespaces},
		{method: http.MethodGet, path: wire.NodesPath, name: "nodes", doc: "The servers of the cluster, by what they tell of themselves.", answer: wire.Nodes{}, serve: (*call).nodes},
		{method: http.MethodGet, path: wire.InfoPath, name: "info", doc: "About this server.", answer: wire.Info{}, serve: (*call).info},
		{method: http.MethodPost, path: wire.ServerSideEmitPath, name: "server_side_emit", doc: "Send an event to the other servers themselves, those of Node among them.", body: wire.ServerSideEmit{}, answer: wire.ServerSideEmitted{}, statuses: []int{404, 503}, serve: endpointOf("server_side_emit")},
	}
}

// oneOf is an answer of one of several types.
type oneOf []any
