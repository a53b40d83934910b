package events

import (
	"encoding/base64"
)

const (
	kindJournalCreated = "journal.created.v1"
	kindTenantCreated  = "tenant.created.v1"
	kindBarrierRaised  = "barrier.raised.v1"
)

// JournalCreated: kind journal.created.v1, entity "journal". The genesis event, sequence 1 of every shard.
type JournalCreated struct {
	JournalID string
	Shard     int
	Shards    int
	Format    int
}

// TenantCreated: kind tenant.created.v1, entity "tenant", id = the tenant. Key is the tenant's secret for
// message ids and derived ids.
type TenantCreated struct {
	Private TenantPrivate
}

// TenantPrivate is what only the plane knows about a tenant.
type TenantPrivate struct {
	Name string
	Key  []byte // 32 random bytes
}

// BarrierRaised: kind barrier.raised.v1, entity "barrier". An edition that has applied it has applied all before.
type BarrierRaised struct{}

// Kind is the event type on the wire.
func (*JournalCreated) Kind() string { return kindJournalCreated }
func (*JournalCreated) payload()     {}

// Kind is the event type on the wire.
func (*TenantCreated) Kind() string { return kindTenantCreated }
func (*TenantCreated) payload()     {}

// Kind is the event type on the wire.
func (*BarrierRaised) Kind() string { return kindBarrierRaised }
func (*BarrierRaised) payload()     {}

// Halves returns the two halves of the payload.
func (*BarrierRaised) Halves() (public, private []byte, err error) {
	return []byte("{}"), []byte("{}"), nil
}

// Halves returns the two halves of the payload.
func (p *JournalCreated) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) {
		w.text("journal_id", p.JournalID)
		w.integer("shard", p.Shard)
		w.integer("shards", p.Shards)
		w.integer("format", p.Format)
	}, nil)
}

// Halves returns the two halves of the payload.
func (p *TenantCreated) Halves() (public, private []byte, err error) {
	return halves(nil, func(w *writer) {
		w.text("name", p.Private.Name)
		w.text("key", base64.StdEncoding.EncodeToString(p.Private.Key))
	})
}

func journalCreated(s *scanner) Payload {
	p := &JournalCreated{}
	s.object(func(name []byte) int {
		switch string(name) {
		case "journal_id":
			p.JournalID = s.str()
			return 0
		case "shard":
			p.Shard = s.integer()
			return 1
		case "shards":
			p.Shards = s.integer()
			return 2
		case "format":
			p.Format = s.integer()
			return 3
		}
		return skipped
	})
	return p
}

func tenantCreated(s *scanner) Payload {
	p := &TenantCreated{}
	s.object(func(name []byte) int {
		if string(name) == "private" {
			p.Private.read(s)
			return 0
		}
		return skipped
	})
	return p
}

func (p *TenantPrivate) read(s *scanner) {
	s.object(func(name []byte) int {
		switch string(name) {
		case "name":
			p.Name = s.str()
			return 0
		case "key":
			key, err := base64.StdEncoding.DecodeString(s.str())
			if err != nil {
				s.fail(err)
			}
			p.Key = key
			return 1
		}
		return skipped
	})
}
