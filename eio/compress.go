package eio

import (
	"bytes"
	"cmp"
	"errors"

	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/loop/http1/encoding"
	"github.com/sioedge/sioedge/wsframe"
)

// Compression are the options of permessage-deflate, the compression of
// WebSocket messages: RFC 7692. Context takeover is always off, in both
// directions: a loop needs one compressor for all its clients, and what goes to
// many is compressed once. Node: perMessageDeflate.
type Compression struct {
	// Threshold is the size in bytes from which on a message is sent compressed,
	// if that makes it smaller. Zero means 1024. Node: threshold.
	Threshold int
	// Level is from 1, the fastest, to 9. Zero means 1.
	Level int
	// MaxInflated bounds an incoming message once it is inflated, in bytes. Zero
	// means MaxPayload, which bounds it before: as in Node, whose maxHttpBufferSize
	// is for both.
	MaxInflated int
	// PreparedOnly leaves uncompressed what is sent to one session: with
	// SendPrepared the work is done once for all, with Send for each.
	PreparedOnly bool

	// ServerMaxWindowBits, from 8 to 15, is for the sake of clients with little
	// memory: messages longer than 1<<ServerMaxWindowBits are then sent as they
	// are, and clients that ask for less are declined. Zero accepts those too, but
	// sends them nothing compressed. Node: serverMaxWindowBits.
	ServerMaxWindowBits int
	// ClientMaxWindowBits, from 8 to 15, is what clients are asked to keep to if
	// they can. Zero leaves it to them. Node: clientMaxWindowBits.
	ClientMaxWindowBits int
}

// HTTPCompression are the options of the compression of polls' answers, by gzip
// or deflate as the client prefers. Node: httpCompression.
type HTTPCompression struct {
	// Off switches it off.
	Off bool
	// Threshold is the size in bytes from which on an answer is compressed. Zero
	// means 1024. Node: threshold.
	Threshold int
}

// compressionOptions returns the options with what their zero values mean. They
// are copies: the server's do not change under it.
func compressionOptions(o *Options) (*Compression, *HTTPCompression, error) {
	http := HTTPCompression{}
	if o.HTTPCompression != nil {
		http = *o.HTTPCompression
	}
	http.Threshold = cmp.Or(http.Threshold, 1024)
	if http.Threshold < 0 {
		return nil, nil, errors.New("eio: HTTPCompression.Threshold must not be negative")
	}
	if o.Compression == nil {
		return nil, &http, nil
	}
	c := *o.Compression
	c.Threshold = cmp.Or(c.Threshold, 1024)
	c.Level = cmp.Or(c.Level, 1)
	c.MaxInflated = cmp.Or(c.MaxInflated, o.MaxPayload)
	bad := func(bits int) bool { return bits != 0 && (bits < 8 || bits > 15) }
	switch {
	case c.Level < 1 || c.Level > 9:
		return nil, nil, errors.New("eio: Compression.Level must be from 1 to 9")
	case bad(c.ServerMaxWindowBits) || bad(c.ClientMaxWindowBits):
		return nil, nil, errors.New("eio: windows of Compression must be from 8 to 15 bits")
	case c.Threshold < 0 || c.MaxInflated < 0:
		return nil, nil, errors.New("eio: Compression.Threshold and MaxInflated must not be negative")
	}
	return &c, &http, nil
}

// A zipper is a loop's means of compression. It takes memory when it is first
// used.
type zipper struct {
	o        *Compression // nil: off
	deflater wsframe.Compressor
	inflater wsframe.Inflater
	left     int    // bytes that may be inflated before sockets are served again
	scratch  []byte // what deflate made for one session, valid until the next use

	tally CompressionStats
}

func (z *zipper) init(o *Compression) {
	z.o, z.left = o, sliceInflated
	if o != nil {
		z.deflater.Level = o.Level
	}
}

// negotiate answers the extensions that a client offers. The flags are those of
// its session, the response the value of the field in the answer: nil if the
// extension is declined, as an offer that cannot be accepted is.
func (z *zipper) negotiate(r *http1.Request) (f flags, response []byte) {
	if z.o == nil {
		return 0, nil
	}
	want := wsframe.Deflate{ServerMaxWindowBits: z.o.ServerMaxWindowBits, ClientMaxWindowBits: z.o.ClientMaxWindowBits}
	got, response, ok := wsframe.Negotiate(joined(r, "Sec-WebSocket-Extensions"), want)
	switch {
	case !ok:
		return 0, nil
	case want.ServerMaxWindowBits == 0 && !got.Fits(1<<15):
		return inflates, response // what is made once for all does not fit its window
	}
	return inflates | deflates, response
}

// joined returns the value of a request's field; if there are several of that
// name, their values with commas between them: RFC 9110, 5.3.
func joined(r *http1.Request, name string) (value []byte) {
	many := false
	for _, f := range r.Fields {
		switch {
		case !bytes.EqualFold(f.Name, []byte(name)):
		case value == nil:
			value = f.Value
		case !many:
			many = true
			value = append(append(bytes.Clone(value), ','), f.Value...)
		default:
			value = append(append(value, ','), f.Value...)
		}
	}
	return value
}

// deflate appends frames to dst with those compressed that are worth it. It
// reports false, and appends nothing, if none is.
func (z *zipper) deflate(dst, frames []byte) (out []byte, ok bool) {
	if len(frames) < z.o.Threshold {
		return dst, false // as most are
	}
	window := wsframe.Deflate{ServerMaxWindowBits: z.o.ServerMaxWindowBits}
	done := 0 // how much of frames is in dst
	for i := 0; i < len(frames); {
		h, p, n := cutFrame(frames[i:])
		if len(p) >= z.o.Threshold && window.Fits(len(p)) {
			at := len(dst)
			dst = append(dst, frames[done:i]...)
			from := len(dst)
			if dst, ok = z.deflater.AppendFrame(dst, h.Op, p); ok {
				done = i + n
				z.tally.Deflated++
				z.tally.DeflatedFrom += int64(n)
				z.tally.DeflatedTo += int64(len(dst) - from)
			} else {
				dst = dst[:at]
			}
		}
		i += n
	}
	if done == 0 {
		return dst, false
	}
	return append(dst, frames[done:]...), true
}

// inflate returns a message as it was before its sender compressed it, which is
// valid until the next call.
func (z *zipper) inflate(m wsframe.Message) (wsframe.Message, error) {
	if !m.Compressed {
		return m, nil
	}
	return z.inflateTo(m, z.o.MaxInflated)
}

// inflateTo is inflate with a limit in place of MaxInflated.
func (z *zipper) inflateTo(m wsframe.Message, limit int) (wsframe.Message, error) {
	m, err := z.inflater.Message(m, limit)
	if err != nil {
		z.left -= limit // it may have been the work
		z.tally.Refused++
		return m, err
	}
	z.left -= len(m.Data)
	z.tally.Inflated++
	return m, nil
}

// pollCoding returns what the answer to a poll may be compressed with.
func (sh *shard) pollCoding(r *http1.Request) encoding.Coding {
	if sh.srv.http.Off {
		return encoding.Identity
	}
	return encoding.Choose(joined(r, "Accept-Encoding"))
}

// encode compresses the answer to a poll, if that is worth it.
func (sh *shard) encode(body []byte, c encoding.Coding) ([]byte, encoding.Coding) {
	if c == encoding.Identity || len(body) < sh.srv.http.Threshold {
		return body, encoding.Identity
	}
	b := c.Append(nil, body)
	if len(b) >= len(body) {
		return body, encoding.Identity
	}
	sh.zip.tally.Polls++
	return b, c
}
