package http1

import "testing"

// browserHead is what Chrome sends for a poll.
const browserHead = "GET /socket.io/?EIO=4&transport=polling&t=PVxO1aZ&sid=lv_VI97HAXpY6yYWAAAC HTTP/1.1\r\n" +
	"Host: chat.example.com\r\n" +
	"Connection: keep-alive\r\n" +
	"sec-ch-ua-platform: \"Linux\"\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n" +
	"sec-ch-ua-mobile: ?0\r\n" +
	"Accept: */*\r\n" +
	"Origin: https://example.com\r\n" +
	"Sec-Fetch-Site: same-site\r\n" +
	"Sec-Fetch-Mode: cors\r\n" +
	"Sec-Fetch-Dest: empty\r\n" +
	"Referer: https://example.com/\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-US,en;q=0.9\r\n" +
	"Cookie: io=lv_VI97HAXpY6yYWAAAC\r\n\r\n"

func TestNothingIsAllocated(t *testing.T) {
	head := []byte(browserHead)
	chunked := []byte("5\r\nhello\r\n0\r\n\r\n")
	header := []Field{field("Content-Type", "text/plain; charset=UTF-8"), field("cache-control", "no-store")}
	var r Request
	var d Body
	out := make([]byte, 0, 1024)
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"Parse", func() { Parse(head, &r) }},
		{"Parse of an incomplete head", func() { Parse(head[:len(head)-1], &r) }},
		{"Get", func() { r.Get("cookie") }},
		{"QueryView", func() { r.QueryView("sid") }},
		{"Body", func() {
			d.Reset(&Request{Chunked: true}, 10)
			for b := chunked; ; {
				_, n, done, _ := d.Next(b)
				if b = b[n:]; done {
					return
				}
			}
		}},
		{"AppendResponse", func() { out = AppendResponse(out[:0], 200, header, chunked) }},
	} {
		c.f()
		if n := testing.AllocsPerRun(100, c.f); n != 0 {
			t.Errorf("%s allocates %v times, want 0", c.name, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, head := range map[string][]byte{
		"head=browser":    []byte(browserHead),
		"head=body":       []byte(browserHead + "x"),
		"head=incomplete": []byte(browserHead[:len(browserHead)-1]),
		"head=short":      []byte(lines("GET /socket.io/?EIO=4&transport=polling HTTP/1.1", "Host: h")),
	} {
		b.Run(name, func(b *testing.B) {
			var r Request
			b.SetBytes(int64(len(head)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(head, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkQueryView(b *testing.B) {
	var r Request
	if _, err := Parse([]byte(browserHead), &r); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.QueryView("transport")
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	header := []Field{field("Content-Type", "text/plain; charset=UTF-8"), field("cache-control", "no-store")}
	body := make([]byte, 100)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = AppendResponse(out[:0], 200, header, body)
	}
}
