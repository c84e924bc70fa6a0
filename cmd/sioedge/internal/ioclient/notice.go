package ioclient

import (
	"encoding/json"
	"time"
)

// A Kind is what a Notice tells of.
type Kind string

// The kinds of notices, and which fields each has beside Namespace.
const (
	Opened       Kind = "open"          // a session: Transport, SID of Engine.IO; no Namespace
	Upgraded     Kind = "upgrade"       // a session: Transport; no Namespace
	Connected    Kind = "connect"       // a namespace: SID, Recovered
	Refused      Kind = "connect_error" // a namespace, by the server: Message, Data
	Failed       Kind = "open_error"    // an attempt to open a session: Err; no Namespace
	Retrying     Kind = "reconnecting"  // Attempt, Delay; no Namespace
	Disconnected Kind = "disconnect"    // a namespace: Reason, Code, Message, Err
	Arrived      Kind = "event"         // Event, Args, Attachments, ID if Asks
	Strange      Kind = "warning"       // something of the server that is of no use: Message
)

// A Notice is something that has happened.
type Notice struct {
	Kind      Kind
	Time      time.Time
	Namespace string

	SID       string
	Recovered bool
	Transport string

	// Event is a name, Args are JSON: with a placeholder for each attachment.
	Event       string
	Args        []json.RawMessage
	Attachments [][]byte
	Asks        bool
	ID          uint64

	// Reason is one of the stock client's: "transport close", "ping timeout", ….
	Reason string
	// Code and Message are those of a WebSocket's close frame; Message is also what a
	// server says of a refusal, with Data.
	Code    uint16
	Message string
	Data    json.RawMessage
	Err     error

	Attempt int // from 1
	Delay   time.Duration
}
