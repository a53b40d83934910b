package plane

import (
	"context"
	"fmt"
	"time"

	"github.com/refold-dev/refold/internal/postgres"
)

// A status makes an audit of its own where the last one is older than auditAge, and waits for it no longer than auditWait.
const (
	auditAge  = 10 * time.Second
	auditWait = 10 * time.Second
	auditTold = 20 // how many findings a status names, worst first
)

// auditStatus adds what an audit of the database finds. What is found is a fault, but goes on being served.
func (p *Plane) auditStatus(ctx context.Context, s *Status) {
	ctx, cancel := context.WithTimeout(ctx, auditWait)
	defer cancel()
	var err error
	if s.Audit, err = p.Auditor.Latest(ctx, auditAge); err != nil {
		s.Faults = append(s.Faults, err.Error())
		return
	}
	for _, f := range s.Audit.Findings[:min(len(s.Audit.Findings), auditTold)] {
		if f.Severity == postgres.Minor {
			s.Notes = append(s.Notes, f.Text+", see `refold audit`")
		} else {
			s.Faults = append(s.Faults, f.Text+": `refold audit` says what puts it right")
		}
	}
	if more := len(s.Audit.Findings) - auditTold; more > 0 {
		s.Faults = append(s.Faults, fmt.Sprintf("%d more differences of the database, see `refold audit`", more))
	}
	for _, what := range s.Audit.NotChecked {
		s.Faults = append(s.Faults, "not audited: "+what)
	}
}

// OpenDatabase opens the database of a plane alone, as it is: nothing is migrated, read from the journal or started beside
// the stores. DB, Editions and Reports can be used. It is for what must work where Open refuses.
func OpenDatabase(ctx context.Context, c Config) (*Plane, error) {
	return begin(ctx, c, (*Plane).openDatabase)
}

func (p *Plane) openDatabase(ctx context.Context) (err error) {
	if p.Stack, err = p.stack(ctx); err != nil {
		return err
	}
	if p.DB, err = postgres.Open(ctx, p.Stack.PostgresURL()); err != nil {
		return err
	}
	if err = p.mustExist(ctx); err != nil {
		return err
	}
	if err = p.sign(); err != nil {
		return err
	}
	p.equip(nil)
	return nil
}

// mendKind is the kind of signed reports of Mend.
const mendKind = "mend"

// MendReport is what Mend found, did, and left.
type MendReport struct {
	Found *postgres.Audit `json:"found"`
	*postgres.Mended
	Remaining *postgres.Audit `json:"remaining"`
}

// Mend puts right what an audit found, as far as statements can, audits again, and records a signed report of it.
func (p *Plane) Mend(ctx context.Context, found *postgres.Audit) (*MendReport, error) {
	mended, err := p.DB.Mend(ctx, found)
	if err != nil {
		return nil, err
	}
	r := &MendReport{Found: found, Mended: mended}
	if r.Remaining, err = p.Editions.Audit(ctx); err != nil {
		return r, fmt.Errorf("the statements were applied, but the database could not be audited again: %w", err)
	}
	if len(mended.Applied) > 0 {
		if _, err := p.Reports.Append(ctx, mendKind, r); err != nil {
			return r, fmt.Errorf("the statements were applied, but no report of it could be recorded: %w", err)
		}
	}
	return r, nil
}
