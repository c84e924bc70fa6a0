package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
)

// stream is the endpoint: each line of the body is a command, which is done before the
// next one is read, and has a line of the answer. What a stream takes does not grow with
// how long it is: one line, and results of lineBytes. They are written when no further
// command is there, or they are as many; while they are not read, no command is.
func (c *call) stream() error {
	if err := c.isJSON(); err != nil {
		return err
	}
	rc := c.endless(0)
	_ = rc.EnableFullDuplex() // HTTP/2 is it anyway
	c.a.counts.streams.Add(1)
	defer c.a.counts.streams.Add(-1)
	// What is still read when the server stops ends at once.
	streams := c.a.pause.streams()
	defer c.onStop(streams, func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) })()
	c.status = http.StatusOK
	c.head(typeNDJSON)
	c.w.WriteHeader(c.status)
	out := &lineWriter{w: c.w, rc: rc}
	if out.flush() != nil {
		c.status = statusCut
		return nil
	}
	in := &lineReader{r: bufio.NewReaderSize(c.r.Body, lineBytes), most: c.s.MaxBody, wait: out.flush}
	err := c.lines(streams, in, out)
	switch {
	case c.ended(streams) && c.a.stopped.Err() == nil:
		out.buf = c.a.appendResult(out.buf, &command{}, nil, fail(http.StatusServiceUnavailable, "moving",
			strconv.Itoa(in.done)+" commands were done, and another process takes over: go on with the next one, by another connection"))
		out.write([]byte("\n"))
	case c.a.stopped.Err() != nil:
		out.buf = c.a.appendResult(out.buf, &command{}, nil, fail(http.StatusServiceUnavailable, "stopping", "the server stops: go on elsewhere, or again"))
		out.write([]byte("\n"))
	}
	if out.flush() != nil || err != nil && !errors.Is(err, io.EOF) {
		c.status = statusCut
	}
	return nil
}

// lines does what the lines say, until there are no more.
func (c *call) lines(streams context.Context, in *lineReader, out *lineWriter) error {
	for out.err == nil && !c.ended(streams) {
		line, err := in.next()
		if err == nil && c.ended(streams) {
			break // what was read is not done
		}
		switch {
		case errors.Is(err, errLong):
			c.a.counts.lines.Add(1)
			in.done++
			c.wrong(out, fail(0, string(action.TooLong), "a line has more than "+strconv.Itoa(in.most)+" bytes (api.max_body)"))
			continue
		case err != nil:
			return err
		case len(line) == 0: // keeps the connection busy, and says nothing
			continue
		}
		c.a.counts.lines.Add(1)
		if err := checkJSON(line, c.s); err != nil {
			in.done++
			c.wrong(out, c.a.problemOf(err))
			continue
		}
		if !c.doLine(line, out) {
			break
		}
		in.done++
		out.write([]byte("\n"))
	}
	return out.err
}

// doLine does the command of a line. It is false if none is done any more.
func (c *call) doLine(line []byte, out *lineWriter) (ok bool) {
	hurry, p := c.a.pause.begin(closedContext)
	if p != nil {
		return false
	}
	defer c.a.pause.done()
	ctx, done := within(c.r.Context(), hurry)
	defer done()
	if out.buf, ok = c.a.run(ctx, c.s, out.buf, line); !ok {
		c.a.counts.wrong.Add(1)
	}
	return true
}

// closedContext is that of who does not wait.
var closedContext = func() context.Context {
	ctx, done := context.WithCancel(context.Background())
	done()
	return ctx
}()

// ended tells whether streams are to end.
func (c *call) ended(streams context.Context) bool {
	return streams.Err() != nil || c.a.stopped.Err() != nil
}

func (c *call) wrong(out *lineWriter, p *problem) {
	c.a.counts.wrong.Add(1)
	out.buf = c.a.appendResult(out.buf, &command{}, nil, p)
	out.write([]byte("\n"))
}

// onStop has f called when streams are to end, unless what it returns is called before.
func (c *call) onStop(streams context.Context, f func()) func() {
	done := make(chan struct{})
	// ends with the stream, or when all are to end
	go func() {
		select {
		case <-c.a.stopped.Done():
			f()
		case <-streams.Done():
			f()
		case <-done:
		}
	}()
	return func() { close(done) }
}

var errLong = errors.New("api: a line is too long")

// A lineReader reads lines of bounded length.
type lineReader struct {
	r    *bufio.Reader
	most int
	wait func() error // is called before it waits for more
	done int          // lines that were answered
	long []byte       // a line that is longer than the buffer of r
}

// next returns the next line, without white space at its ends, valid until the next
// call. The error is errLong for one that is too long, which has been passed over, else
// that of reading; io.EOF if there is none any more.
func (l *lineReader) next() ([]byte, error) {
	if cap(l.long) > 4*lineBytes {
		l.long = nil
	}
	l.long = l.long[:0]
	for over := false; ; {
		if err := l.settle(); err != nil {
			return nil, err
		}
		part, err := l.r.ReadSlice('\n')
		if len(l.long)+len(part) > l.most+len("\r\n") {
			over, l.long = true, l.long[:0]
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if !over {
				l.long = append(l.long, part...)
			}
			continue
		case err != nil && (len(part) == 0 && len(l.long) == 0 && !over || !errors.Is(err, io.EOF)):
			return nil, err
		case over:
			return nil, errLong
		case len(l.long) > 0:
			l.long = append(l.long, part...)
			part = l.long
		}
		return bytes.TrimSpace(part), nil // the last one may have no end
	}
}

// settle calls wait if there is no whole line yet.
func (l *lineReader) settle() error {
	if n := l.r.Buffered(); n > 0 {
		if b, _ := l.r.Peek(n); bytes.IndexByte(b, '\n') >= 0 || n == l.r.Size() {
			return nil
		}
	}
	return l.wait()
}
