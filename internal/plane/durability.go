package plane

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
)

// mustBeDurable refuses a database that loses or ruins in a crash what it has committed, unless that is accepted.
func mustBeDurable(ctx context.Context, database *postgres.DB, accepted bool) error {
	if accepted {
		return nil
	}
	weak, throwAway, err := database.Durability(ctx)
	if err != nil || throwAway || len(weak) == 0 {
		return err
	}
	var faults []error
	for _, w := range weak {
		faults = append(faults, errors.New(w.String()))
	}
	return fmt.Errorf("%w; put it right, or accept it with --durability relaxed: %w", postgres.ErrNotDurable, errors.Join(faults...))
}

func (p *Plane) relaxed() bool {
	return p.Durability == localstack.DurabilityRelaxed || p.Stack.Durability() == localstack.DurabilityRelaxed
}

// sharedStatus names the planes that share the roles of this one.
func (p *Plane) sharedStatus(ctx context.Context, s *Status) {
	others, err := p.DB.SharedWith(ctx)
	if err != nil {
		s.Notes = append(s.Notes, err.Error())
		return
	}
	if len(others) > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("other databases of this PostgreSQL server hold planes with the same roles (%s): a login that has taken on a role of refold has it in all of them; "+
			"give each plane a login and a CONNECT right of its own, or a server", strings.Join(others[:min(len(others), sharedMax)], ", ")))
	}
}

// sharedMax bounds the databases that are named.
const sharedMax = 5

// durabilityStatus says what the settings of the database are now: they can be changed while it runs. What is committed is
// served all the same, so that they do not make the plane unready.
func (p *Plane) durabilityStatus(ctx context.Context, s *Status) {
	weak, throwAway, err := p.DB.Durability(ctx)
	if err != nil {
		s.Faults = append(s.Faults, fmt.Sprintf("settings of the database: %v", err))
		return
	}
	for _, w := range weak {
		switch {
		case throwAway:
		case p.relaxed():
			s.Notes = append(s.Notes, fmt.Sprintf("durability relaxed: %s is %s in the database, a crash of its machine can lose or ruin rows", w.Name, w.Value))
		default:
			s.Faults = append(s.Faults, fmt.Sprintf("%s: %s", postgres.ErrNotDurable, w))
		}
	}
}
