package http1

// maxBodyExtra bounds the bytes of one body that are read and thrown away:
// chunk extensions, and trailers with their line ends.
const maxBodyExtra = 16 << 10

// A Body reads the body of one request as its bytes arrive. It holds no bytes,
// only where it is: a Body is 32 bytes and needs no release. The zero Body is
// the body of a request without one. It belongs to one goroutine.
type Body struct {
	state bodyState
	left  int64 // of the body, or of the chunk; the chunk's size while that is read
	room  int64 // what later chunks may still hold
	extra int32 // bytes thrown away: at most maxBodyExtra
	width int8  // digits of the chunk's size so far
}

type bodyState uint8

const (
	bodyDone      bodyState = iota
	bodyFixed               // inside a body of known length
	bodySize                // in the digits of a chunk's size
	bodyGap                 // in the white space before an extension
	bodyExtension           // in the extensions of a chunk
	bodySizeLF              // before the LF after a chunk's size
	bodyChunk               // inside a chunk
	bodyChunkCR             // after a chunk
	bodyChunkLF             // before the LF after a chunk
	bodyLine                // at the start of a trailer or of the last line
	bodyTrailer             // in a trailer
	bodyTrailerLF           // before the LF of a trailer
	bodyLastLF              // before the last LF
)

// Reset makes d read the body of r, which may hold at most limit bytes without
// the framing of chunks; exactly limit is allowed. The error is an *Error with
// status 413 if r announces more. d does not keep r.
func (d *Body) Reset(r *Request, limit int64) error {
	*d = Body{}
	switch {
	case r.Chunked:
		d.state, d.room = bodySize, limit
	case r.ContentLength > limit:
		return &Error{413, "body too large"}
	case r.ContentLength > 0:
		d.state, d.left = bodyFixed, r.ContentLength
	}
	return nil
}

// Next reads the start of b. It consumed n bytes and found data, a view of b,
// which may be empty; done tells that the body is complete, b[n:] being the
// start of the next request. Call it again with b[n:] while n > 0 and not done;
// n == 0 and not done means that all of b is consumed. After done it consumes
// nothing.
//
// The error is an *Error: 413 as soon as the size of a chunk shows that the
// limit will be passed, 431 for trailers that are too long, 400 for anything
// malformed. After an error d must be Reset.
func (d *Body) Next(b []byte) (data []byte, n int, done bool, err error) {
	for n < len(b) && d.state != bodyDone {
		if d.state == bodyFixed || d.state == bodyChunk {
			k := int(min(d.left, int64(len(b)-n)))
			d.left -= int64(k)
			if d.left == 0 {
				d.state = afterData(d.state)
			}
			return b[n : n+k : n+k], n + k, d.state == bodyDone, nil
		}
		if err := d.step(b[n]); err != nil {
			return nil, n, false, err
		}
		n++
	}
	return nil, n, d.state == bodyDone, nil
}

func afterData(s bodyState) bodyState {
	if s == bodyFixed {
		return bodyDone
	}
	return bodyChunkCR
}

// step takes one byte of the framing of chunks: RFC 9112, 7.1.
func (d *Body) step(c byte) error {
	switch d.state {
	case bodySize:
		return d.stepSize(c)
	case bodyGap:
		if c == ';' {
			d.state = bodyExtension
		} else if c != ' ' && c != '\t' {
			return bad("malformed chunk size")
		}
		return d.skip(400)
	case bodyExtension:
		if c == '\r' {
			d.state = bodySizeLF
			return nil
		}
		return d.skipText(c, 400)
	case bodySizeLF:
		next := bodyChunk
		if d.left == 0 {
			next = bodyLine
		}
		return d.expect(c, '\n', next)
	case bodyChunkCR:
		return d.expect(c, '\r', bodyChunkLF)
	case bodyChunkLF:
		d.width = 0
		return d.expect(c, '\n', bodySize)
	case bodyLine:
		switch {
		case c == '\r':
			d.state = bodyLastLF
			return nil
		case class[c]&tokenChar == 0:
			return bad("malformed trailer")
		}
		d.state = bodyTrailer
		return d.skip(431)
	case bodyTrailer:
		if c == '\r' {
			d.state = bodyTrailerLF
			return d.skip(431)
		}
		return d.skipText(c, 431)
	case bodyTrailerLF:
		return d.expect(c, '\n', bodyLine)
	default: // bodyLastLF
		return d.expect(c, '\n', bodyDone)
	}
}

// stepSize takes one byte of a chunk's size. It fails with 413 at the digit that
// passes the limit, so the size can not overflow.
func (d *Body) stepSize(c byte) error {
	switch {
	case class[c]&hexChar != 0:
		if d.width++; d.width > 16 {
			return bad("chunk size has too many digits")
		}
		if d.left > d.room>>4 || d.left<<4+int64(unhex(c)) > d.room {
			return &Error{413, "body too large"}
		}
		d.left = d.left<<4 + int64(unhex(c))
		return nil
	case d.width == 0:
		return bad("chunk without size")
	}
	d.room -= d.left
	switch c {
	case '\r':
		d.state = bodySizeLF
		return nil
	case ';':
		d.state = bodyExtension
	case ' ', '\t':
		d.state = bodyGap
	default:
		return bad("malformed chunk size")
	}
	return d.skip(400)
}

func (d *Body) expect(c, want byte, next bodyState) error {
	if c != want {
		return bad("chunk or line without CRLF")
	}
	d.state = next
	return nil
}

// skip counts one byte that is thrown away.
func (d *Body) skip(status int) error {
	if d.extra++; d.extra > maxBodyExtra {
		return &Error{status, "chunk extensions or trailers too long"}
	}
	return nil
}

func (d *Body) skipText(c byte, status int) error {
	if c < ' ' && c != '\t' || c == 0x7f {
		return bad("control character in a chunk extension or trailer")
	}
	return d.skip(status)
}
