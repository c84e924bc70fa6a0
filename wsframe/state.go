package wsframe

// A ReaderState is what a Reader holds of a message that is incomplete, as plain data:
// for another process to go on with. The zero value is that of an idle Reader.
type ReaderState struct {
	// The message; Op is zero if there is none.
	Op         Op     `cbor:"1,keyasint,omitempty"`
	Compressed bool   `cbor:"2,keyasint,omitempty"`
	Fragments  int32  `cbor:"3,keyasint,omitempty"`
	Checked    int    `cbor:"4,keyasint,omitempty"` // how much of Data is known to be UTF-8
	Data       []byte `cbor:"5,keyasint,omitempty"` // what has been received of it

	// The frame that is being received, whose header is consumed.
	InFrame bool    `cbor:"6,keyasint,omitempty"`
	Fin     bool    `cbor:"7,keyasint,omitempty"`
	Mask    [4]byte `cbor:"8,keyasint,omitzero"`
	MaskAt  uint8   `cbor:"9,keyasint,omitempty"`  // 0 to 3: where in Mask the next byte is
	Left    int64   `cbor:"10,keyasint,omitempty"` // bytes to come
}

// State returns what r holds. Data is a view of it.
func (r *Reader) State() ReaderState {
	return ReaderState{Op: r.op, Compressed: r.compressed, Fragments: r.fragments, Checked: r.checked, Data: r.buf,
		InFrame: r.inFrame, Fin: r.fin, Mask: r.mask, MaskAt: r.pos, Left: r.left}
}

// SetState has r, which must be idle, go on with s, of which Data is r's from now on. It
// is false, and changes nothing, if no Reader with r's limits can be in that state.
func (r *Reader) SetState(s ReaderState) bool {
	most := r.MaxMessage
	if most == 0 {
		most = DefaultMaxMessage
	}
	sound := r.op == 0 && s.MaskAt < 4 && s.Left >= 0 && s.Fragments >= 0 && s.Checked >= 0 && s.Checked <= len(s.Data) &&
		int64(len(s.Data)) <= most && s.Left <= most-int64(len(s.Data)) && s.InFrame == (s.Left > 0) &&
		(s.Op == Text || s.Op == Binary || s.Op == 0 && !s.InFrame && len(s.Data) == 0) && (!s.Compressed || r.Compression)
	if !sound {
		return false
	}
	r.op, r.compressed, r.fragments, r.checked, r.buf = s.Op, s.Compressed, s.Fragments, s.Checked, s.Data
	r.inFrame, r.fin, r.mask, r.pos, r.left = s.InFrame, s.Fin, s.Mask, s.MaskAt, s.Left
	return true
}
