package confine

import (
	"context"

	"github.com/sioedge/sioedge/rooms"
)

// movable is an adapter whose place another process can take.
type movable struct {
	*confined
	moving
}

// movableLog is one that keeps events.
type movableLog struct {
	*logged
	moving
}

// moving are the methods of rooms.Movable that others have not.
type moving struct {
	within *confined
	m      rooms.Movable
}

func (x moving) Offer() (offer []byte, err error) {
	defer x.within.confine("Offer", &err)
	return x.m.Offer()
}

func (x moving) Mark(ctx context.Context) (place []byte, err error) {
	defer x.within.confine("Mark", &err)
	return x.m.Mark(ctx)
}

func (x moving) Back() {
	defer x.within.confine("Back", nil)
	x.m.Back()
}

func (x moving) Gone(ctx context.Context, stays bool) (err error) {
	defer x.within.confine("Gone", &err)
	return x.m.Gone(ctx, stays)
}

func (x moving) Inherit(offer []byte) (err error) {
	defer x.within.confine("Inherit", &err)
	return x.m.Inherit(offer)
}

func (x moving) Follow(ctx context.Context, offer []byte) (err error) {
	defer x.within.confine("Follow", &err)
	return x.m.Follow(ctx, offer)
}

func (x moving) Succeed(place []byte) (err error) {
	defer x.within.confine("Succeed", &err)
	return x.m.Succeed(place)
}
