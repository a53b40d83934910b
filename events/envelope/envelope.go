// Package envelope is the form of an event, without any meaning: who it is about, where it stands, how it
// travels over NATS and what its digest is. The kinds of events and their payloads are in package events.
//
// An event travels as one NATS message: CloudEvents 1.0 in binary mode (attributes in lower-case `ce-` headers)
// with refold's own headers beside them, and a JSON object as payload. Everything personal sits in the member
// `private` of that object and nowhere else.
package envelope

import (
	"time"
)

// Key names an entity: the unit of ordering and of optimistic concurrency.
// All three are tokens (see ValidToken).
type Key struct {
	Tenant string
	Entity string // "memory", "app", ...
	ID     string
}

func (k Key) String() string { return k.Tenant + "/" + k.Entity + "/" + k.ID }

// Event is a fact about one entity. It is never changed once published.
type Event struct {
	Key

	// Shard and Seq are the position in the journal; Seq is 0 until the event has been appended.
	Shard int
	Seq   uint64

	// EventID is unique for all time and made by the plane (see MessageID): the CloudEvents id and the
	// message id under which JetStream recognises a repeated publish.
	EventID string
	// Kind is the event's type and version, such as "memory.added.v1".
	Kind string
	// Version counts the events of the entity, dense from 1.
	Version uint64
	// Time is when the plane accepted the command, UTC at microseconds. The only clock a fold may read.
	Time time.Time
	// Actor is the opaque id of the principal that caused the event.
	Actor string
	// CommandID is the idempotency key of the command.
	CommandID string
	// TraceParent is the W3C trace context of the command, or empty.
	TraceParent string

	// Data is the payload, one JSON object (see Compose).
	Data []byte
}
