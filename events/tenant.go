package events

// The life of a tenant after its creation: entity "tenant" of the plane's own tenant, id = the tenant.

const (
	kindTenantSuspended = "tenant.suspended.v1"
	kindTenantResumed   = "tenant.resumed.v1"
	kindTenantRemoved   = "tenant.removed.v1"
	kindTenantLimited   = "tenant.limited.v1"
)

// TenantSuspended: kind tenant.suspended.v1. From here on the tenant's commands are refused; its questions are answered.
type TenantSuspended struct{}

// TenantResumed: kind tenant.resumed.v1. Commands are taken again.
type TenantResumed struct{}

// TenantRemoved: kind tenant.removed.v1. To its principals the tenant is absent from here on, and its id is never used
// again.
type TenantRemoved struct{}

// TenantLimited: kind tenant.limited.v1. These limits replace those before. 0 = what the plane gives every tenant.
type TenantLimited struct {
	PerSecond int // requests a second, over time
	Burst     int // requests at once after a quiet time
	InFlight  int // requests at any moment
}

func (*TenantSuspended) payload() {}
func (*TenantResumed) payload()   {}
func (*TenantRemoved) payload()   {}
func (*TenantLimited) payload()   {}

// Kind implements Payload.
func (*TenantSuspended) Kind() string { return kindTenantSuspended }

// Kind implements Payload.
func (*TenantResumed) Kind() string { return kindTenantResumed }

// Kind implements Payload.
func (*TenantRemoved) Kind() string { return kindTenantRemoved }

// Kind implements Payload.
func (*TenantLimited) Kind() string { return kindTenantLimited }

// Halves implements Payload.
func (*TenantSuspended) Halves() (public, private []byte, err error) {
	return halves(object(0), object(0))
}

// Halves implements Payload.
func (*TenantResumed) Halves() (public, private []byte, err error) {
	return halves(object(0), object(0))
}

// Halves implements Payload.
func (*TenantRemoved) Halves() (public, private []byte, err error) {
	return halves(object(0), object(0))
}

// Halves implements Payload.
func (p *TenantLimited) Halves() (public, private []byte, err error) {
	w := object(0)
	w.integer("per_second", p.PerSecond)
	w.integer("burst", p.Burst)
	w.integer("in_flight", p.InFlight)
	return halves(w, object(0))
}

func decodeTenantLimited(s *scanner) *TenantLimited {
	p := new(TenantLimited)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "per_second":
			p.PerSecond = s.integer()
		case "burst":
			p.Burst = s.integer()
		case "in_flight":
			p.InFlight = s.integer()
		default:
			s.skip()
		}
	}
	s.require(&m, "per_second", "burst", "in_flight")
	return p
}
