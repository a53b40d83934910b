package writer

import (
	"context"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/app"
)

// RuleAccess sets an access rule of an app. What the rule is about is not looked up: one about what is absent and one
// about what is somebody else's are alike, and cover nothing. It fails with *commands.InvalidError, too.
func (w *Writer) RuleAccess(ctx context.Context, c Caller, wish Wish, r commands.RuleAccess) (Done, error) {
	if err := r.Validate(); err != nil {
		return Done{}, err
	}
	return w.onApp(ctx, c, wish, r.ID, r.Name(), app.Rule{
		By: c.User, RuleID: r.Rule, ObjectType: r.ObjectType, ObjectID: r.ObjectID, Effect: events.Effect(r.Effect),
	})
}

// WithdrawAccess removes an access rule of an app; there is nothing to do when it has none of this id.
func (w *Writer) WithdrawAccess(ctx context.Context, c Caller, wish Wish, r commands.WithdrawAccess) (Done, error) {
	if err := r.Validate(); err != nil {
		return Done{}, err
	}
	return w.onApp(ctx, c, wish, r.ID, r.Name(), app.Withdraw{By: c.User, RuleID: r.Rule})
}
