package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/sioedge/sioedge/loop/hashset"
)

const (
	cacheShards   = 32
	entryBytes    = 16 // of an entry beside its Identity, about
	bytesPerEntry = 512
	sampled       = 4 // entries that are looked at for one that goes
)

// A tokenSum names a token: half of an SHA-256 of it and of a secret of the process, so
// that nobody can look for two tokens of one sum.
type tokenSum [sha256.Size / 2]byte

var sumKey = func() (key [sha256.Size]byte) {
	_, _ = rand.Read(key[:]) // never fails
	return key
}()

// sumToken returns what names a token.
func sumToken(token string) (sum tokenSum) {
	var few [2 << 10]byte // of most: they need no memory of the heap
	all := sha256.Sum256(append(append(few[:0], sumKey[:]...), token...))
	copy(sum[:], all[:])
	return sum
}

// A cache has the Identity of each token that was verified of late, by its sum, which
// stands in the Identity. It is bounded in entries and in bytes.
type cache struct {
	most   int   // entries a shard
	bytes  int64 // a shard
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu    sync.Mutex
	all   hashset.Set[*Identity]
	bytes int64
	epoch uint64
}

func newCache(entries int) *cache {
	most := max(1, (entries+cacheShards-1)/cacheShards)
	return &cache{most: most, bytes: int64(most) * bytesPerEntry}
}

func (c *cache) shard(sum tokenSum) *cacheShard { return &c.shards[sum[0]%cacheShards] }

// hash is that of a sum, without what says which shard it is in.
func (sum *tokenSum) hash() uint32 { return binary.LittleEndian.Uint32(sum[1:]) }

// Hash is that of the token.
func (id *Identity) Hash() uint32 { return id.sum.hash() }

func (s *cacheShard) find(sum tokenSum) *Identity {
	return s.all.Find(sum.hash(), func(id *Identity) bool { return id.sum == sum })
}

// get returns the Identity of a token, nil if it is not known, or was verified by keys
// of another epoch.
func (c *cache) get(sum tokenSum, epoch uint64, now time.Time) *Identity {
	s := c.shard(sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch {
		return nil
	}
	id := s.find(sum)
	if id != nil && id.until != 0 && now.Unix() >= id.until {
		s.drop(id)
		return nil
	}
	return id
}

// put keeps what a token was verified to be, by keys of an epoch, until end, Unix
// seconds; 0: always. Nobody else has that Identity yet.
func (c *cache) put(sum tokenSum, epoch uint64, id *Identity, end int64, now time.Time) {
	id.sum, id.until = sum, end
	s, size := c.shard(sum), id.cost()
	if size > c.bytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch < s.epoch {
		return
	}
	if epoch > s.epoch {
		s.all, s.bytes, s.epoch = hashset.Set[*Identity]{}, 0, epoch
	}
	if old := s.find(sum); old != nil {
		s.drop(old)
	}
	for s.all.Len() >= c.most || s.bytes+size > c.bytes {
		s.evict(sum, now)
	}
	s.all.Add(id)
	s.bytes += size
}

// cost is what an Identity takes in the cache.
func (id *Identity) cost() int64 { return int64(entryBytes + id.size() + id.grants.size()) }

func (s *cacheShard) drop(id *Identity) {
	s.all.Remove(id)
	s.bytes -= id.cost()
}

// evict drops one of a few entries, those about a sum, that which ends first.
func (s *cacheShard) evict(about tokenSum, now time.Time) {
	var gone *Identity
	n := 0
	s.all.Each(about.hash(), func(id *Identity) bool {
		if gone == nil || id.until != 0 && (gone.until == 0 || id.until < gone.until) {
			gone = id
		}
		n++
		return n < sampled && (id.until == 0 || id.until > now.Unix())
	})
	s.drop(gone)
}

// held returns how many entries there are, and what they take.
func (c *cache) held() (entries int, bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		entries += s.all.Len()
		bytes += s.bytes
		s.mu.Unlock()
	}
	return entries, bytes
}
