package writer

import (
	"context"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/archivepolicy"
	"github.com/refold-dev/refold/internal/command"
)

// MakeArchivePolicy makes an archive policy of the caller's. Its id depends on the caller and the wish alone. It fails
// with *commands.InvalidError, too.
func (w *Writer) MakeArchivePolicy(ctx context.Context, c Caller, wish Wish, m commands.MakeArchivePolicy) (Done, error) {
	if err := m.Validate(); err != nil {
		return Done{}, err
	}
	id := archivepolicy.NewID(c.Tenant.Key, c.Tenant.ID, c.Principal.Subject, wish.ID)
	return w.onArchivePolicy(ctx, c, wish, id, m.Name(), archivepolicy.Make{By: c.User, Rule: archiveRule(m.ArchiveRule)})
}

// ChangeArchivePolicy replaces what an archive policy of the caller's says.
func (w *Writer) ChangeArchivePolicy(ctx context.Context, c Caller, wish Wish, m commands.ChangeArchivePolicy) (Done, error) {
	if err := m.Validate(); err != nil {
		return Done{}, err
	}
	return w.onArchivePolicy(ctx, c, wish, m.ID, m.Name(), archivepolicy.Change{By: c.User, Rule: archiveRule(m.ArchiveRule)})
}

// WithdrawArchivePolicy ends an archive policy of the caller's. What it archived stays archived.
func (w *Writer) WithdrawArchivePolicy(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onArchivePolicy(ctx, c, wish, id, commands.WithdrawArchivePolicy{}.Name(), archivepolicy.Withdraw{By: c.User})
}

func archiveRule(r commands.ArchiveRule) archivepolicy.Rule {
	out := archivepolicy.Rule{Criteria: events.Criteria(r.Criteria), Days: r.Days}
	if r.CriteriaID != nil {
		out.CriteriaID = *r.CriteriaID
	}
	return out
}

func (w *Writer) onArchivePolicy(ctx context.Context, c Caller, wish Wish, id uuid.UUID, name string, cmd archivepolicy.Command) (Done, error) {
	shard, position, err := w.open(ctx, c)
	if err != nil {
		return Done{}, err
	}
	request, err := c.request(wish, archivepolicy.Entity, id, name, cmd)
	if err != nil {
		return Done{}, err
	}
	outcome, err := command.Execute(ctx, shard, request, archivepolicy.Evolve, archivepolicy.Decide, cmd)
	return done(id, outcome, position), err
}
