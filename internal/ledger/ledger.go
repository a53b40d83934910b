// Package ledger is the packed form of what an edition has folded: of each event who it is about, which command it
// came from, and enough of its digest to tell it from any other. A projector writes it with its checkpoint, a
// reconciliation reads it: it alone still knows the commands of events that a restored journal no longer holds.
//
// A batch is a byte that says the format, the number of events and the sequence of the first one, and the events. They
// follow each other without a gap. Tenants and entities are written once and then by their number; ids and command ids
// that are UUIDs in their canonical form take sixteen bytes.
package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
)

// BatchEvents is how many events a replay packs together.
const BatchEvents = 2000

// KeepDefault is how many of an edition's newest events each shard's ledger holds at least, unless told otherwise.
const KeepDefault = 1_000_000

// DigestBytes is how much of an event's digest is kept.
const DigestBytes = 16

// ErrMalformed is returned by Unpack for bytes that Pack did not make.
var ErrMalformed = errors.New("malformed batch of a ledger")

// Digest is the beginning of an envelope.Digest.
type Digest [DigestBytes]byte

// Short returns the beginning of a digest.
func Short(d envelope.Digest) Digest { return Digest(d[:DigestBytes]) }

// Entry is one event that was folded.
type Entry struct {
	envelope.Key
	Seq       uint64
	Version   uint64
	CommandID string
	Digest    Digest
}

const (
	format   = 1
	textMax  = 64 << 10
	countMax = 1 << 20
	// How an id is written.
	asText = 0
	asUUID = 1
)

// Packer packs batches. It may be used again after Reset, and belongs to one goroutine.
type Packer struct {
	first, last uint64
	count       uint64
	names       map[string]uint64
	tenant      knownName // the last one
	entity      knownName
	body        []byte
}

// Reset begins a new batch.
func (p *Packer) Reset() {
	p.first, p.last, p.count, p.body = 0, 0, 0, p.body[:0]
	if p.names == nil {
		p.names = map[string]uint64{}
	}
	clear(p.names)
	p.tenant, p.entity = knownName{}, knownName{}
}

// knownName is a name with its number; 0 = none. Most names are the one before.
type knownName struct {
	name   string
	number uint64
}

// Add takes in the next event of the batch. Sequences must follow each other.
func (p *Packer) Add(e *envelope.Event, digest envelope.Digest) {
	if p.count == 0 {
		p.Reset()
		p.first = e.Seq
	}
	p.count++
	p.last = e.Seq
	p.name(&p.tenant, e.Tenant)
	p.name(&p.entity, e.Entity)
	p.id(e.ID)
	p.body = binary.AppendUvarint(p.body, e.Version)
	p.id(e.CommandID)
	p.body = append(p.body, digest[:DigestBytes]...)
}

// Len is the number of events in the batch; First and Last are its sequences.
func (p *Packer) Len() int      { return int(p.count) }
func (p *Packer) First() uint64 { return p.first }
func (p *Packer) Last() uint64  { return p.last }

// Bytes returns the batch in memory of its own.
func (p *Packer) Bytes() []byte {
	out := make([]byte, 0, len(p.body)+1+2*binary.MaxVarintLen64)
	out = append(out, format)
	out = binary.AppendUvarint(out, p.count)
	out = binary.AppendUvarint(out, p.first)
	return append(out, p.body...)
}

// name writes a text that comes again: 0 and the text, or the number of the text.
func (p *Packer) name(last *knownName, s string) {
	if last.number != 0 && last.name == s {
		p.body = binary.AppendUvarint(p.body, last.number)
		return
	}
	n, ok := p.names[s]
	if ok {
		p.body = binary.AppendUvarint(p.body, n)
	} else {
		n = uint64(len(p.names) + 1)
		p.names[s] = n
		p.body = append(p.body, 0)
		p.text(s)
	}
	*last = knownName{s, n}
}

func (p *Packer) text(s string) {
	p.body = binary.AppendUvarint(p.body, uint64(len(s)))
	p.body = append(p.body, s...)
}

// canonicalBytes is the length of a UUID as people write it.
const canonicalBytes = 36

func (p *Packer) id(s string) {
	if raw, ok := canonical(s); ok {
		p.body = append(p.body, asUUID)
		p.body = append(p.body, raw[:]...)
		return
	}
	p.body = append(p.body, asText)
	p.text(s)
}

// canonical reads a UUID that String would write just so. It is asked twice for every event that is folded.
func canonical(s string) (raw uuid.UUID, ok bool) {
	if len(s) != canonicalBytes || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return raw, false
	}
	bad := byte(0)
	for i, at := range nibbles {
		high, low := nibble[s[at]], nibble[s[at+1]]
		bad |= (high | low) & 0xf0
		raw[i] = high<<4 | low
	}
	return raw, bad == 0
}

// nibbles is where each byte of a UUID stands in its text.
var nibbles = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// nibble is the value of a hexadecimal digit in lower case, and 0xff of any other character.
var nibble = func() (out [256]byte) {
	for c := range out {
		out[c] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		out[c] = byte(i)
	}
	return out
}()

// Unpack reads a batch. It fails with ErrMalformed for anything that a Packer did not write.
func Unpack(batch []byte) ([]Entry, error) {
	r := reader{rest: batch}
	if r.byte() != format {
		return nil, fmt.Errorf("%w: unknown format", ErrMalformed)
	}
	count, first := r.number(), r.number()
	// Each event takes some bytes: a count that cannot be is refused before memory is taken for it.
	if r.failed || count > countMax || count > uint64(len(r.rest))/eventBytesMin || count == 0 || first == 0 || first+count < first {
		return nil, fmt.Errorf("%w: %d events from %d in %d bytes", ErrMalformed, count, first, len(batch))
	}
	out := make([]Entry, 0, count)
	for i := range count {
		e := Entry{Seq: first + i}
		e.Tenant, e.Entity, e.ID = r.name(), r.name(), r.id()
		e.Version, e.CommandID = r.number(), r.id()
		copy(e.Digest[:], r.take(DigestBytes))
		if r.failed {
			return nil, fmt.Errorf("%w: event %d", ErrMalformed, e.Seq)
		}
		out = append(out, e)
	}
	if len(r.rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the last event", ErrMalformed, len(r.rest))
	}
	return out, nil
}

// eventBytesMin: two names, two ids of no text, a version and the digest.
const eventBytesMin = 2 + 4 + 1 + DigestBytes

type reader struct {
	rest   []byte
	names  []string
	known  map[string]bool
	failed bool
}

func (r *reader) take(n uint64) []byte {
	if r.failed || n > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// number reads a varint in its shortest form, the only one that is written.
func (r *reader) number() uint64 {
	n, length := binary.Uvarint(r.rest)
	if r.failed || length <= 0 || (length > 1 && r.rest[length-1] == 0) {
		r.failed = true
		return 0
	}
	r.rest = r.rest[length:]
	return n
}

func (r *reader) text() string {
	n := r.number()
	if n > textMax {
		r.failed = true
	}
	return string(r.take(n))
}

func (r *reader) name() string {
	n := r.number()
	if n > 0 {
		if n > uint64(len(r.names)) {
			r.failed = true
			return ""
		}
		return r.names[n-1]
	}
	s := r.text()
	if r.known == nil {
		r.known = map[string]bool{}
	}
	if r.known[s] {
		r.failed = true // it has a number already
	}
	r.known[s] = true
	r.names = append(r.names, s)
	return s
}

func (r *reader) id() string {
	switch r.byte() {
	case asUUID:
		if raw := r.take(uint64(len(uuid.UUID{}))); raw != nil {
			return uuid.UUID(raw).String()
		}
	case asText:
		s := r.text()
		if _, ok := canonical(s); ok {
			r.failed = true
		}
		return s
	}
	r.failed = true
	return ""
}
