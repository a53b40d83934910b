package edition

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/postgres"
)

// Auditor audits the database again and again while a process serves: what somebody does to it is found in minutes, not
// at the next start. It mends nothing.
type Auditor struct {
	Editions *Editions
	// Every is the time between two audits; 0 = 5 min.
	Every  time.Duration
	Logger *slog.Logger // nil = nobody

	mu     sync.Mutex
	latest *postgres.Audit // nil until one was made
}

const auditEvery = 5 * time.Minute

// Run audits until ctx ends, first at once. Failures are logged and tried again.
func (a *Auditor) Run(ctx context.Context) error {
	logger := cmp.Or(a.Logger, slog.New(slog.DiscardHandler))
	known := map[string]bool{}
	for ctx.Err() == nil {
		found, err := a.Latest(ctx, 0)
		if err != nil && ctx.Err() == nil {
			logger.Warn("the database could not be audited", "error", err)
		}
		if err == nil {
			known = tell(logger, found, known)
		}
		select {
		case <-ctx.Done():
		case <-time.After(cmp.Or(a.Every, auditEvery)):
		}
	}
	return nil
}

// tell logs what was not known before, and what is in order again.
func tell(logger *slog.Logger, found *postgres.Audit, known map[string]bool) map[string]bool {
	now := map[string]bool{}
	for _, f := range found.Findings {
		now[f.Text] = true
		if !known[f.Text] {
			logger.Error("the database is not as refold makes it: run `refold audit`", "severity", f.Severity, "finding", f.Text)
		}
	}
	for text := range known {
		if !now[text] {
			logger.Warn("the database is as refold makes it again", "finding", text)
		}
	}
	for _, what := range found.NotChecked {
		logger.Warn("a part of the database was not audited", "part", what)
	}
	return now
}

// Latest returns an audit that is no older than a duration, and makes one where there is none.
func (a *Auditor) Latest(ctx context.Context, age time.Duration) (*postgres.Audit, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.latest != nil && time.Since(a.latest.At) < age {
		return a.latest, nil
	}
	found, err := a.Editions.Audit(ctx)
	if err == nil {
		a.latest = found
	}
	return found, err
}
