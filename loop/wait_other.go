//go:build !linux

package loop

// keepsTime says that waiting ends when a timer is due.
const keepsTime = false

func (l *Loop) wait() error { return l.poller.Polling(l.event) }
