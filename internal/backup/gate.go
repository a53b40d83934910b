package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
)

// ErrGate: there is no backup that a change of the plane may rest on. Make one, or go on without, which is recorded.
var ErrGate = errors.New("no backup to fall back on: run `refold backup create` and `refold backup validate --level 2`, or go on with --without-backup, which is recorded")

// GateOptions say what the gate asks for.
type GateOptions struct {
	JournalID string
	// MaxAge is how old the newest backup may be; 0 = 24 h.
	MaxAge time.Duration
	// Decode as in ValidateOptions.
	Decode   func(e *envelope.Event) error
	Progress func(Progress)
}

// gateAgeDefault is how old a backup may be that a migration rests on, gateLevel how far it must have been proven.
const (
	gateAgeDefault = 24 * time.Hour
	gateLevel      = 2
)

// Gate returns the newest backup of the journal when a migration may rest on it: it is young enough, and passed a
// validation of level 2. One that was never validated is validated now. Otherwise it fails with ErrGate, which says why.
func (r *Repository) Gate(ctx context.Context, o GateOptions) (*Entry, error) {
	if o.MaxAge == 0 {
		o.MaxAge = gateAgeDefault
	}
	entry, err := r.Latest(ctx, o.JournalID)
	if errors.Is(err, ErrNoBackup) {
		return nil, fmt.Errorf("%w (%w)", ErrGate, err)
	}
	if err != nil {
		return nil, err
	}
	if age := time.Since(entry.Taken); age > o.MaxAge {
		return nil, fmt.Errorf("%w (the newest backup %s is %s old, at most %s are allowed)", ErrGate, entry.ID, age.Round(time.Second), o.MaxAge)
	}
	known, err := r.Validated(ctx, entry)
	if err != nil {
		return nil, err
	}
	if known != nil && known.Level >= gateLevel {
		return entry, nil
	}
	v, err := r.Validate(ctx, entry.ID, ValidateOptions{Level: gateLevel, JournalID: o.JournalID, Decode: o.Decode, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	if !v.Valid {
		return nil, fmt.Errorf("%w (backup %s is not valid: %s)", ErrGate, entry.ID, v.Findings[0].Problem)
	}
	return entry, nil
}
