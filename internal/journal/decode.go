package journal

import (
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/envelope"
)

// MalformedKind is the Kind of a message that is no event: its headers could not all be read. Nothing but
// refold publishes to a journal, so whoever meets it holds the entity back and says so.
const MalformedKind = ""

// decode makes an event of a stored message. It never fails: what is no event has MalformedKind.
func decode(shard int, subject string, seq uint64, h nats.Header, data []byte) envelope.Event {
	e := envelope.Event{Shard: shard, Seq: seq, Data: data}
	// nats.Header does not canonicalise, and our names are written in lower case: the map can be read directly.
	headersErr := e.FromHeaders(func(name string) string {
		if values := h[name]; len(values) > 0 {
			return values[0]
		}
		return ""
	})
	number, key, subjectErr := envelope.ParseSubject(subject)
	e.Key = key
	if headersErr != nil || subjectErr != nil || number != shard || !onlyOwn(h) {
		e.Kind = MalformedKind
	}
	return e
}

// onlyOwn reports whether every header is one of the event's, once, or one of the broker's.
func onlyOwn(h nats.Header) bool {
	for name, values := range h {
		if !strings.HasPrefix(name, brokerPrefix) && (!envelope.OwnHeader(name) || len(values) != 1) {
			return false
		}
	}
	return true
}

// brokerPrefix begins the names of the headers that the broker and its clients add; they are no part of an event.
const brokerPrefix = "Nats-"

// decoder decodes many messages and keeps one copy of the names that nearly all of them share.
// It belongs to one goroutine.
type decoder struct {
	shard int
	names map[string]string
}

// namesMax bounds the memory of a decoder; beyond it names are no longer shared.
const namesMax = 100_000

func (d *decoder) decode(subject string, seq uint64, h nats.Header, data []byte) envelope.Event {
	e := decode(d.shard, subject, seq, h, data)
	e.Tenant, e.Entity, e.Kind = d.intern(e.Tenant), d.intern(e.Entity), d.intern(e.Kind)
	return e
}

func (d *decoder) intern(s string) string {
	if known, ok := d.names[s]; ok {
		return known
	}
	if len(d.names) < namesMax {
		d.names[s] = s
	}
	return s
}
