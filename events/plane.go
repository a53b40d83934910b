package events

// The plane's own events, in the tenant envelope.PlaneTenant.

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
	Key  []byte // 32 random bytes; base64 on the wire
}

// BarrierRaised: kind barrier.raised.v1, entity "barrier". An edition that has applied it has applied all before.
type BarrierRaised struct{}

func (*JournalCreated) payload() {}
func (*TenantCreated) payload()  {}
func (*BarrierRaised) payload()  {}

// Kind implements Payload.
func (*JournalCreated) Kind() string { return kindJournalCreated }

// Kind implements Payload.
func (*TenantCreated) Kind() string { return kindTenantCreated }

// Kind implements Payload.
func (*BarrierRaised) Kind() string { return kindBarrierRaised }

// Halves implements Payload.
func (p *JournalCreated) Halves() (public, private []byte, err error) {
	w := object(len(p.JournalID))
	w.text("journal_id", p.JournalID)
	w.integer("shard", p.Shard)
	w.integer("shards", p.Shards)
	w.integer("format", p.Format)
	return halves(w, object(0))
}

// Halves implements Payload.
func (p *TenantCreated) Halves() (public, private []byte, err error) {
	w := object(len(p.Private.Name))
	w.text("name", p.Private.Name)
	w.base64("key", p.Private.Key)
	return halves(object(0), w)
}

// Halves implements Payload.
func (*BarrierRaised) Halves() (public, private []byte, err error) {
	return halves(object(0), object(0))
}

func decodeJournalCreated(s *scanner) *JournalCreated {
	p := new(JournalCreated)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "journal_id":
			p.JournalID = s.text()
		case "shard":
			p.Shard = s.integer()
		case "shards":
			p.Shards = s.integer()
		case "format":
			p.Format = s.integer()
		default:
			s.skip()
		}
	}
	s.require(&m, "journal_id", "shard", "shards", "format")
	return p
}

func decodeTenantCreated(s *scanner) *TenantCreated {
	p := new(TenantCreated)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		default:
			s.skip()
		}
	}
	s.require(&m, "private")
	return p
}

func (p *TenantPrivate) read(s *scanner) {
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "name":
			p.Name = s.text()
		case "key":
			p.Key = s.base64()
		default:
			s.skip()
		}
	}
	s.require(&m, "name", "key")
}

// decodeEmpty reads a payload that says nothing beyond its kind.
func decodeEmpty[P Payload](s *scanner, p P) P {
	m := s.object()
	for s.next(&m) {
		s.skip()
	}
	return p
}
