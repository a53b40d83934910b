package events

// The plane's own events, in the tenant envelope.PlaneTenant.

const (
	kindJournalCreated = "journal.created.v1"
	kindTenantCreated  = "tenant.created.v1"
	kindBarrierRaised  = "barrier.raised.v1"

	kindJournalReconciled = "journal.reconciled.v1"
)

// JournalCreated: kind journal.created.v1, entity "journal". The genesis event, sequence 1 of every shard.
type JournalCreated struct {
	JournalID string
	Shard     int
	Shards    int
	Format    int
}

// JournalReconciled: kind journal.reconciled.v1, entity "journal". After a restore of a store an operator has reconciled
// both: from here on the shard has another incarnation, and positions of earlier ones are void.
type JournalReconciled struct {
	JournalID   string
	Shard       int
	Incarnation int // from here on
	Previous    int // until here
	EndedAt     int // the last sequence before this one
	CommonSeq   int // up to here journal and editions are known to agree
	Lost        int // commands of which editions had folded an event that the journal does not hold
	Unnamed     int // sequences that editions had folded and of which nothing more is known
	LostHash    string
	Finding     string // hash of what the operator was shown
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

func (*JournalCreated) payload()    {}
func (*TenantCreated) payload()     {}
func (*JournalReconciled) payload() {}
func (*BarrierRaised) payload()     {}

// Kind implements Payload.
func (*JournalCreated) Kind() string { return kindJournalCreated }

// Kind implements Payload.
func (*JournalReconciled) Kind() string { return kindJournalReconciled }

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
func (p *JournalReconciled) Halves() (public, private []byte, err error) {
	w := object(len(p.JournalID) + len(p.LostHash) + len(p.Finding))
	w.text("journal_id", p.JournalID)
	w.integer("shard", p.Shard)
	w.integer("incarnation", p.Incarnation)
	w.integer("previous", p.Previous)
	w.integer("ended_at", p.EndedAt)
	w.integer("common_seq", p.CommonSeq)
	w.integer("lost", p.Lost)
	w.integer("unnamed", p.Unnamed)
	w.text("lost_hash", p.LostHash)
	w.text("finding", p.Finding)
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

func decodeJournalReconciled(s *scanner) *JournalReconciled {
	p := new(JournalReconciled)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "journal_id":
			p.JournalID = s.text()
		case "shard":
			p.Shard = s.integer()
		case "incarnation":
			p.Incarnation = s.integer()
		case "previous":
			p.Previous = s.integer()
		case "ended_at":
			p.EndedAt = s.integer()
		case "common_seq":
			p.CommonSeq = s.integer()
		case "lost":
			p.Lost = s.integer()
		case "unnamed":
			p.Unnamed = s.integer()
		case "lost_hash":
			p.LostHash = s.text()
		case "finding":
			p.Finding = s.text()
		default:
			s.skip()
		}
	}
	s.require(&m, "journal_id", "shard", "incarnation", "previous", "ended_at", "common_seq", "lost", "unnamed", "lost_hash", "finding")
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
