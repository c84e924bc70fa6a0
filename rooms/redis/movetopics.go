package redis

// What a handover asks the subscriptions.

// used returns the lines that have subscriptions.
func (s *subscriptions) used() (all []*line) {
	s.lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		return []*line{s.first}
	}
	there := map[*line]bool{}
	for _, x := range s.all {
		if !there[x.line] {
			there[x.line] = true
			all = append(all, x.line)
		}
	}
	return all
}

// lineOf returns the line that a subscription is on, nil if there is no such.
func (s *subscriptions) lineOf(t topic) *line {
	s.lock()
	defer s.mu.Unlock()
	if x := s.all[t]; x != nil {
		return x.line
	}
	return nil
}

// places returns what tells the node that has a channel, as far as that is known by now.
func (s *subscriptions) places() func(name string) string {
	s.mu.Lock()
	slots := s.slots
	s.mu.Unlock()
	return func(name string) string {
		if slots == nil {
			return ""
		}
		return slots[keySlot(name)]
	}
}

// offered returns all topics but some, those that linger among them.
func (s *subscriptions) offered(but func(topic) bool) (all []topic) {
	s.lock()
	defer s.mu.Unlock()
	all = make([]topic, 0, len(s.all))
	for t := range s.all {
		if !but(t) {
			all = append(all, t)
		}
	}
	return all
}

// parkedOf tells whether some of the topics are one too many.
func (s *subscriptions) parkedOf(all map[topic]struct{}) bool {
	s.lock()
	defer s.mu.Unlock()
	for t := range s.parked {
		if _, ok := all[t]; ok {
			return true
		}
	}
	return false
}
