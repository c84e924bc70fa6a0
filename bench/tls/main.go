// Command tls measures what TLS costs on a loop, over real sockets of one machine: bytes
// of an idle connection on top of plain, CPU of a delivery and of an echo of 64 B over
// plain, and CPU of a handshake over net/http's. CPU is the server's, which is a process of its own.
//
//	go run ./bench/tls [-conns 1000] [-deliveries 200000] [-echoes 100000] [-handshakes 2000]
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/tlslink"
)

func main() {
	server := flag.String("server", "", "be a server of this kind: plain, tls or http")
	conns := flag.Int("conns", 1000, "idle connections")
	deliveries := flag.Int("deliveries", 200_000, "deliveries of 64 B")
	echoes := flag.Int("echoes", 100_000, "echoes of 64 B, on one connection")
	handshakes := flag.Int("handshakes", 2000, "handshakes of a kind")
	flag.Parse()
	if *server != "" {
		serve(*server)
		return
	}
	plain, secure := start("plain"), start("tls")
	heap := [2]float64{plain.idle(*conns), secure.idle(*conns)}
	cpu := [2]float64{plain.deliver(*deliveries), secure.deliver(*deliveries)}
	back := [2]float64{plain.answers(*echoes), secure.answers(*echoes)}
	web := start("http")
	fmt.Println("| what | plain | TLS | |\n|---|---|---|---|")
	fmt.Printf("| heap of an idle connection, B | %.0f | %.0f | %.0f on top |\n", heap[0], heap[1], heap[1]-heap[0])
	fmt.Printf("| CPU of a delivery of 64 B, µs | %.2f | %.2f | × %.2f |\n", cpu[0], cpu[1], cpu[1]/cpu[0])
	fmt.Printf("| CPU of an echo of 64 B, one at a time, µs | %.2f | %.2f | × %.2f |\n", back[0], back[1], back[1]/back[0])
	fmt.Println("\n| CPU of a handshake, µs (TLS 1.3, ECDSA P-256) | here | net/http | |\n|---|---|---|---|")
	for _, resumed := range []bool{false, true} {
		a, b := secure.shake(*handshakes, resumed), web.shake(*handshakes, resumed)
		fmt.Printf("| %s | %.0f | %.0f | × %.2f |\n", map[bool]string{false: "full", true: "resumed"}[resumed], a, b, a/b)
	}
}

// A peer is a server as the other side sees it.
type peer struct {
	kind, addr string
	in         io.Writer
	out        *bufio.Reader
}

func start(kind string) *peer {
	cmd := exec.Command(os.Args[0], "-server", kind)
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe() // it ends with this process
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	p := &peer{kind: kind, in: in, out: bufio.NewReader(out)}
	p.addr = p.line()
	return p
}

func (p *peer) line() string {
	var s string
	if _, err := fmt.Fscanln(p.out, &s); err != nil {
		log.Fatalf("the server %s: %v", p.kind, err)
	}
	return s
}

// ask returns the server's CPU in µs and its heap.
func (p *peer) ask() (cpu, heap float64) {
	fmt.Fprintln(p.in, "?")
	if _, err := fmt.Fscanln(p.out, &cpu, &heap); err != nil {
		log.Fatal(err)
	}
	return cpu, heap
}

var sessions = tls.NewLRUClientSessionCache(4)

func (p *peer) dial(resumed bool) net.Conn {
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		log.Fatal(err)
	}
	if p.kind == "plain" {
		return c
	}
	config := &tls.Config{InsecureSkipVerify: true, ServerName: p.kind}
	if resumed {
		config.ClientSessionCache = sessions
	}
	t := tls.Client(c, config)
	if err := t.Handshake(); err != nil {
		log.Fatal(err)
	}
	return t
}

func (p *peer) idle(n int) float64 {
	_, before := p.ask()
	all := make([]net.Conn, n)
	for i := range all {
		all[i] = p.dial(false)
		p.echo(all[i], 1)
	}
	_, after := p.ask()
	for _, c := range all {
		_ = c.Close()
	}
	return (after - before) / float64(n)
}

// echo has n messages of 64 B sent.
func (p *peer) echo(c net.Conn, n int) {
	b := make([]byte, 64)
	for range n {
		if _, err := c.Write(b[:1]); err != nil {
			log.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			log.Fatal(err)
		}
	}
}

// deliver has n messages of 64 B sent, each to one of many connections, as a broadcast is.
func (p *peer) deliver(n int) float64 {
	all := make([]net.Conn, 200)
	for i := range all {
		all[i] = p.dial(false)
		defer all[i].Close()
		p.echo(all[i], 1)
	}
	b := make([]byte, 64)
	round := func() {
		if _, err := io.WriteString(all[0], "all"); err != nil {
			log.Fatal(err)
		}
		for _, c := range all {
			if _, err := io.ReadFull(c, b); err != nil {
				log.Fatal(err)
			}
		}
	}
	round()
	before, _ := p.ask()
	for range n / len(all) {
		round()
	}
	after, _ := p.ask()
	return (after - before) / float64(n/len(all)*len(all))
}

// answers has n messages of 64 B sent back, one after the other on one connection.
func (p *peer) answers(n int) float64 {
	c := p.dial(false)
	defer c.Close()
	p.echo(c, 1)
	before, _ := p.ask()
	p.echo(c, n)
	after, _ := p.ask()
	return (after - before) / float64(n)
}

func (p *peer) shake(n int, resumed bool) float64 {
	b := make([]byte, 1)
	once := func() {
		c := p.dial(resumed)
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		_, _ = c.Read(b) // tickets come with it
		_ = c.Close()
	}
	once()
	before, _ := p.ask()
	for range n {
		once()
	}
	after, _ := p.ask()
	return (after - before) / float64(n)
}

// answers is a Handler: 64 B for each piece that comes, or for everybody.
type answers struct{ all map[loop.Conn]bool }

var answer = make([]byte, 64)

func (a answers) Open(c loop.Conn)           { a.all[c] = true }
func (a answers) Close(c loop.Conn, _ error) { delete(a.all, c) }
func (answers) Drained(loop.Conn)            {}

func (a answers) Data(c loop.Conn, b []byte) (n int) {
	if string(b) != "all" {
		c.WriteShared(answer)
		return len(b)
	}
	for x := range a.all {
		x.SendShared(answer)
	}
	return len(b)
}

func serve(kind string) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate()}, NextProtos: []string{"http/1.1"}, DynamicRecordSizingDisabled: true}
	if kind == "http" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		srv := &http.Server{TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }), ErrorLog: log.New(io.Discard, "", 0)}
		go func() { log.Fatal(srv.ServeTLS(ln, "", "")) }() // ends with the process
		tell(ln.Addr())
		return
	}
	e, err := loop.New(answers{map[loop.Conn]bool{}}, loop.Options{Loops: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	var lo loop.ListenOptions
	if kind == "tls" {
		lo.Opener = tlslink.New(tlslink.Options{Config: func() *tls.Config { return config }, Logger: slog.New(slog.DiscardHandler)})
	}
	a, err := e.ListenWith("127.0.0.1:0", lo)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(e.Run(context.Background())) }() // ends with the process
	tell(a)
}

// tell says where the server is, and what it has used whenever it is asked.
func tell(a net.Addr) {
	fmt.Println(a)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		time.Sleep(100 * time.Millisecond) // for what is under way
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		cpu := (u.Utime.Nano() + u.Stime.Nano()) / 1000
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(cpu, m.HeapAlloc)
	}
}

func certificate() tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	of := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
