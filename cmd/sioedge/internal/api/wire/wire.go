// Package wire has what the HTTP API answers, and what it is asked where that is JSON
// of fixed members: for the API itself, for its document, and for clients of it.
package wire

import "encoding/json"

// Paths of the API.
const (
	EmitPath           = "/api/emit"
	RawPath            = "/api/raw"
	BatchPath          = "/api/batch"
	StreamPath         = "/api/stream"
	QueryPath          = "/api/sockets/query"
	SocketPath         = "/api/sockets/" // and its id
	JoinPath           = "/api/sockets/join"
	LeavePath          = "/api/sockets/leave"
	DisconnectPath     = "/api/sockets/disconnect"
	DataPath           = "/api/sockets/data"
	UsersPath          = "/api/users/" // and a user, and /disconnect
	RevokePath         = "/api/tokens/revoke"
	RoomsPath          = "/api/rooms"
	PresencePath       = "/api/presence"
	NamespacesPath     = "/api/namespaces"
	NodesPath          = "/api/nodes"
	InfoPath           = "/api/info"
	ServerSideEmitPath = "/api/server-side-emit"
	ReloadPath         = "/api/reload"
	DrainPath          = "/api/drain"
	UndrainPath        = "/api/undrain"
	UpgradePath        = "/api/upgrade"
	OpenAPIPath        = "/api/openapi.json"
)

// Content types.
const (
	JSON   = "application/json"
	NDJSON = "application/x-ndjson"
)

// A Failure is the body of every answer that is no success.
type Failure struct {
	Error Error `json:"error"`
}

// An Error says what is wrong.
type Error struct {
	Code    string `json:"code" doc:"for programs"`
	Message string `json:"message" doc:"for people"`
	Field   string `json:"field,omitempty" doc:"the member or parameter that is wrong, such as to[2]"`
	// Details are further texts for people.
	Details []string `json:"details,omitempty" doc:"of several faults, each"`
}

// Error returns the text for people.
func (e Error) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// An Emit is an event for sockets of one namespace.
type Emit struct {
	Nsp         string            `json:"nsp,omitempty" doc:"as clients join it; /"`
	To          []string          `json:"to,omitempty" doc:"rooms, or ids of sockets; without it everybody; of an empty list nobody"`
	Except      []string          `json:"except,omitempty" doc:"rooms whose sockets do not get it"`
	Ev          string            `json:"ev" doc:"the event's name"`
	Args        []json.RawMessage `json:"args,omitempty"`
	Attachments []string          `json:"attachments,omitempty" doc:"base64, each for its placeholder in args"`
	Volatile    bool              `json:"volatile,omitempty" doc:"dropped for who is slow"`
	Compress    *bool             `json:"compress,omitempty"`
	Local       bool              `json:"local,omitempty" doc:"to sockets of this server alone"`
	ID          string            `json:"id,omitempty" doc:"idempotency key: what has the same within five minutes is not done again, and answered as the first was"`
}

// Emitted is the answer to an Emit.
type Emitted struct {
	Offset   string `json:"offset,omitempty" doc:"of the event, by which clients of this server come back (recovery.window); none where events have none, of a volatile one, and with an adapter that keeps events for all servers"`
	Replayed bool   `json:"replayed,omitempty" doc:"it was done before, by its idempotency key"`
}

// Acks is the answer to an Emit that waits for acknowledgements.
type Acks struct {
	Responses []json.RawMessage `json:"responses" doc:"the first argument of each acknowledgement, in the order of arrival; bytes in it as Node writes a Buffer in JSON"`
	Clients   int               `json:"clients" doc:"that were asked"`
	Missing   int               `json:"missing" doc:"of these: have not answered in time, or have left"`
	Partial   *Partial          `json:"partial,omitempty"`
	Replayed  bool              `json:"replayed,omitempty"`
}

// An AckLine is a line of such an answer when it is streamed: with a response, or the
// last one, with all else.
type AckLine struct {
	Response json.RawMessage `json:"response,omitempty"`
	Done     bool            `json:"done,omitempty" doc:"this is the last line"`
	Clients  *int            `json:"clients,omitempty"`
	Missing  *int            `json:"missing,omitempty"`
	Partial  *Partial        `json:"partial,omitempty"`
	Error    *Error          `json:"error,omitempty"`
}

// Partial says who has not answered: what comes with it is of the others.
type Partial struct {
	Missing []string `json:"missing,omitempty" doc:"servers that are known by name"`
	Unnamed int      `json:"unnamed,omitempty" doc:"how many others"`
	Reason  string   `json:"reason,omitempty"`
}

// A Command is a line of a stream, or an element of a batch: one member beside id.
type Command struct {
	ID             json.RawMessage `json:"id,omitempty" doc:"a text or a number, which the result has too"`
	Emit           *Emit           `json:"emit,omitempty"`
	Join           *Change         `json:"join,omitempty"`
	Leave          *Change         `json:"leave,omitempty"`
	Disconnect     *Change         `json:"disconnect,omitempty"`
	Data           *Change         `json:"data,omitempty"`
	UserDisconnect *UserDisconnect `json:"user_disconnect,omitempty"`
	Revoke         *Revoke         `json:"revoke,omitempty"`
	ServerSideEmit *ServerSideEmit `json:"server_side_emit,omitempty"`
}

// A Result is what became of a Command.
type Result struct {
	ID     json.RawMessage `json:"id,omitempty"`
	Result json.RawMessage `json:"result,omitempty" doc:"what the endpoint of the command answers"`
	Error  *Error          `json:"error,omitempty"`
}

// A Batch is commands of one request.
type Batch struct {
	Commands []Command `json:"commands"`
	Parallel bool      `json:"parallel,omitempty" doc:"several at a time, in no order"`
}

// Results is the answer to a Batch, in its order.
type Results struct {
	Results []Result `json:"results"`
}

// A Filter says which sockets. User, IP and Where are judged where the sockets are, by
// servers of this kind; of those of Node here, by what they tell of their sockets.
type Filter struct {
	Nsp    string                     `json:"nsp,omitempty" doc:"as clients join it; /"`
	In     []string                   `json:"in,omitempty" doc:"rooms, or ids, one of which they are in; without it everybody, of an empty list nobody"`
	Except []string                   `json:"except,omitempty" doc:"rooms that they are not in"`
	User   string                     `json:"user,omitempty" doc:"of a socket of Node: the member user of its data, if that is a text"`
	IP     string                     `json:"ip,omitempty" doc:"an address or a prefix such as 10.0.0.0/8"`
	Where  map[string]json.RawMessage `json:"where,omitempty" doc:"members of their data, such as data.plan, with the text, number, boolean or null that they are"`
}

// A Query asks for sockets, a page at a time.
type Query struct {
	Filter
	Fields []string `json:"fields,omitempty" doc:"of rooms, data, user, handshake; without it rooms, data and user"`
	Limit  int      `json:"limit,omitempty" doc:"of a page: 100, 1000 at most"`
	Cursor string   `json:"cursor,omitempty" doc:"of the page before"`
}

// A Socket is one that was asked for.
type Socket struct {
	SID       string          `json:"sid"`
	Node      string          `json:"node,omitempty" doc:"the server that it is of, if that is of this kind"`
	Nsp       string          `json:"nsp"`
	User      string          `json:"user,omitempty"`
	Rooms     []string        `json:"rooms,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
	Handshake *Handshake      `json:"handshake,omitempty"`
	Truncated bool            `json:"truncated,omitempty" doc:"it has more rooms, or data, than are said of one socket"`
}

// A Handshake is what is known of how a client came. What is not kept is missing.
type Handshake struct {
	Address string            `json:"address,omitempty"`
	Issued  int64             `json:"issued,omitempty" doc:"ms since 1970"`
	URL     string            `json:"url,omitempty"`
	Query   map[string]string `json:"query,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Secure  bool              `json:"secure,omitempty"`
}

// Sockets is a page.
type Sockets struct {
	Sockets []Socket `json:"sockets"`
	Cursor  string   `json:"cursor,omitempty" doc:"for the next page; none: this is the last one"`
	Partial *Partial `json:"partial,omitempty"`
}

// A SocketDetail is all that is known of a socket.
type SocketDetail struct {
	Socket
	Transport string       `json:"transport,omitempty"`
	Expires   int64        `json:"expires,omitempty" doc:"when its token ends, ms since 1970; none: never, or it is of Node"`
	Stats     *SocketStats `json:"stats,omitempty"`
}

// SocketStats are of a socket and its connection.
type SocketStats struct {
	QueueBytes int64   `json:"queue_bytes" doc:"that wait to be sent"`
	RTTSeconds float64 `json:"rtt_seconds" doc:"of the last ping; 0: it is not known"`
	Tasks      int     `json:"tasks" doc:"events of the client that wait for handlers"`
	Rooms      int     `json:"rooms" doc:"its own left out"`
	Acks       int     `json:"acks" doc:"acknowledgements that it owes"`
}

// A Change does something to sockets.
type Change struct {
	Filter
	Rooms  []string                   `json:"rooms,omitempty" doc:"of join and leave"`
	Set    map[string]json.RawMessage `json:"set,omitempty" doc:"of data: members that are set, or taken out by null"`
	Code   int                        `json:"code,omitempty" doc:"of disconnect, with close: 1000 or 3000 to 4999"`
	Reason string                     `json:"reason,omitempty" doc:"of disconnect, with close"`
	Close  bool                       `json:"close,omitempty" doc:"of disconnect: the whole connection"`
}

// Changed is the answer to a Change.
type Changed struct {
	Sockets int      `json:"sockets" doc:"to how many it was done, or would be"`
	LeftOut int      `json:"left_out,omitempty" doc:"how many sockets of servers of Node there are besides, to which it cannot be done"`
	Partial *Partial `json:"partial,omitempty"`
}

// A UserDisconnect disconnects a user everywhere.
type UserDisconnect struct {
	User   string `json:"user,omitempty" doc:"of a command; of the endpoint it is in the path"`
	Code   int    `json:"code,omitempty" doc:"4403 unless given; 1000 or 3000 to 4999"`
	Reason string `json:"reason,omitempty"`
}

// A Revoke ends tokens: one by its jti, or those of a user.
type Revoke struct {
	JTI          string `json:"jti,omitempty"`
	User         string `json:"user,omitempty"`
	IssuedBefore int64  `json:"issued_before,omitempty" doc:"seconds since 1970; of a user alone now"`
	Until        int64  `json:"until,omitempty" doc:"seconds since 1970; as auth.revocation_ttl says"`
}

// Revoked is the answer to a Revoke.
type Revoked struct{}

// A Room has somebody in it.
type Room struct {
	Room    string `json:"room"`
	Sockets int    `json:"sockets"`
}

// Rooms is a page, in the order of names.
type Rooms struct {
	Rooms   []Room   `json:"rooms"`
	Cursor  string   `json:"cursor,omitempty"`
	Partial *Partial `json:"partial,omitempty"`
}

// A RoomDetail is a room with a page of who is in it.
type RoomDetail struct {
	Room    string   `json:"room"`
	Nsp     string   `json:"nsp"`
	Count   int      `json:"count" doc:"sockets of all servers"`
	Sockets []Socket `json:"sockets"`
	Cursor  string   `json:"cursor,omitempty"`
	Partial *Partial `json:"partial,omitempty"`

	Data json.RawMessage `json:"data,omitempty" doc:"what is stored with the room: the latest that the servers which answered know"`
}

// RoomData is what is stored with a room.
type RoomData struct {
	Data json.RawMessage `json:"data" doc:"any JSON, 16 KiB at most; null takes out what there is"`
	TTL  int             `json:"ttl,omitempty" doc:"seconds that it is kept while nobody is in the room: 60, 86400 at most"`
}

// RoomStored is the answer to it.
type RoomStored struct {
	Partial *Partial `json:"partial,omitempty"`
}

// A Member is a user in a room.
type Member struct {
	User        string `json:"user"`
	Connections int    `json:"connections" doc:"0: away, and may be back soon"`
	Nodes       int    `json:"nodes"`
}

// Presence says who is in a room.
type Presence struct {
	Nsp     string   `json:"nsp"`
	Room    string   `json:"room"`
	Count   int      `json:"count" doc:"users"`
	Members []Member `json:"members" doc:"by name; fewer than count if they are too many"`
}

// A Namespace is one that is served.
type Namespace struct {
	Name      string `json:"name" doc:"or pattern"`
	Sockets   int64  `json:"sockets" doc:"of this server"`
	Instances int64  `json:"instances"`
	Events    int64  `json:"events"`
	Emits     int64  `json:"emits"`
	Refused   int64  `json:"refused"`
}

// Namespaces are all that are served.
type Namespaces struct {
	Node       string      `json:"node"`
	Namespaces []Namespace `json:"namespaces"`
}

// A Node is a server of the cluster.
type Node struct {
	Node     string `json:"node"`
	Name     string `json:"name,omitempty"`
	Self     bool   `json:"self,omitempty"`
	Address  string `json:"address,omitempty"`
	Seen     int64  `json:"seen,omitempty" doc:"when it was last heard of, ms since 1970"`
	Sessions int    `json:"sessions"`
	Sockets  int    `json:"sockets"`
}

// Nodes are the servers that are known.
type Nodes struct {
	Nodes   []Node  `json:"nodes"`
	Cluster Cluster `json:"cluster"`
}

// A Cluster says how the adapter is.
type Cluster struct {
	Adapter bool   `json:"adapter" doc:"there is one"`
	Up      bool   `json:"up"`
	Reason  string `json:"reason,omitempty"`
}

// Info is about the server that answers.
type Info struct {
	Node        string `json:"node"`
	Version     string `json:"version"`
	Go          string `json:"go"`
	Started     int64  `json:"started" doc:"ms since 1970"`
	Connections int64  `json:"connections"`
	Sessions    int64  `json:"sessions"`
	Sockets     int64  `json:"sockets"`
	Nodes       int    `json:"nodes" doc:"servers of this kind, with this one"`

	Draining *Draining `json:"draining,omitempty"`
}

// A Drain has clients leave.
type Drain struct {
	Delay string `json:"delay,omitempty" doc:"how long the server is not ready before that, and serves everybody, such as 5s; drain_delay"`
	Over  string `json:"over,omitempty" doc:"over which time they leave; half of drain"`
	Stop  bool   `json:"stop,omitempty" doc:"the server stops then"`
}

// Draining says how that is.
type Draining struct {
	Phase     string `json:"phase" doc:"serving, waiting (not ready, and everybody is served), closing or drained"`
	Since     int64  `json:"since,omitempty" doc:"ms since 1970"`
	Remaining int64  `json:"remaining" doc:"sessions that are still to leave"`
}

// An Upgrade has another process take over all clients.
type Upgrade struct {
	DryRun bool `json:"dry_run,omitempty" doc:"find out whether it would be ready, and no more"`
}

// Upgraded says what an upgrade was like. Of a dry run there are no counts.
type Upgraded struct {
	DryRun      bool    `json:"dry_run,omitempty"`
	Node        string  `json:"node" doc:"whose clients they are, before and after"`
	PID         int     `json:"pid" doc:"of the process that has them now"`
	Version     string  `json:"version" doc:"as that says"`
	Build       string  `json:"build,omitempty" doc:"likewise"`
	Connections int     `json:"connections" doc:"that it has got"`
	Sessions    int     `json:"sessions"`
	Sockets     int     `json:"sockets"`
	Stays       Stays   `json:"stays" doc:"what the process before still has, and serves until it has left or drain is over"`
	Pause       float64 `json:"pause_ms" doc:"for how long nobody was served, in ms"`
	Steps       Steps   `json:"steps_ms" doc:"what that was spent on, in ms"`
}

// Steps are those of an upgrade's pause, one behind the other, in ms: see sio.Steps.
type Steps struct {
	Quiet   float64 `json:"quiet" doc:"until nothing was read of clients"`
	Settle  float64 `json:"settle" doc:"until what was under way had ended"`
	Split   float64 `json:"split" doc:"until the new process heard the cluster"`
	Freeze  float64 `json:"freeze" doc:"until all loops stood still"`
	Parts   float64 `json:"parts" doc:"until what there is beside clients was sent"`
	Loops   float64 `json:"loops" doc:"until clients were sent"`
	Taken   float64 `json:"taken" doc:"until they were in their places"`
	Serving float64 `json:"serving" doc:"until the new process served"`
}

// Stays are connections that no other process can have, by why.
type Stays struct {
	TLS     int `json:"tls" doc:"their keys are this process's"`
	Mounted int `json:"mounted" doc:"a request that is not Socket.IO's is being answered"`
	Opening int `json:"opening" doc:"they are not open yet"`
	Tunnels int `json:"tunnels" doc:"they are passed on to other servers, or come from them"`
}

// A ServerSideEmit is an event for the other servers themselves.
type ServerSideEmit struct {
	Nsp  string            `json:"nsp,omitempty"`
	Ev   string            `json:"ev"`
	Args []json.RawMessage `json:"args,omitempty"`
	Ack  string            `json:"ack,omitempty" doc:"how long their answers are waited for, such as 5s; without it they are not"`
}

// ServerSideEmitted is the answer to it.
type ServerSideEmitted struct {
	Responses []json.RawMessage `json:"responses,omitempty" doc:"of the other servers, with ack"`
	Partial   *Partial          `json:"partial,omitempty"`
}

// Reloaded says what reading the configuration again has brought.
type Reloaded struct {
	Applied []string `json:"applied" doc:"keys that have changed and are applied"`
	Restart []string `json:"restart" doc:"keys that have changed and need a restart"`
}
