package parser

// Packets are counts of packets that applications send each other, by their kind.
type Packets struct {
	Events int64 // without attachments
	Binary int64 // events with attachments
	Acks   int64 // acknowledgements, with attachments or without
}

// Count counts a packet as it is on the wire; of others than events and
// acknowledgements, nothing.
func (p *Packets) Count(t Type) {
	switch t {
	case Event:
		p.Events++
	case BinaryEvent:
		p.Binary++
	case Ack, BinaryAck:
		p.Acks++
	}
}

// Emitted counts n events, some of them with attachments.
func (p *Packets) Emitted(n, binary int) {
	p.Events += int64(n - binary)
	p.Binary += int64(binary)
}

// Received counts a packet that was parsed.
func (p *Packets) Received(x *Packet) {
	switch {
	case x.Type != Event:
		p.Count(x.Type)
	case len(x.Buffers) > 0:
		p.Binary++
	default:
		p.Events++
	}
}

// Add adds o to p.
func (p *Packets) Add(o Packets) {
	p.Events += o.Events
	p.Binary += o.Binary
	p.Acks += o.Acks
}

// Sum returns how many they are.
func (p Packets) Sum() int64 { return p.Events + p.Binary + p.Acks }
