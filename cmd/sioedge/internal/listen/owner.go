package listen

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"github.com/sioedge/sioedge/loop"
)

// ownerOf looks up user, user:group or :group, names or numbers; nil for "".
func ownerOf(text string) (*loop.Owner, error) {
	if text == "" {
		return nil, nil
	}
	o := &loop.Owner{UID: -1, GID: -1}
	name, group, _ := strings.Cut(text, ":")
	var err error
	if name != "" {
		if o.UID, err = id(name, lookUser); err != nil {
			return nil, fmt.Errorf("owner %s: %w", text, err)
		}
	}
	if group != "" {
		if o.GID, err = id(group, lookGroup); err != nil {
			return nil, fmt.Errorf("owner %s: %w", text, err)
		}
	}
	return o, nil
}

// id is a number, or what look finds for a name.
func id(text string, look func(string) (string, error)) (int, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return int(n), nil
	}
	found, err := look(text)
	if err != nil {
		return -1, err
	}
	return strconv.Atoi(found)
}

func lookUser(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func lookGroup(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}
