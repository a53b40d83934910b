// Package archival applies archive policies: round after round it looks for the memories that are due and archives each
// by an ordinary command, as the owner of the policy. The key of that command is made of the policy and its version and
// the version of the memory, so that a round that is repeated, or goes on after a crash, archives nothing twice. A memory
// that has changed since it was found is left to the next round; one that its owner has made active again is as old as
// before, and is archived again.
package archival

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// Defaults and bounds of a Worker.
const (
	EveryDefault = time.Hour
	RateDefault  = 50
	batchCount   = 200
	policyCount  = 100
	firstAfter   = time.Minute
)

// Worker applies archive policies. All fields but those with a zero must be set.
type Worker struct {
	Tenants func(context.Context) ([]directory.Tenant, error)
	Reader  *reader.Reader
	Writer  *writer.Writer
	// Lock is held during a round, so that one process of a plane works at a time; ok is false while another one does.
	Lock func(context.Context) (release func(), ok bool, err error)
	// Now is the clock of the plane; nil = time.Now.
	Now func() time.Time
	// Every is the time between two rounds; 0 = an hour.
	Every time.Duration
	// Rate bounds how many memories a second are archived; 0 = 50.
	Rate int
	// Done is told about each round; nil = nobody.
	Done   func(context.Context, Round)
	Logger *slog.Logger // nil = none
}

// Round is what one round has done.
type Round struct {
	Begun    time.Time `json:"begun"`
	Ended    time.Time `json:"ended"`
	Policies int64     `json:"policies"` // that were looked at
	Due      int64     `json:"due"`      // memories that were found
	Archived int64     `json:"archived"`
	Skipped  int64     `json:"skipped"` // memories that had changed, or were archived already
	Failed   int64     `json:"failed"`  // memories, policies or tenants; the next round tries them again
	Fault    string    `json:"fault,omitempty"`
}

// Run goes round until ctx ends. Failures are logged and tried again in the next round.
func (w *Worker) Run(ctx context.Context) error {
	logger := w.logger()
	for wait := min(firstAfter, cmp.Or(w.Every, EveryDefault)); ; wait = cmp.Or(w.Every, EveryDefault) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		round, ours, err := w.Alone(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			logger.Warn("archive policies could not be applied", "error", err)
		case ours && round.Failed > 0:
			logger.Warn("archive policies were applied in part", "archived", round.Archived, "failed", round.Failed, "error", round.Fault)
		}
	}
}

// Alone makes one round, unless another process does so; then ours is false.
func (w *Worker) Alone(ctx context.Context) (round Round, ours bool, err error) {
	release, ours, err := w.Lock(ctx)
	if err != nil || !ours {
		return round, false, err
	}
	defer release()
	round, err = w.Apply(ctx, Options{})
	if w.Done != nil && ctx.Err() == nil {
		w.Done(ctx, round)
	}
	return round, true, err
}

// Options narrow a round.
type Options struct {
	Tenant string // only this one; empty = all
	// DryRun finds what is due, and archives nothing.
	DryRun bool
	// Progress is told what was done so far; nil = nobody.
	Progress func(Round)
}

// Apply makes one round. What fails for one memory, policy or tenant is counted, and does not stop the others.
func (w *Worker) Apply(ctx context.Context, o Options) (round Round, err error) {
	round.Begun = w.now()
	tenants, err := w.Tenants(ctx)
	if err != nil {
		return round, err
	}
	for _, t := range tenants {
		if t.Standing != directory.Active || o.Tenant != "" && o.Tenant != t.ID {
			continue
		}
		err := w.tenant(ctx, t, o, &round)
		if ctx.Err() != nil {
			return round, ctx.Err()
		}
		if err != nil {
			round.failed(fmt.Errorf("tenant %s: %w", t.ID, err))
		}
	}
	round.Ended = w.now()
	return round, nil
}

func (r *Round) failed(err error) {
	r.Failed++
	if r.Fault == "" {
		r.Fault = err.Error()
	}
}

func (w *Worker) tenant(ctx context.Context, t directory.Tenant, o Options, round *Round) error {
	behind := uuid.Nil
	for {
		policies, err := w.Reader.PoliciesToApply(ctx, reader.Caller{Tenant: t.ID, Shard: t.Shard}, behind, policyCount)
		if err != nil || len(policies) == 0 {
			return err
		}
		for _, p := range policies {
			round.Policies++
			if err := w.policy(ctx, t, p, o, round); err != nil {
				return fmt.Errorf("archive policy %s: %w", p.ID, err)
			}
			behind = p.ID
		}
	}
}

// policy archives what one policy wants archived. It goes along the memories by age, so that rows that do not have an
// archival yet hold nothing up.
func (w *Worker) policy(ctx context.Context, t directory.Tenant, p db.ArchivePolicy, o Options, round *Round) error {
	c := writer.Caller{Principal: auth.Principal{Tenant: t.ID}, Tenant: t, User: p.OwnerID}
	now := w.now()
	var behind *reader.Due
	for {
		due, err := w.Reader.MemoriesDue(ctx, c.Reads(), p, now, behind, batchCount)
		if err != nil || len(due) == 0 {
			return err
		}
		for i := range due {
			round.Due++
			behind = &due[i]
			if o.DryRun {
				continue
			}
			if err := w.archive(ctx, c, p, due[i], round); err != nil {
				return err
			}
			if o.Progress != nil {
				o.Progress(*round)
			}
		}
	}
}

// archive fails only for what the next memory of the tenant would meet as well.
func (w *Worker) archive(ctx context.Context, c writer.Caller, p db.ArchivePolicy, m reader.Due, round *Round) error {
	version := uint64(m.Version)
	wish := writer.Wish{ID: fmt.Sprintf("archive-policy:%s:%d:%d", p.ID, p.Version, m.Version), IfVersion: &version}
	done, err := w.Writer.ArchiveMemory(ctx, c, wish, m.ID)
	var refusal *command.Refusal
	var stopped *reader.StoppedError
	switch {
	case err == nil && (done.Nothing || done.Repeated):
		round.Skipped++
		return nil
	case err == nil:
		round.Archived++
	case errors.As(err, &refusal):
		round.Skipped++ // it was changed or deleted a moment ago
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &stopped), errors.Is(err, directory.ErrSuspended), errors.Is(err, directory.ErrNoTenant):
		return err
	default:
		round.failed(fmt.Errorf("memory %s: %w", m.ID, err))
	}
	return w.rest(ctx)
}

// rest keeps to the rate.
func (w *Worker) rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second / time.Duration(cmp.Or(w.Rate, RateDefault))):
		return nil
	}
}

func (w *Worker) now() time.Time {
	if w.Now != nil {
		return w.Now().UTC()
	}
	return time.Now().UTC()
}

func (w *Worker) logger() *slog.Logger {
	if w.Logger != nil {
		return w.Logger
	}
	return slog.New(slog.DiscardHandler)
}
