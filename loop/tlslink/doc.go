// Package tlslink serves TLS on event loops: crypto/tls, driven from the loop that a
// connection is on, without a goroutine for each connection.
//
// # A handshake
//
// An [Opener] of a listener has a connection first. While the first record has not come
// whole, nothing but the loop's carry is held for it; what is no ClientHello is refused
// there, plain HTTP with an answer that its sender understands. Then the handshake runs
// on a goroutine of its own, which computes only while it has one of a number of slots
// (Options.Handshakes) and gives it back while it waits for its peer: a client that
// stalls holds nobody up, and is ended with the loop's OpeningTimeout. Options.MaxOpening
// of the loop bounds those goroutines, and reading is paused but when one waits, so that
// what is kept for each is a read buffer at most.
//
// # A connection
//
// Afterwards a [Link] has crypto/tls called on the loop alone, over a net.Conn whose Read
// answers with an error that is temporary when nothing has come, which crypto/tls
// survives, and whose Write sends at once and keeps what the socket does not take: a
// record at most. What several messages of one step owe a connection is one record, and
// one system call.
//
// # Memory
//
// crypto/tls keeps the buffer that the largest record so far has come in, and that of the
// handshake's largest message, for as long as a connection lives: 4 KB behind a
// ClientHello of today, 20 KB behind one large record. Here such buffers are lent for a
// call, from a pool, by way of two fields of tls.Conn that are not exported; where they
// are not what they are known to be, in another version of Go, connections keep theirs
// and all else works. A test says so, for each version of Go.
package tlslink
