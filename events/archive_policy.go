package events

import (
	"time"

	"github.com/google/uuid"
)

// An archive policy is the entity "archive-policy"; its id is derived from the command that made it.

const (
	kindArchivePolicySet       = "archive-policy.set.v1"
	kindArchivePolicyWithdrawn = "archive-policy.withdrawn.v1"
)

// Criteria says which memories of its owner an archive policy is about.
type Criteria string

// The criteria of an archive policy: all memories, those of an app, those of a category.
const (
	Global     Criteria = "global"
	OfApp      Criteria = "app"
	OfCategory Criteria = "category"
)

// Valid reports whether c is one of the criteria.
func (c Criteria) Valid() bool { return c == Global || c == OfApp || c == OfCategory }

// ArchivePolicySet: kind archive-policy.set.v1. The first one makes the policy, later ones replace it; the owner stays.
type ArchivePolicySet struct {
	OwnerID    uuid.UUID
	Criteria   Criteria
	CriteriaID *uuid.UUID // of the app or the category; nil for global
	Days       int        // after its creation a memory is archived
	CreatedAt  *time.Time // of the imported record; nil = the time of the event, or as it is
}

// ArchivePolicyWithdrawn: kind archive-policy.withdrawn.v1. Nothing follows it.
type ArchivePolicyWithdrawn struct{ By uuid.UUID }

func (*ArchivePolicySet) payload()       {}
func (*ArchivePolicyWithdrawn) payload() {}

// Kind implements Payload.
func (*ArchivePolicySet) Kind() string { return kindArchivePolicySet }

// Kind implements Payload.
func (*ArchivePolicyWithdrawn) Kind() string { return kindArchivePolicyWithdrawn }

// Halves implements Payload.
func (p *ArchivePolicySet) Halves() (public, private []byte, err error) {
	w := object(0)
	w.uuid("owner_id", p.OwnerID)
	w.text("criteria", string(p.Criteria))
	w.uuidPointer("criteria_id", p.CriteriaID)
	w.integer("days", p.Days)
	w.timePointer("created_at", p.CreatedAt)
	return halves(w, object(0))
}

// Halves implements Payload.
func (p *ArchivePolicyWithdrawn) Halves() (public, private []byte, err error) {
	w := object(0)
	w.uuid("by", p.By)
	return halves(w, object(0))
}

func decodeArchivePolicySet(s *scanner) *ArchivePolicySet {
	p := new(ArchivePolicySet)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "owner_id":
			p.OwnerID = s.uuid()
		case "criteria":
			p.Criteria = Criteria(s.text())
		case "criteria_id":
			p.CriteriaID = s.uuidPointer()
		case "days":
			p.Days = s.integer()
		case "created_at":
			p.CreatedAt = s.timePointer()
		default:
			s.skip()
		}
	}
	s.require(&m, "owner_id", "criteria", "days")
	return p
}
