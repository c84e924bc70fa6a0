package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
)

// credentials are what a client brings, by which a backend decides.
type credentials struct {
	handshake sio.Handshake
	header    http.Header
	auth      []byte // JSON; nil: none
}

func credentialsOf(s sio.Socket) *credentials {
	c := &credentials{handshake: s.Handshake()}
	c.header = c.handshake.Header()
	var auth json.RawMessage
	if s.Auth(&auth) == nil && !null(auth) {
		c.auth = auth
	}
	return c
}

// unlike are fields of a request by which no two clients are alike, and nobody decides.
var unlike = []string{"User-Agent", "X-Request-Id", "Traceparent", "Tracestate"}

type sum [sha256.Size]byte

// A cache has answers to connect that may be given again, by what clients bring, of which
// it has an HMAC by a key that nobody knows. Who brings the same while a backend is asked
// waits for that answer. Any goroutine may use it.
type cache struct {
	macs sync.Pool // of hash.Hash

	// Guarded by mu.
	mu      sync.Mutex
	most    int   // answers
	bytes   int64 // that they take, at most most*bytesPerAnswer
	m       map[sum]known
	asked   map[sum]chan struct{}
	shares  bool // the last answers said that they may be given again
	epoch   uint64
	hits    int64
	evicted int64
}

// A known answer.
type known struct {
	r    *action.Result
	end  time.Time
	size int64
}

// bytesPerAnswer is what answers take on average, at most.
const bytesPerAnswer = 1 << 10

func newCache(most int) *cache {
	key := make([]byte, sha256.Size)
	rand.Read(key) // which never fails
	return &cache{most: most, m: map[sum]known{}, asked: map[sum]chan struct{}{}, macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// key returns that of what a client brings to a namespace. It is false for who brings
// nothing.
func (c *cache) key(f *form, who *credentials, e *action.Entry) (k sum, ok bool) {
	h := c.macs.Get().(hash.Hash)
	defer c.macs.Put(h)
	h.Reset()
	part := func(name string, v []byte) {
		var n [8]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(name)))
		binary.BigEndian.PutUint32(n[4:], uint32(len(v)))
		h.Write(n[:])
		h.Write([]byte(name))
		h.Write(v)
	}
	part("nsp", []byte(e.Namespace))
	part("user", []byte(e.User))
	part("claims", e.Claims)
	ok = e.User != ""
	value.EachMember(who.auth, func(name, v []byte) bool {
		if !value.Says(name, "pid") && !value.Says(name, "offset") { // of a client that comes back
			part(string(name), v)
			ok = true
		}
		return true
	})
	if len(who.auth) > 0 && who.auth[0] != '{' {
		part("auth", who.auth)
		ok = true
	}
	query := who.handshake.Query()
	for _, name := range []string{"access_token", "token"} {
		if all := query[name]; len(all) > 0 {
			part("?"+name, []byte(strings.Join(all, "\x00")))
			ok = true
		}
	}
	for _, name := range f.headers {
		if all := who.header[name]; len(all) > 0 && !slices.Contains(unlike, name) {
			part(name, []byte(strings.Join(all, "\x00")))
			ok = true
		}
	}
	h.Sum(k[:0])
	return k, ok
}

// get returns an answer that may be given again, or a channel that is closed when somebody
// else has asked, or neither: then it is the caller's to ask, and to call put.
func (c *cache) get(k sum, now time.Time) (r *action.Result, other <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x, ok := c.m[k]; ok {
		if now.Before(x.end) {
			c.hits++
			return x.r, nil
		}
		c.drop(k, x)
	}
	if !c.shares {
		return nil, nil
	}
	if ch := c.asked[k]; ch != nil {
		return nil, ch
	}
	c.asked[k] = make(chan struct{})
	return nil, nil
}

// epochNow is to be given to put.
func (c *cache) epochNow() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// put keeps a copy of an answer for a while, unless all were forgotten since it was asked
// for, in an epoch. Whoever waits for it goes on. If it is not to be kept, ttl is 0.
func (c *cache) put(k sum, r *action.Result, ttl time.Duration, epoch uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.asked[k]; ch != nil {
		close(ch)
		delete(c.asked, k)
	}
	if c.shares = ttl > 0; !c.shares || epoch != c.epoch {
		return
	}
	if old, ok := c.m[k]; ok {
		c.drop(k, old)
	}
	x := known{clone(r), now.Add(ttl), sizeOf(r)}
	if x.size > int64(c.most)*bytesPerAnswer/8 {
		return
	}
	for len(c.m) >= c.most || c.bytes+x.size > int64(c.most)*bytesPerAnswer {
		c.evict()
	}
	c.m[k] = x
	c.bytes += x.size
}

func (c *cache) drop(k sum, x known) {
	delete(c.m, k)
	c.bytes -= x.size
}

// sampled is how many answers are looked at for one that goes.
const sampled = 4

// evict drops one of a few answers, by chance, that which ends first.
func (c *cache) evict() {
	var out sum
	var gone known
	n := 0
	for k, x := range c.m {
		if n == 0 || x.end.Before(gone.end) {
			out, gone = k, x
		}
		if n++; n == sampled {
			break
		}
	}
	c.drop(out, gone)
	c.evicted++
}

// forget drops all answers, and those that are under way are not kept.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.m)
	c.bytes = 0
	c.epoch++
}

// resize changes how many there may be.
func (c *cache) resize(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.most = most; len(c.m) > most || c.bytes > int64(most)*bytesPerAnswer; {
		c.evict()
	}
}

// count returns how many answers there are, how many were given again, and how many were
// dropped for others.
func (c *cache) count() (entries int, hits, evicted int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.m), c.hits, c.evicted
}

// sizeOf returns what an answer takes, about.
func sizeOf(r *action.Result) int64 {
	n := 512 + len(r.User) + len(r.Data)
	for _, list := range [][]string{r.Scope, r.Rooms, r.Join} {
		for _, x := range list {
			n += 16 + len(x)
		}
	}
	if r.Error != nil {
		n += len(r.Error.Message) + len(r.Error.Data)
	}
	emit := func(e *action.Emit) {
		if e == nil {
			return
		}
		n += 128 + len(e.Event)
		args, attachments := e.Args.Verbatim()
		for _, b := range append(slices.Clip(args), attachments...) {
			n += 24 + len(b)
		}
		for _, x := range append(slices.Clip(e.To), e.Except...) {
			n += 16 + len(x)
		}
	}
	for i := range r.Emit {
		emit(&r.Emit[i])
	}
	for i := range r.Actions {
		emit(r.Actions[i].Emit)
		n += 64 + len(r.Actions[i].Set)
		for _, x := range r.Actions[i].Rooms {
			n += 16 + len(x)
		}
	}
	return int64(n)
}

// clone copies what of an answer lies in the text that it came with, and that of others
// in the same request, so that this goes.
func clone(r *action.Result) *action.Result {
	c := *r
	c.Data, c.ID = bytes.Clone(r.Data), ""
	if r.Error != nil {
		c.Error = &action.Refusal{Message: r.Error.Message, Data: bytes.Clone(r.Error.Data)}
	}
	c.Emit = slices.Clone(r.Emit)
	for i := range c.Emit {
		c.Emit[i].Args = cloneArgs(c.Emit[i].Args)
	}
	c.Actions = slices.Clone(r.Actions)
	for i := range c.Actions {
		a := &c.Actions[i]
		a.Set = bytes.Clone(a.Set)
		if a.Emit != nil {
			e := *a.Emit
			e.Args = cloneArgs(e.Args)
			a.Emit = &e
		}
	}
	return &c
}

func cloneArgs(a sio.Args) sio.Args {
	args, attachments := a.Verbatim()
	list := append(append([]byte{'['}, bytes.Join(args, []byte{','})...), ']')
	own := make([][]byte, len(attachments))
	for i, b := range attachments {
		own[i] = bytes.Clone(b)
	}
	c, err := sio.ParseArgs(list, own)
	if err != nil {
		panic("webhook: arguments that were valid are not: " + err.Error())
	}
	return c
}
