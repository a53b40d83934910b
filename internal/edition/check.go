package edition

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// ErrUnsafe: the schema of an edition lets somebody see or do what he must not.
var ErrUnsafe = errors.New("the schema is not safe")

// Check compares every edition of this binary's shape that is kept level with the code, and audits its protection. It
// is for a process that is about to serve; the error joins what is wrong with each, an ErrShape or an ErrUnsafe.
func (m *Editions) Check(ctx context.Context) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	editions, err := db.New(pool).EditionList(ctx)
	if err != nil {
		return fmt.Errorf("list editions: %w", err)
	}
	var faults []error
	for _, e := range editions {
		if e.State != "serving" || e.Shape != m.Shape {
			continue
		}
		if err := m.checkOne(ctx, e.Number); err != nil {
			faults = append(faults, fmt.Errorf("edition %d: %w", e.Number, err))
		}
	}
	return errors.Join(faults...)
}

func (m *Editions) checkOne(ctx context.Context, number int64) error {
	if err := m.CheckShape(ctx, number); err != nil {
		return err
	}
	faults, err := m.DB.Audit(ctx, number)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %s", ErrUnsafe, strings.Join(faults, "; "))
	}
	return nil
}
