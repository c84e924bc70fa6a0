package wire

// Bounds of what a process says of itself. A name is in bytes.
const (
	maxNamespaces = 1024
	maxName       = 1024
	maxVersion    = 64
	maxUID        = 64
)

func (p *parser) hello() (*Hello, error) {
	h := &Hello{}
	err := p.each(func(name []byte) (known bool, err error) {
		switch string(name) {
		case "version":
			h.Version, err = p.number()
		case "uid":
			h.UID, err = p.uid()
		case "resume":
			h.Resume, err = p.short(maxVersion)
		case "received":
			h.Received, err = p.number()
		case "window":
			h.Window, err = p.number()
		case "namespaces":
			h.Namespaces, err = p.names()
		case "direct":
			h.Direct, err = p.bool()
		case "package":
			h.Package, err = p.short(maxVersion)
		case "socketio":
			h.SocketIO, err = p.short(maxVersion)
		default:
			return false, nil
		}
		return true, err
	})
	switch {
	case err != nil:
		return nil, err
	case h.Version == 0:
		return nil, p.fail("version is missing")
	case h.UID == "":
		return nil, p.fail("uid is missing")
	case h.Window == 0:
		return nil, p.fail("window is missing, or 0")
	}
	return h, nil
}

func (p *parser) change() (*Change, error) {
	c := &Change{}
	err := p.each(func(name []byte) (known bool, err error) {
		switch string(name) {
		case "namespaces":
			c.Namespaces, err = p.names()
			c.HasNamespaces = true
		case "direct":
			c.Direct, err = p.bool()
			c.HasDirect = true
		default:
			return false, nil
		}
		return true, err
	})
	return c, err
}

// uid takes a process's name.
func (p *parser) uid() (string, error) {
	t, err := p.text()
	if err != nil {
		return "", err
	}
	if len(t) == 0 || len(t) > maxUID {
		return "", p.fail("has not 1 to 64 bytes")
	}
	for _, c := range t {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return "", p.fail("has other bytes than A-Za-z0-9_-")
		}
	}
	return string(t), nil
}

// short takes a text of at most so many bytes.
func (p *parser) short(most int) (string, error) {
	t, err := p.text()
	if err == nil && len(t) > most {
		err = p.fail("is too long")
	}
	if err != nil {
		return "", err
	}
	return string(t), nil
}

// names takes the names of namespaces. It is not nil.
func (p *parser) names() ([]string, error) {
	t, err := p.texts()
	if err != nil {
		return nil, err
	}
	if t.Len() > maxNamespaces {
		return nil, p.fail("has over 1024 names")
	}
	for name := range t.All() {
		if len(name) > maxName {
			return nil, p.fail("has a name of over 1024 bytes")
		}
	}
	return t.Strings(), nil
}

func (p *parser) welcome() (*Welcome, error) {
	w := &Welcome{}
	err := p.each(func(name []byte) (known bool, err error) {
		switch string(name) {
		case "version":
			w.Version, err = p.number()
		case "edge":
			w.Edge, err = p.string()
		case "session":
			w.Session, err = p.string()
		case "resumed":
			w.Resumed, err = p.bool()
		case "received":
			w.Received, err = p.number()
		case "server":
			w.Server, err = p.string()
		default:
			return p.setting(name, &w.Settings)
		}
		return true, err
	})
	return w, err
}

func (p *parser) settings() (*Settings, error) {
	s := &Settings{}
	err := p.each(func(name []byte) (bool, error) { return p.setting(name, s) })
	return s, err
}

// setting takes the value of a member of Settings.
func (p *parser) setting(name []byte, s *Settings) (known bool, err error) {
	if string(name) == "data" {
		s.Has |= HasData
		s.Data, err = p.string()
		return true, err
	}
	for i, x := range s.numbers() {
		if x.name == string(name) {
			s.Has |= numberBits[i]
			*x.v, err = p.number()
			return true, err
		}
	}
	return false, nil
}

// A named number is a member of Settings.
type named struct {
	name string
	v    *uint64
}

// numbers returns the members that are numbers, in the order of protocol.md.
func (s *Settings) numbers() [7]named {
	return [...]named{
		{"window", &s.Window}, {"max_message", &s.MaxMessage}, {"max_data", &s.MaxData}, {"timeout", &s.Timeout},
		{"grace", &s.Grace}, {"takeover", &s.Takeover}, {"recovery", &s.Recovery},
	}
}

var numberBits = [7]Setting{HasWindow, HasMaxMessage, HasMaxData, HasTimeout, HasGrace, HasTakeover, HasRecovery}

func (p *parser) handshake() (*Handshake, error) {
	h := &Handshake{}
	err := p.each(func(name []byte) (known bool, err error) {
		switch string(name) {
		case "id":
			h.ID, err = p.string()
		case "address":
			h.Address, err = p.string()
		case "port":
			h.Port, err = p.number()
		case "headers":
			err = p.each(func(name []byte) (bool, error) {
				value, err := p.string()
				h.Headers = append(h.Headers, Header{string(name), value})
				return true, err
			})
		case "url":
			h.URL, err = p.string()
		case "secure":
			h.Secure, err = p.bool()
		case "issued":
			h.Issued, err = p.number()
		case "transport":
			h.Transport, err = p.string()
		case "protocol":
			h.Protocol, err = p.number()
		default:
			return false, nil
		}
		return true, err
	})
	return h, err
}

func (p *parser) state() (*State, error) {
	s := &State{}
	err := p.each(func(name []byte) (known bool, err error) {
		switch string(name) {
		case "rooms":
			s.Rooms, err = p.strings()
		case "data":
			s.Data, err = p.cloned()
		case "taken":
			s.Taken, err = p.bool()
		default:
			return false, nil
		}
		return true, err
	})
	return s, err
}

func (p *parser) identity() (*Identity, error) {
	id := &Identity{}
	err := p.each(func(name []byte) (known bool, err error) {
		switch string(name) {
		case "user":
			id.User, err = p.string()
		case "claims":
			id.Claims, err = p.cloned()
		default:
			return false, nil
		}
		return true, err
	})
	return id, err
}

// answers takes the answers to a broadcast: views, in a list that grows as they come.
func (p *parser) answers() (all []Reply, err error) {
	n, err := p.array()
	for range n {
		m, err := p.array()
		if err != nil {
			return nil, err
		}
		if m == 0 {
			return nil, p.fail("has one without json")
		}
		json, err := p.text()
		if err != nil {
			return nil, err
		}
		bins, err := p.bins(m - 1)
		if err != nil {
			return nil, err
		}
		all = append(all, Reply{json, bins.Views()})
	}
	return all, err
}

func (p *parser) peers() (all []Peer, err error) {
	n, err := p.array()
	for range n {
		var x Peer
		m, err := p.array()
		if err == nil && m < 2 {
			err = p.fail("has one without namespaces")
		}
		if err == nil {
			x.UID, err = p.uid()
		}
		if err == nil {
			x.Namespaces, err = p.strings()
		}
		if err == nil && m > 2 && !p.null() {
			x.Direct, err = p.bool()
		}
		if err == nil {
			err = p.skip(max(m-3, 0))
		}
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, err
}
