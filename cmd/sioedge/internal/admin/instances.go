package admin

import (
	"container/heap"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// An Instance is one that clients have joined of a namespace with parameters.
type Instance struct {
	Name    string `json:"name"`
	Sockets int    `json:"sockets"` // of this server
}

const maxInstances = 200 // of a page

// instances answers a page of them, in the order of their names: those that begin with a
// prefix, behind one. However many there are, no more are kept.
func (a *Admin) instances(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > maxInstances {
		refuse(w, http.StatusBadRequest, "malformed", "limit is to be from 1 to "+strconv.Itoa(maxInstances))
		return
	}
	for ns := range a.clients() {
		if ns.Name() != q.Get("nsp") {
			continue
		}
		var first texts
		for _, name := range ns.Instances() {
			if name <= q.Get("behind") || !strings.HasPrefix(name, q.Get("prefix")) || len(first) == limit && name >= first[0] {
				continue
			}
			if heap.Push(&first, name); len(first) > limit {
				heap.Pop(&first)
			}
		}
		slices.Sort(first)
		x := struct {
			Instances []Instance `json:"instances"`
			Cursor    string     `json:"cursor,omitempty"`
		}{Instances: []Instance{}}
		for _, name := range first {
			x.Instances = append(x.Instances, Instance{name, ns.Instance(name).Local().Count()})
		}
		if len(first) == limit {
			x.Cursor = first[limit-1]
		}
		answer(w, http.StatusOK, x)
		return
	}
	refuse(w, http.StatusNotFound, "unknown_namespace", "there is no such namespace")
}

// texts is a heap of them, the last one at its head.
type texts []string

func (h texts) Len() int           { return len(h) }
func (h texts) Less(i, j int) bool { return h[i] > h[j] }
func (h texts) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push appends one.
func (h *texts) Push(x any) { *h = append(*h, x.(string)) }

// Pop takes the last one.
func (h *texts) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}
