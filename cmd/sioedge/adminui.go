package main

import (
	"errors"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/adminui"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// checkAdminUI returns what is wrong with the settings of the Admin UI's namespace.
func checkAdminUI(l *config.Loaded) error {
	name := l.Admin.Namespace
	if name == "" {
		return nil
	}
	var faults []error
	err := adminui.Check(name)
	if err == nil && l.Demo && name == demoChat {
		err = errors.New("is a namespace of the demonstration (--demo)")
	}
	if err != nil {
		faults = append(faults, &config.Fault{Key: "admin.namespace", Err: err})
	}
	if l.Admin.Password == "" && len(l.APIKeys()) == 0 {
		faults = append(faults, &config.Fault{Key: "admin.password", Err: errors.New("is missing, and so is a key of the API: nobody could use the Admin UI (--admin-namespace)")})
	}
	return errors.Join(faults...)
}

// adminUIOptions has the server keep what the Admin UI shows.
func adminUIOptions(l *config.Loaded, o *sio.Options) {
	if l.Admin.Namespace != "" && l.Admin.Mode == "development" {
		o.KeepHandshake = sio.KeepAlways
	}
}

// newAdminUI has the server speak the Admin UI's protocol, nil if it is not to.
func (e *edge) newAdminUI(o sio.Options) *adminui.UI {
	if e.now.Admin.Namespace == "" {
		return nil
	}
	_, logged := o.Adapter.(rooms.Log)
	return adminui.New(e.srv, adminui.Options{
		Admin: e.now.Admin, Keys: e.now.APIKeys(), Cluster: o.Adapter != nil, Logged: logged, Logger: e.log,
	})
}
