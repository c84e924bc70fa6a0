package admin

import (
	"net/http"
	"testing"
)

// What a request of the page costs a server with a hundred thousand sockets: an overview,
// a page of sockets, and a step of a search that finds nobody.
func BenchmarkPage(b *testing.B) {
	a := crowd(b, many)
	op := a.browser().enter(right)
	b.Run("request=overview", func(b *testing.B) {
		for b.Loop() {
			a.admin.look()
		}
	})
	for name, body := range map[string]string{"sockets": `{"limit":50}`, "room": `{"limit":50,"in":["room 42"]}`, "search": `{"limit":50,"user":"nobody"}`} {
		b.Run("request="+name, func(b *testing.B) {
			for b.Loop() {
				if status, text := op.does("POST", "/admin/api/sockets/query", body); status != http.StatusOK {
					b.Fatal(text)
				}
			}
		})
	}
}
