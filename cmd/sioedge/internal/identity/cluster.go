package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Keeper keeps small values for all servers of a cluster, beyond the life of each; see
// rooms.Keeper. Methods may block until ctx is done.
type Keeper interface {
	KeepValue(ctx context.Context, set string, value []byte, until time.Time) error
	KeptValues(ctx context.Context, set string, most int) ([][]byte, error)
}

// What servers say to each other.
const (
	topicRevoke = "identity.revoke"  // revocations, that count from now on
	topicAsk    = "identity.revoked" // which are in force?

	keptSet = "identity.revocations" // of the Keeper

	page       = 500 // revocations that are said at one time
	maxKept    = 1 << 10
	askFor     = 5 * time.Second
	lookEvery  = time.Second
	againEvery = 5 * time.Minute // all is asked for
)

// A question is which revocations are in force, behind a name.
type question struct {
	Behind string `json:"behind"`
}

// listen handles what other servers say.
func (a *Authority) listen() {
	a.link.Handle(topicRevoke, func(_ string, body json.RawMessage) (any, error) {
		news, err := a.merge(body)
		if news {
			a.start(a.sweep)
		}
		return nil, err
	})
	a.link.Handle(topicAsk, func(_ string, body json.RawMessage) (any, error) {
		var q question
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		return a.revoked.list(q.Behind, page, a.now()), nil
	})
}

// tell tells the other servers.
func (a *Authority) tell(r Revocation) {
	if a.link == nil {
		return
	}
	if err := a.link.Emit(topicRevoke, []Revocation{r}); err != nil {
		a.notices.Warn("a revocation is not told to other servers", "error", err)
	}
}

// retain has a revocation outlive all servers.
func (a *Authority) retain(ctx context.Context, r Revocation) error {
	if a.o.Keeper == nil {
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err = a.o.Keeper.KeepValue(ctx, keptSet, b, r.Until); err != nil {
		return fmt.Errorf("identity: a revocation is in force, but not kept: %w", err)
	}
	return nil
}

// merge adds revocations that other servers know, JSON. It tells whether there are some
// that were not known; what is wrong among them is an error, and the rest counts.
func (a *Authority) merge(body []byte) (news bool, err error) {
	var all []Revocation
	if err := json.Unmarshal(body, &all); err != nil {
		return false, errors.New("it is no list of revocations")
	}
	if len(all) > page {
		return false, fmt.Errorf("there are %d revocations, there may be %d at one time", len(all), page)
	}
	for _, r := range all {
		one, wrong := a.mergeOne(r)
		news, err = news || one, errors.Join(err, wrong)
	}
	return news, err
}

func (a *Authority) mergeOne(r Revocation) (news bool, err error) {
	now := a.now()
	if !r.Until.IsZero() && !r.Until.After(now) {
		return false, nil // it is over
	}
	if r, err = r.checked(now, a.v.Load().revocationTTL); err != nil {
		return false, err
	}
	if a.revoked.knows(r) {
		return false, nil
	}
	if !a.revoked.add(r, now) {
		a.notices.Warn("revocations of other servers are not in force here", "setting", "auth.max_revocations", "error", ErrFull)
		return false, nil
	}
	return true, nil
}

// knows tells whether a revocation adds nothing.
func (l *revocations) knows(r Revocation) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	b := bar{ceil(r.Before), ceil(r.Until)}
	switch {
	case r.JTI != "":
		return l.ids[hashID(r.JTI)].until >= b.until
	case r.User != "":
		return l.users[r.User].over(b) == l.users[r.User]
	}
	return l.all.over(b) == l.all
}

// keepUp asks for revocations whenever this server has come to the others, at its start
// and after it was cut off from them, and now and then.
func (a *Authority) keepUp() {
	if !a.await() {
		return
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var since, last time.Time
	for {
		s := a.srv.Cluster()
		if s.Up && (s.Since != since || last.IsZero() || time.Since(last) >= againEvery) {
			at := time.Now()
			if err := a.catchUp(a.ctx); err != nil {
				a.notices.Warn("which tokens are revoked is not known as far as others know it", "error", err)
			} else {
				since, last = s.Since, at
			}
		}
		select {
		case <-a.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// catchUp asks the others, and the Keeper, for what is in force.
func (a *Authority) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	kept, err := a.fromKeeper(ctx)
	told, askErr := a.fromOthers(ctx)
	if kept || told {
		a.sweep()
	}
	return errors.Join(err, askErr)
}

func (a *Authority) fromKeeper(ctx context.Context) (news bool, err error) {
	if a.o.Keeper == nil {
		return false, nil
	}
	values, err := a.o.Keeper.KeptValues(ctx, keptSet, a.v.Load().maxRevocations)
	for _, b := range values {
		var r Revocation
		if len(b) > maxKept || json.Unmarshal(b, &r) != nil {
			a.notices.Warn("what is kept is no revocation")
			continue
		}
		one, wrong := a.mergeOne(r)
		if wrong != nil {
			a.notices.Warn("what is kept is no revocation", "error", wrong)
		}
		news = news || one
	}
	return news, err
}

// fromOthers asks for all, a page at a time: behind the first that some server may have
// more of.
func (a *Authority) fromOthers(ctx context.Context) (news bool, err error) {
	for behind, more := "", true; more; {
		answers, err := a.link.Ask(ctx, topicAsk, question{behind})
		if err != nil {
			return news, err
		}
		next := ""
		for _, answer := range answers {
			one, wrong := a.merge(answer)
			if wrong != nil {
				a.notices.Warn("another server's revocations are not understood", "error", wrong)
			}
			news = news || one
			if last := lastOf(answer); last > behind && (next == "" || last < next) {
				next = last
			}
		}
		behind, more = next, next != ""
	}
	return news, nil
}

// lastOf returns the name of the last of a full page, "" if it is not full, or none.
func lastOf(answer []byte) string {
	var all []Revocation
	if json.Unmarshal(answer, &all) != nil || len(all) != page {
		return ""
	}
	return all[page-1].name()
}
