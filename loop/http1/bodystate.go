package http1

// A BodyState is where a Body is, as plain data: for another process to go on with.
type BodyState struct {
	Part  uint8 `cbor:"1,keyasint,omitempty"` // of the framing
	Left  int64 `cbor:"2,keyasint,omitempty"` // of the body, or of the chunk
	Room  int64 `cbor:"3,keyasint,omitempty"` // what later chunks may hold
	Extra int32 `cbor:"4,keyasint,omitempty"` // bytes thrown away
	Width int8  `cbor:"5,keyasint,omitempty"` // digits of a chunk's size so far
}

// State returns where d is.
func (d *Body) State() BodyState {
	return BodyState{Part: uint8(d.state), Left: d.left, Room: d.room, Extra: d.extra, Width: d.width}
}

// SetState has d go on with s. It is false, and changes nothing, if no Body that may hold
// limit bytes can be there with something still to come.
func (d *Body) SetState(s BodyState, limit int64) bool {
	at := bodyState(s.Part)
	sound := s.Left >= 0 && s.Left <= limit && s.Room >= 0 && s.Extra >= 0 && s.Extra <= maxBodyExtra && s.Width >= 0 && s.Width <= 16
	switch at {
	case bodyFixed:
		sound = sound && s.Left > 0 && s.Room == 0
	case bodySize: // the chunk is not taken off the room yet
		sound = sound && s.Left <= s.Room && s.Room <= limit
	case bodyGap, bodyExtension, bodySizeLF:
		sound = sound && s.Room <= limit-s.Left
	case bodyChunk:
		sound = sound && s.Left > 0 && s.Room <= limit-s.Left
	case bodyChunkCR, bodyChunkLF, bodyLine, bodyTrailer, bodyTrailerLF, bodyLastLF:
		sound = sound && s.Left == 0 && s.Room <= limit
	default:
		sound = false
	}
	if sound {
		*d = Body{state: at, left: s.Left, room: s.Room, extra: s.Extra, width: s.Width}
	}
	return sound
}
