package eio

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// maxRouteBody bounds what is read of a request that is not Engine.IO's.
const maxRouteBody = 1 << 20

// routed has a net/http handler answer a request: on a goroutine, with the
// request's body read and the answer collected before it is written.
func (sh *shard) routed(h *httpConn, handler http.Handler) {
	req := sh.req.Clone()
	addr := h.conn.RemoteAddr().String()
	serve := func(body []byte) {
		sh.wait(h)
		r, err := netRequest(req, addr, bytes.Clone(body))
		if err != nil {
			sh.answer(h, http.StatusBadRequest, nil, nil, true)
			return
		}
		// ends when the handler has answered
		go sh.serveRoute(h, handler, r)
	}
	if sh.req.ContentLength > 0 || sh.req.Chunked {
		sh.receiveBody(h, maxRouteBody, serve, nil)
		return
	}
	serve(nil)
}

func (sh *shard) serveRoute(h *httpConn, handler http.Handler, r *http.Request) {
	w := &recorder{header: http.Header{}}
	defer func() {
		if v := recover(); v != nil {
			sh.srv.o.Logger.Error("panic in HTTP handler", "path", r.URL.Path, "panic", v)
			w = &recorder{header: http.Header{}, status: http.StatusInternalServerError}
		}
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) {
			if sh.httpOf(h.conn) == h {
				sh.answer(h, w.status, w.fields(), w.body.Bytes(), false)
			}
		}))
	}()
	handler.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
}

// netRequest makes a net/http request of ours.
func netRequest(r *http1.Request, addr string, body []byte) (*http.Request, error) {
	u, err := url.ParseRequestURI(string(r.Target))
	if err != nil {
		return nil, err
	}
	q := &http.Request{
		Method: string(r.Method), URL: u, RequestURI: string(r.Target), Host: string(r.Host), RemoteAddr: addr,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: r.Minor,
		Header: make(http.Header), Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	for _, f := range r.Fields {
		q.Header.Add(string(f.Name), string(f.Value))
	}
	return q.WithContext(context.Background()), nil
}

// A recorder collects an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// fields returns the header without what the connection decides itself.
func (w *recorder) fields() (fields []http1.Field) {
	if w.header.Get("Content-Type") == "" && w.body.Len() > 0 {
		w.header.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
	for name, values := range w.header {
		switch {
		case strings.EqualFold(name, "Content-Length"), strings.EqualFold(name, "Connection"):
			continue
		}
		for _, v := range values {
			fields = append(fields, http1.Field{Name: []byte(name), Value: []byte(v)})
		}
	}
	return fields
}
