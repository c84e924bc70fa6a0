package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

const (
	maxKeptValue = 16 << 10 // bytes of a value of rooms.Keeper
	maxKeptName  = 128      // bytes of the name of a set
	maxKept      = 1 << 20  // values of a set
)

var errKeptName = errors.New("redis: a set of values has a name of 1 to 128 bytes")

// keptKey is the key of a set: a sorted set, of values by the ms at which their time is
// over.
func (c *core) keptKey(set string) (string, error) {
	if set == "" || len(set) > maxKeptName {
		return "", errKeptName
	}
	return c.o.Prefix + ":kept:" + set, nil
}

// KeepValue keeps a value; see rooms.Keeper. What is over goes at the same time.
func (c *core) KeepValue(ctx context.Context, set string, value []byte, until time.Time) error {
	key, err := c.keptKey(set)
	if err != nil {
		return err
	}
	if len(value) > maxKeptValue {
		return fmt.Errorf("redis: a value of %d bytes is not kept: there may be %d", len(value), maxKeptValue)
	}
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	client, err := c.b.get(ctx)
	if err != nil {
		return err
	}
	add := client.B().Zadd().Key(key).ScoreMember().ScoreMember(float64(until.UnixMilli()), rueidis.BinaryString(value)).Build()
	results := client.DoMulti(ctx, add, c.dropKept(client, key))
	return errors.Join(results[0].Error(), results[1].Error())
}

// dropKept is the command that forgets what is over.
func (c *core) dropKept(client rueidis.Client, key string) rueidis.Completed {
	return client.B().Zremrangebyscore().Key(key).Min("-inf").Max(strconv.FormatInt(time.Now().UnixMilli(), 10)).Build()
}

// KeptValues returns the values that are kept; see rooms.Keeper.
func (c *core) KeptValues(ctx context.Context, set string, most int) ([][]byte, error) {
	key, err := c.keptKey(set)
	if err != nil {
		return nil, err
	}
	ctx, cancel := deadline(ctx, c.o.Timeout)
	defer cancel()
	client, err := c.b.get(ctx)
	if err != nil {
		return nil, err
	}
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	all, err := client.Do(ctx, client.B().Zrevrangebyscore().Key(key).Max("+inf").Min("("+now).Limit(0, int64(min(most, maxKept))).Build()).AsStrSlice()
	if err != nil {
		return nil, err
	}
	values := make([][]byte, 0, len(all))
	for _, x := range all {
		if len(x) <= maxKeptValue { // or somebody else has put it there
			values = append(values, []byte(x))
		}
	}
	return values, nil
}
