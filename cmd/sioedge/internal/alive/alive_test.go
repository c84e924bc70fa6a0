package alive

import (
	"fmt"
	"testing"
	"time"
)

func TestServersComeAndGo(t *testing.T) {
	var s Set[int]
	at := func(sec int) time.Time { return time.Unix(1_700_000_000+int64(sec), 0) }
	p, began := s.Hear("a", 7, at(0))
	if p == nil || !began {
		t.Fatal("a server that is heard for the first time has not begun")
	}
	p.Of = 3
	if q, began := s.Hear("a", 7, at(5)); q != p || began {
		t.Error("a server that is heard again is another one")
	}
	if q, _ := s.Hear("a", 6, at(6)); q != nil || !p.Heard.Equal(at(5)) {
		t.Error("what comes late from the run before is listened to")
	}
	p.Gone = true
	if q, _ := s.Hear("a", 7, at(7)); q != nil {
		t.Error("a server that has gone is listened to")
	}
	if q, began := s.Hear("a", 8, at(8)); q != p || !began || p.Gone || p.Of != 3 {
		t.Errorf("the next run: %+v, began %v", q, began)
	}
	for range s.Silent(at(17), 10*time.Second) {
		t.Error("a server is silent too early")
	}
	s.Isolated(at(17))
	for range s.Silent(at(26), 10*time.Second) {
		t.Error("a server is held to be silent while nobody could be heard")
	}
	for name := range s.Silent(at(27), 10*time.Second) {
		s.Forget(name)
	}
	if s.Len() != 0 || s.Get("a") != nil {
		t.Error("a server that is silent for so long is known still")
	}
}

func TestServersAreBounded(t *testing.T) {
	var s Set[int]
	now := time.Unix(1_700_000_000, 0)
	for i := range MaxPeers {
		s.Hear(fmt.Sprint(i), 1, now)
	}
	if p, _ := s.Hear("one too many", 1, now); p != nil || s.Strangers != 1 || s.Len() != MaxPeers {
		t.Errorf("there are %d servers, and %d strangers", s.Len(), s.Strangers)
	}
	if p, _ := s.Hear("7", 1, now); p == nil {
		t.Error("one that is known is not listened to")
	}
}
