package api

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// A filter says which sockets, as wire.Filter. It is also what other servers are told, as
// JSON: nil In is everybody, and an empty one nobody.
type filter struct {
	Nsp    string       `json:"nsp"`
	In     []string     `json:"in"`
	Except []string     `json:"except,omitempty"`
	User   string       `json:"user,omitempty"`
	IP     netip.Prefix `json:"ip,omitzero"`
	Where  []condition  `json:"where,omitempty"`
}

// A condition is that a member of a socket's data is a text, a number, a boolean or null.
type condition struct {
	Path []string `json:"path"`
	Is   any      `json:"is"`
}

const (
	maxWhere = 16 // conditions
	maxPaths = 8  // names in the path of one
	maxUser  = 512
)

// plain tells whether the filter asks for no more than rooms, which every server knows.
func (f *filter) plain() bool { return f.User == "" && !f.IP.IsValid() && len(f.Where) == 0 }

// member reads a member of a filter. It is errUnknown if there is none of that name.
func (f *filter) member(name string, v []byte) (err error) {
	switch name {
	case "nsp":
		f.Nsp, err = textOf(name, v, action.MaxRoomName)
	case "in":
		f.In, err = namesIn(name, v, maxRooms)
	case "except":
		f.Except, err = namesIn(name, v, maxRooms)
	case "user":
		if f.User, err = textOf(name, v, maxUser); err == nil && f.User == "" {
			err = bad(name, string(action.Malformed), "is empty")
		}
	case "ip":
		err = f.setIP(v)
	case "where":
		err = f.setWhere(v)
	default:
		err = errUnknown
	}
	return err
}

// textOf reads a text of so many bytes at most.
func textOf(field string, v []byte, most int) (string, error) {
	if len(v) == 0 || v[0] != '"' {
		return "", bad(field, string(action.WrongType), "is to be a text")
	}
	text, _ := value.Unquote(nil, v)
	if len(text) > most {
		return "", bad(field, string(action.TooLong), "is longer than "+strconv.Itoa(most)+" bytes")
	}
	return string(text), nil
}

// namesIn reads a list of names of rooms. It is not nil.
func namesIn(field string, v []byte, most int) ([]string, error) {
	if len(v) == 0 || v[0] != '[' {
		return nil, bad(field, string(action.WrongType), "is to be a list of texts")
	}
	all := []string{}
	var err error
	value.EachElement(v, func(n int, x []byte) bool {
		at := field + "[" + strconv.Itoa(n) + "]"
		if n >= most {
			err = bad(field, string(action.TooMany), "has more than "+strconv.Itoa(most)+" elements")
			return false
		}
		var name string
		if name, err = textOf(at, x, action.MaxRoomName); err == nil && name == "" {
			err = bad(at, string(action.Malformed), "is empty")
		}
		all = append(all, name)
		return err == nil
	})
	return all, err
}

func (f *filter) setIP(v []byte) error {
	text, err := textOf("ip", v, 64)
	if err != nil {
		return err
	}
	if f.IP, err = netip.ParsePrefix(text); err != nil {
		addr, wrong := netip.ParseAddr(text)
		if wrong != nil || addr.Zone() != "" {
			return bad("ip", string(action.Malformed), "is to be an address, or a prefix such as 10.0.0.0/8")
		}
		addr = addr.Unmap()
		f.IP = netip.PrefixFrom(addr, addr.BitLen())
	}
	return nil
}

func (f *filter) setWhere(v []byte) error {
	if v[0] != '{' {
		return bad("where", string(action.WrongType), "is to be an object")
	}
	return members(v, func(name string, v []byte) error {
		at := "where." + clip(name)
		path := strings.Split(name, ".")
		switch {
		case len(f.Where) == maxWhere:
			return bad("where", string(action.TooMany), "has more than "+strconv.Itoa(maxWhere)+" members")
		case path[0] != "data" || len(path) < 2 || len(path) > maxPaths+1 || len(name) > action.MaxEventName:
			return bad(at, string(action.Malformed), "is no path such as data.plan")
		}
		var is any
		if err := json.Unmarshal(v, &is); err != nil || v[0] == '{' || v[0] == '[' || len(v) > 6*action.MaxRoomName {
			return bad(at, string(action.WrongType), "is to be a text, a number, a boolean or null")
		}
		f.Where = append(f.Where, condition{path[1:], is})
		return nil
	})
}

// target returns whom the filter addresses by rooms.
func (f *filter) target(srv *sio.Server) (sio.BroadcastOperator, error) {
	to, err := action.Find(srv, f.Nsp)
	if err != nil {
		return to, err
	}
	if f.In != nil {
		to = to.To(f.In...)
	}
	return to.Except(f.Except...), nil
}

// has judges a socket of this server.
func (f *filter) has(a *API, s sio.Socket) bool {
	if f.User != "" && a.o.User(s) != f.User {
		return false
	}
	if f.IP.IsValid() {
		st, ok := s.Stats()
		if !ok || !st.Address.IsValid() || !f.IP.Contains(st.Address.Addr().Unmap()) {
			return false
		}
	}
	if len(f.Where) == 0 {
		return true
	}
	data, err := dataOf(s)
	return err == nil && f.holds(data)
}

// holds judges data by all conditions.
func (f *filter) holds(data []byte) bool {
	for _, c := range f.Where {
		if !c.holds(data) {
			return false
		}
	}
	return true
}

var errNoJSON = errors.New("api: the data of a socket is no JSON")

// dataOf returns the data of a socket as JSON, nil for none.
func dataOf(s sio.Socket) (json.RawMessage, error) {
	data, err := action.DataOf(s)
	if err == nil && data != nil && value.Skip(data, value.SkipSpace(data, 0), value.MaxDepth) < 0 {
		return nil, errNoJSON
	}
	return data, err
}

// holds judges data, JSON.
func (c *condition) holds(data []byte) bool {
	for _, name := range c.Path {
		var found []byte
		value.EachMember(data, func(quoted, v []byte) bool {
			if value.Says(quoted, name) {
				found = v
			}
			return true
		})
		if data = found; data == nil {
			return false
		}
	}
	if len(data) == 0 || data[0] == '{' || data[0] == '[' {
		return false
	}
	var is any
	return json.Unmarshal(data, &is) == nil && is == c.Is
}
