package reader

import (
	"encoding/json"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// Position is a place in the journal. Callers only ever see it sealed: sequences are shared by the tenants of a
// shard and would tell one about the others.
type Position struct {
	JournalID   string `json:"j"`
	Incarnation uint64 `json:"i"`
	Shard       int    `json:"s"`
	Seq         uint64 `json:"q"`
}

func positionOf(c db.ControlCheckpoint) Position {
	return Position{JournalID: c.JournalID, Incarnation: uint64(c.Incarnation), Shard: int(c.Shard), Seq: uint64(c.Seq)}
}

// reachedBy returns nil when rows at this position hold all up to p, else ErrNotYet or ErrPositionLost.
func (p Position) reachedBy(rows Position) error {
	switch {
	case p.JournalID != rows.JournalID || p.Shard != rows.Shard || p.Incarnation < rows.Incarnation:
		return ErrPositionLost
	case p.Incarnation > rows.Incarnation || p.Seq > rows.Seq:
		return ErrNotYet
	}
	return nil
}

const positionKind = "position"

// SealPosition makes the token that stands for a position towards one tenant.
func (s *Sealer) SealPosition(tenant string, p Position) string {
	body, _ := json.Marshal(p) // strings and numbers only
	return s.Seal(positionKind, body, tenant)
}

// OpenPosition is the inverse of SealPosition. It fails with ErrSealed for garbage, and just so for the token of
// another tenant.
func (s *Sealer) OpenPosition(tenant, token string) (Position, error) {
	var p Position
	body, err := s.Open(positionKind, token, tenant)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return p, ErrSealed
	}
	return p, nil
}
