package writer

import (
	"context"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/archivepolicy"
	"github.com/refold-dev/refold/internal/command"
)

// MakeArchivePolicy makes an archive policy of the caller's. Whether there is such an app or category is not looked up:
// one that is absent and one that is somebody else's are alike, and have no memories of the caller's. It fails with
// *commands.InvalidError, too.
func (w *Writer) MakeArchivePolicy(ctx context.Context, c Caller, wish Wish, m commands.MakeArchivePolicy) (Done, error) {
	if err := m.Validate(); err != nil {
		return Done{}, err
	}
	id := archivepolicy.NewID(c.Tenant.Key, c.Tenant.ID, c.Principal.Subject, wish.ID)
	return w.onArchivePolicy(ctx, c, wish, id, m.Name(), archivepolicy.Make{By: c.User, Rule: ruleOf(m.ArchiveRule)})
}

// ChangeArchivePolicy replaces what an archive policy of the caller says. It fails with *commands.InvalidError, too.
func (w *Writer) ChangeArchivePolicy(ctx context.Context, c Caller, wish Wish, m commands.ChangeArchivePolicy) (Done, error) {
	if err := m.Validate(); err != nil {
		return Done{}, err
	}
	return w.onArchivePolicy(ctx, c, wish, m.ID, m.Name(), archivepolicy.Change{By: c.User, Rule: ruleOf(m.ArchiveRule)})
}

// WithdrawArchivePolicy ends an archive policy of the caller. What it archived stays archived.
func (w *Writer) WithdrawArchivePolicy(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onArchivePolicy(ctx, c, wish, id, commands.WithdrawArchivePolicy{}.Name(), archivepolicy.Withdraw{By: c.User})
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
	_, request.Fresh = cmd.(archivepolicy.Make)
	outcome, err := command.Execute(ctx, shard, request, archivepolicy.Evolve, archivepolicy.Decide, cmd)
	return done(id, outcome, position), err
}

func ruleOf(r commands.ArchiveRule) archivepolicy.Rule {
	rule := archivepolicy.Rule{Criteria: events.Criteria(r.Criteria), Days: r.Days}
	if r.CriteriaID != nil {
		rule.CriteriaID = *r.CriteriaID
	}
	return rule
}
