package adminui

import (
	"sync"

	"github.com/sioedge/sioedge/sio"
)

// Part has pages go on in a successor: they are told there what there is, as if they had just
// come. Ids of their sessions are sealed by settings, and so are good there.
func (u *UI) Part() sio.Part {
	var mu sync.Mutex
	var pages []sio.Socket
	return sio.Part{
		Name: "adminui", Optional: true,
		Socket: func(s sio.Socket, _ []string) {
			if s.Namespace() != u.ns {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			pages = append(pages, s)
		},
		Serving: func() {
			all := pages
			pages = nil
			// ends when all were told, for which loops have to run
			go func() {
				for _, s := range all {
					_ = u.came(s) // or it has left
				}
			}()
		},
	}
}
