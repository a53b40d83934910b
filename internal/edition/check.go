package edition

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// ErrUnsafe: the database lets somebody see or do what he must not, or lacks what refold needs. `refold audit` says what
// and puts it right.
var ErrUnsafe = errors.New("the schema is not safe")

// Check compares every edition of this binary's shape that is kept level with the code, and audits the database. It is
// for a process that is about to serve; the error joins what is wrong, an ErrShape for each edition and an ErrUnsafe.
func (m *Editions) Check(ctx context.Context) error {
	editions, err := m.serving(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, number := range editions {
		if err := m.CheckShape(ctx, number); err != nil {
			faults = append(faults, fmt.Errorf("edition %d: %w", number, err))
		}
	}
	audit, err := m.DB.Audit(ctx, editions...)
	if err == nil {
		err = safe(audit)
	}
	return errors.Join(append(faults, err)...)
}

// Audit audits the database with every edition of this binary's shape that is kept level.
func (m *Editions) Audit(ctx context.Context) (*postgres.Audit, error) {
	editions, unlisted := m.serving(ctx)
	audit, err := m.DB.Audit(ctx, editions...)
	if err == nil && unlisted != nil {
		audit.NotChecked, audit.Clean, audit.Safe = append(audit.NotChecked, unlisted.Error()), false, false
	}
	if err != nil || unlisted != nil || audit.Safe {
		return audit, err
	}
	// An edition that was retired in the meantime is missing, and should be.
	still, err := m.serving(ctx)
	if err == nil && !slices.Equal(still, editions) {
		return m.DB.Audit(ctx, still...)
	}
	return audit, err
}

// serving lists the editions of this binary's shape that are kept level.
func (m *Editions) serving(ctx context.Context) ([]int64, error) {
	pool, err := m.DB.Owner(ctx) // an audit must work where the rights of a role are missing
	if err != nil {
		return nil, err
	}
	editions, err := db.New(pool).EditionList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list editions: %w", err)
	}
	var out []int64
	for _, e := range editions {
		if e.State == "serving" && e.Shape == m.Shape {
			out = append(out, e.Number)
		}
	}
	return out, nil
}

// safe is ErrUnsafe with what an audit found, unless all of it is minor.
func safe(a *postgres.Audit) error {
	if a.Safe {
		return nil
	}
	if severe := a.Severe(); len(severe) > 0 {
		return fmt.Errorf("%w: %s; `refold audit --fix` prints the statements that put it right", ErrUnsafe, postgres.Sentences(severe))
	}
	return fmt.Errorf("%w: not checked: %q", ErrUnsafe, a.NotChecked)
}
